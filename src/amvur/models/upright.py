"""Networks that learned from hands with the fingers up: where to look, and how to turn what they say back.

Frozen hand features are those of a network that always gets its hands upright, so heads on them learn most
from such crops. A hand whose joints are not known yet is looked at in four turns and then followed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Normal

from amvur.detect.palms import FRAME_JOINTS, GROW, LIFT
from amvur.detect.roll import likeliest_turn
from amvur.models.network import HandNetwork, Prediction


def upright_frames(joints_2d: Float[Tensor, "B 21 2"]) -> Float[Tensor, "B 2 3"]:
    """Return the maps from points about a hand to an upright square's crop units (-1 to 1), as `(A | t)`.

    The square is twice the box of the palm and the fingers' inner halves, moved a tenth of it towards the
    fingers (the crop that MediaPipe's tracker makes). Its y axis points from the fingers to the wrist.
    """
    up = F.normalize(palm_vectors(joints_2d), dim=-1)
    axes = torch.stack([torch.stack([-up[:, 1], up[:, 0]], -1), -up], 1)
    own = joints_2d[:, list(FRAME_JOINTS)] @ axes.transpose(-1, -2)
    low, high = own.amin(1), own.amax(1)
    half = GROW * (high - low).amax(-1, keepdim=True).clamp_min(1e-6) / 2
    center = (low + high) / 2
    center = torch.stack([center[:, 0], center[:, 1] - LIFT * (high - low)[:, 1]], -1)
    return torch.cat([axes / half[..., None], (-center / half)[..., None]], -1)


def palm_vectors(joints_2d: Float[Tensor, "B 21 2"]) -> Float[Tensor, "B 2"]:
    """Return the way from each wrist to its knuckles, which is up in an upright square."""
    return (joints_2d[:, 5] + joints_2d[:, 13]) / 4 + joints_2d[:, 9] / 2 - joints_2d[:, 0]


@torch.no_grad()
def predict_upright(
    network: Callable[[Tensor], Prediction], images: Float[Tensor, "B 3 S S"], rounds: int = 2
) -> Prediction:
    """Look at squares about hands of any roll and answer as if the network had been asked for those.

    Each of four turns is followed, `rounds` times about the joints found before; `likeliest_turn` chooses.
    View axes are the square's; the small turn between its centre's ray and that of the upright square is
    left out (no camera is known here).
    """
    looks = follow_turns(network, images, rounds)
    places, count = [look.joints_2d.loc for look in looks], len(images)
    moved = (places[-1] - places[-2]).norm(dim=-1).mean(-1).view(count, 4)
    stated = looks[-1].joints.scale.mean((1, 2)).view(count, 4)
    chosen = likeliest_turn(stated.double().cpu().numpy(), moved.double().cpu().numpy())
    best = torch.as_tensor(chosen, device=images.device) + 4 * torch.arange(count, device=images.device)
    return look_through(network, images, upright_frames(places[-1][best]))


def follow_turns(
    network: Callable[[Tensor], Prediction], images: Float[Tensor, "B 3 S S"], rounds: int
) -> list[Prediction]:
    """Look at four turns of every square and `rounds` times about the joints found: 4B rows."""
    tried = images.repeat_interleave(4, 0)
    looks = [look_through(network, tried, four_turns(len(images), images.device))]
    for _ in range(rounds):
        looks.append(look_through(network, tried, upright_frames(looks[-1].joints_2d.loc)))
    return looks


def four_turns(count: int, device: torch.device) -> Float[Tensor, "N 2 3"]:
    """Return the maps of four quarter turns of each of `count` squares, as `upright_frames` gives them."""
    turns = torch.arange(4, device=device) * (torch.pi / 2)
    cosine, sine = turns.cos(), turns.sin()
    rows = torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], 1)
    return F.pad(rows, (0, 1)).repeat(count, 1, 1)


def look_through(
    network: Callable[[Tensor], Prediction], images: Float[Tensor, "B 3 S S"], frames: Float[Tensor, "B 2 3"]
) -> Prediction:
    """Crop by frames (crop units of the picture to those of the crop), predict, and turn back."""
    size = images.shape[-1]
    back = torch.linalg.inv(frames[:, :, :2])
    grid = F.affine_grid(torch.cat([back, -back @ frames[:, :, 2:]], -1), [len(images), 3, size, size], False)
    crops = F.grid_sample(images, grid, "bilinear", "border", align_corners=False)
    return turned_back(network(crops), frames)


def turned_back(prediction: Prediction, frames: Float[Tensor, "B 2 3"]) -> Prediction:
    """Take a prediction for upright crops to the pictures' own axes and crop units; mesh parameters too."""
    linear, shift = frames[:, :, :2], frames[:, :, 2]
    scale = torch.linalg.det(linear).sqrt()[:, None, None]
    roll = linear / scale
    whole = torch.eye(3, dtype=roll.dtype, device=roll.device).repeat(len(roll), 1, 1)
    whole[:, :2, :2] = roll

    def solid(d: Normal) -> Normal:
        return Normal(d.loc @ whole, _turned_scale(d.scale, whole), validate_args=False)

    def flat(d: Normal) -> Normal:
        loc = (d.loc - shift[:, None]) @ roll / scale
        return Normal(loc, _turned_scale(d.scale, roll) / scale, validate_args=False)

    hand = prediction.hand
    camera = hand.camera.loc
    moved = (camera[:, None, 1:] - shift[:, None]) @ roll / scale
    loc = torch.cat([camera[:, :1] - scale[:, 0].log(), moved[:, 0]], -1)
    back = whole.transpose(-1, -2)
    rotations = torch.cat([back[:, None] @ hand.rotations[:, :1], hand.rotations[:, 1:]], 1)
    hand = replace(
        hand,
        rotations=rotations,
        vertices=hand.vertices @ whole,
        joints=hand.joints @ whole,
        camera=Normal(loc, hand.camera.scale, validate_args=False),
    )
    return replace(
        prediction,
        vertices=solid(prediction.vertices),
        joints=solid(prediction.joints),
        joints_2d=flat(prediction.joints_2d),
        prior_vertices=solid(prediction.prior_vertices),
        prior_joints=solid(prediction.prior_joints),
        prior_joints_2d=flat(prediction.prior_joints_2d),
        hand=hand,
    )


def _turned_scale(scale: Float[Tensor, "B N D"], turn: Float[Tensor, "B D D"]) -> Float[Tensor, "B N D"]:
    """Return standard deviations along turned axes of independent errors along the old ones."""
    return (scale.square() @ turn.square()).sqrt()


class UprightNetwork(nn.Module):
    """A network of upright hands that may be shown hands of any roll: `predict_upright` as a module."""

    def __init__(self, network: HandNetwork) -> None:
        """Wrap a network whose configuration says `crop="upright"`."""
        super().__init__()
        self.network = network
        self.hand, self.config = network.hand, network.config

    def forward(self, images: Float[Tensor, "B 3 S S"]) -> Prediction:
        """Estimate right hands in RGB pictures in [0, 1]."""
        return predict_upright(self.network, images)
