"""Both ways of finding visible vertices agree."""

from __future__ import annotations

import torch

from amvur.data.synthetic.scene import make_body
from amvur.data.synthetic.visibility import behind_horizon, blocked_vertices
from amvur.geometry.rotations import axis_angle_to_matrix
from amvur.hand.loading import load_hand_model
from amvur.hand.model import HandModel
from amvur.render import rasterize


def test_compiled_visibility_is_that_of_torch() -> None:
    body = make_body(HandModel(load_hand_model("open")))
    generator = torch.Generator().manual_seed(0)
    turns = axis_angle_to_matrix(2 * torch.randn(6, 3, generator=generator))
    vertices = body.rest @ turns.mT + torch.tensor([0.02, 0.0, 0.5])
    camera = torch.tensor([[250.0, 0, 48], [0, 250, 48], [0, 0, 1]]).expand(6, 3, 3)
    raster = rasterize(vertices, body.faces, camera, 96, 96)
    count = body.num_hand_vertices
    blocked = [
        blocked_vertices(raster, vertices, body.faces, camera, count, backend=backend)
        for backend in ("torch", "numba")
    ]
    assert torch.equal(*blocked)
    behind = [
        behind_horizon(vertices, body.faces, camera, body.nearby, ~blocked[0], backend=backend)
        for backend in ("torch", "numba")
    ]
    assert torch.equal(*behind)
    assert 0.1 < blocked[0].float().mean() < 0.9
    assert behind[0].any()
    assert not behind[0].all()
