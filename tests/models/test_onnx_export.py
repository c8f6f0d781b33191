"""Networks as ONNX files: what is in them, and that they say what torch says."""

import numpy as np
import pytest
import torch
from onnx_file import check
from torch import nn

from amvur.errors import AmvurError
from amvur.hand.loading import load_hand_model
from amvur.hand.network_constants import HAND_ARRAYS, network_constants
from amvur.inference.network.trained import OUTPUTS, HandNetworkFile
from amvur.models import onnx_export
from amvur.models.amvur import template_buffers
from amvur.models.network import NetworkConfig, make_network
from amvur.models.onnx_export import hand_network_onnx, to_onnx
from amvur.models.prior_net import PriorNetConfig
from amvur.onnx_network import OnnxNetwork

SMALL = NetworkConfig(
    backbone="test_resnet.r160_in1k",
    image_px=64,
    feature_width=16,
    amvur_hidden=8,
    amvur_base="prior",
    prior_net=PriorNetConfig(hidden=16),
)


@pytest.mark.parametrize("model", ["open", "mano"])
def test_what_a_network_knows_of_its_hand(model, mano):
    """The arrays are those that the network computes in torch from the same hand model."""
    name = "open" if model == "open" else str(mano)
    network = make_network(NetworkConfig(**{**vars(SMALL), "hand_model": name}))
    constants = {n: torch.from_numpy(x) for n, x in network_constants(load_hand_model(name)).items()}
    own = dict(network.named_buffers())
    places = (constants["template"], constants["template_joints"])
    wanted = {f"hand.{name}": constants[name] for name in HAND_ARRAYS}
    wanted |= {"template": constants["template"], "prior_net.axes": constants["pose_axes"]}
    wanted |= {f"prior_net.{name}": constants[name] for name in ("angle_mean", "pose_mean")}
    buffers = template_buffers(*places, network.amvur.config, "template")
    wanted |= {f"amvur.{name}": values for name, values in buffers.items()}
    for name, values in wanted.items():
        torch.testing.assert_close(values, own[name], rtol=1e-4, atol=1e-4, msg=name)
    derived = {name for name in own if name.startswith(("hand.", "amvur.")) or name == "template"}
    unused = {
        f"hand.{n}" for n in ("faces", "tip_vertices", "pose_axes", "pose_limits", "rest_angles", "pose_mean")
    }
    assert derived - unused <= set(wanted)


def test_a_network_of_mano_holds_nothing_of_mano(mano):
    torch.manual_seed(0)
    network = make_network(NetworkConfig(**{**vars(SMALL), "hand_model": str(mano)})).eval()
    nn.init.normal_(network.amvur.mean.last.weight, std=0.02)
    with torch.no_grad():
        pictures = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8)
        seen = network(pictures.permute(0, 3, 1, 2).float() / 255)
    data = hand_network_onnx(network)
    graph, arrays = check(data), load_hand_model(str(mano))
    inputs = {entry.name for entry in graph.input}
    assert {"pictures", *HAND_ARRAYS, "template"} <= inputs
    assert [entry.name for entry in graph.output] == list(OUTPUTS)
    stored = [tuple(tensor.dims) for tensor in graph.initializer]
    assert not any(len(arrays.v_template) in dims for dims in stored)
    constants = network_constants(arrays)
    file = HandNetworkFile(OnnxNetwork(data, constants=constants), 64, False, arrays)
    said = file(pictures.numpy())
    for name in ("joints", "joints_2d"):
        wanted = getattr(seen, name)
        np.testing.assert_allclose(getattr(said, name), wanted.loc, atol=1e-5)
        np.testing.assert_allclose(
            getattr(said, f"{name}_std"), wanted.scale.expand_as(wanted.loc), atol=1e-5
        )
    alone = file(pictures[1:2].numpy())
    assert (alone.joints[0] == said.joints[1]).all(), "the same bytes alone and in company"


class Affine(nn.Module):
    """A map whose weights halves hold, beside one that they do not."""

    def __init__(self, exact=True):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)
        nn.init.constant_(self.first.weight, 0.5)
        nn.init.constant_(self.second.weight, 0.5 if exact else 1 / 3)

    def forward(self, numbers):
        return (self.second(self.first(numbers)),)


def test_weights_are_halved_only_where_that_loses_nothing():
    numbers = torch.rand(2, 3)
    kinds = {}
    for exact in (True, False):
        graph = check(to_onnx(Affine(exact), {"numbers": numbers}, ["sums"]))
        kinds[exact] = sorted(tensor.data_type for tensor in graph.initializer if len(tensor.dims) == 2)
        assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert kinds == {True: [10, 10], False: [1, 10]}  # 1: float32, 10: float16


def test_a_file_that_differs_from_torch_is_refused(monkeypatch):
    monkeypatch.setattr(onnx_export, "_TOLERANCE", -1.0)
    with pytest.raises(AmvurError, match="differs from torch"):
        to_onnx(Affine(), {"numbers": torch.rand(2, 3)}, ["sums"])
