"""Networks in files: what is refused before it can run."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_file import constant_network

from amvur.errors import InputError
from amvur.onnx_network import OnnxNetwork


def endless():
    """A network that adds to itself for as long as nothing is true."""
    number, truth = (
        helper.make_tensor_value_info(n, k, []) for n, k in (("i", 7), ("going", TensorProto.BOOL))
    )
    carried = helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["batch"])
    going = helper.make_tensor_value_info("still", TensorProto.BOOL, [])
    more = helper.make_tensor_value_info("more", TensorProto.FLOAT, ["batch"])
    nodes = [
        helper.make_node("Identity", ["going"], ["still"]),
        helper.make_node("Add", ["sum", "sum"], ["more"]),
    ]
    body = helper.make_graph(nodes, "body", [number, truth, carried], [going, more])
    loop = helper.make_node("Loop", ["", "always", "x"], ["y"], body=body)
    always = numpy_helper.from_array(np.array(True), "always")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch"]) for name in "xy"]
    graph = helper.make_graph([loop], "endless", ends[:1], ends[1:], [always])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def test_a_network_that_may_never_end_is_refused():
    network = OnnxNetwork(endless(), name="endless.onnx", error=InputError, remedy="Use another.")
    with pytest.raises(InputError, match=r"endless\.onnx .*may never end.* Use another\."):
        network({"x": np.zeros(1, np.float32)})


def test_one_that_ends_is_run():
    network = OnnxNetwork(constant_network({"y": np.arange(3.0)}, {"x": ((2,), np.float32)}))
    found = network({"x": np.zeros((4, 2), np.float32)})
    np.testing.assert_array_equal(found["y"], np.tile(np.float32([0, 1, 2]), (4, 1)))
