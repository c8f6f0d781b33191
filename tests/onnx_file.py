"""Small ONNX networks made by hand, which say the same of every picture."""

import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from amvur.checkpoint_folder import CONFIG, ONNX, SCHEMA, add_onnx
from amvur.hand.open_hand import load_open_hand


def constant_network(values, inputs):
    """A file whose outputs are `values` (name → array of one item), whatever its `inputs` (name → shape, type)."""
    kinds = {np.dtype(np.uint8): TensorProto.UINT8, np.dtype(np.float32): TensorProto.FLOAT}
    entries = [
        helper.make_tensor_value_info(name, kinds[np.dtype(kind)], ["batch", *shape])
        for name, (shape, kind) in inputs.items()
    ]
    stored = [
        numpy_helper.from_array(np.asarray(v, np.float32)[None], f"{n}_value") for n, v in values.items()
    ]
    nodes = [helper.make_node("Identity", [f"{name}_value"], [name]) for name in values]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *np.shape(value)])
        for name, value in values.items()
    ]
    graph = helper.make_graph(nodes, "constant", entries, outputs, stored)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def write_config(folder, settings, **sections):
    """Write a checkpoint's configuration whose weights are not there: inference does not ask for them."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {"dtype": "float32", "files": {"weights.safetensors": {"bytes": 0, "sha256": ""}}}
    hand = {"name": "open", "sha256": load_open_hand().sha256}
    config = {"schema": SCHEMA, "network": settings, "weights": weights, "hand_model": hand, **sections}
    (folder / CONFIG).write_text(json.dumps(config))
    return folder


def hand_network(size=64, vertices=5):
    """A network of hands that says: all joints in a row, a millimetre apart, in the middle of the picture."""
    rng = np.random.default_rng(0)
    joints = np.arange(21)[:, None] * [1e-3, 1e-3, 0]
    values = {
        "vertices": rng.normal(size=(vertices, 3)),
        "vertices_std": np.full((vertices, 3), 0.01),
        "joints": joints,
        "joints_std": np.full((21, 3), 0.01),
        "joints_2d": 10 * joints[:, :2],
        "joints_2d_std": np.full((21, 2), 0.1),
    }
    return constant_network(values, {"pictures": ((size, size, 3), np.uint8)})


def add_hand_network(folder, size=64):
    """Put `hand_network` into a checkpoint's folder."""
    add_onnx(folder, {ONNX: hand_network(size)})
    return folder


def check(data):
    """Return a file's graph, well-formed."""
    model = onnx.load_model_from_string(data)
    onnx.checker.check_model(model)
    return model.graph
