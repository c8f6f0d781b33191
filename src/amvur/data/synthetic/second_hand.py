"""A second hand of the same person: near, before or behind the first, seldom touching."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from amvur.data.synthetic.scene import Body, SceneConfig, draw_arms, stacked
from amvur.geometry.rotations import axis_angle_to_matrix
from amvur.hand.model import HandModel
from amvur.hand.poses import POSES, named_pose

_AWAY_M = -1.0


def place_second_hand(
    rngs: Sequence[np.random.Generator],
    config: SceneConfig,
    model: HandModel,
    body: Body,
    betas: Float[Tensor, "B 10"],
    joints: Float[Tensor, "B 21 3"],
) -> Float[Tensor, "B N 3"] | None:
    """Return second bodies in the camera's frame, behind the camera where there is none, or None.

    Mirror images of right hands have their faces inside out; shading turns normals to the viewer.
    """
    arm = draw_arms(rngs, config, betas)
    rows = [_draw(rng, config, model) for rng in rngs]
    on, mirror, pose, turn, shift, before = (stacked([row[i] for row in rows], betas) for i in range(6))
    if not bool((on > 0.5).any()):
        return None
    mesh = model(turn, pose, betas)
    vertices = body.attach(mesh.vertices, mesh.joints, arm.turned(axis_angle_to_matrix(turn)))
    low, high = mesh.vertices.amin(1), mesh.vertices.amax(1)
    middle = (low + high) / 2
    side = torch.stack([mirror, torch.ones_like(mirror), torch.ones_like(mirror)], -1)
    vertices, half = (vertices - middle[:, None]) * side[:, None], (high - low)[:, 2] / 2
    first_low, first_high = joints.amin(1), joints.amax(1)
    # Clear of the first hand in depth, so that the two never pass through each other.
    gap = half + 0.015
    depth = torch.where(before > 0.5, first_low[:, 2] - gap, first_high[:, 2] + gap)
    depth = torch.maximum(depth, half + 0.1)
    center = torch.cat([(first_low + first_high)[:, :2] / 2 + shift, depth[:, None]], -1)
    placed = vertices + center[:, None]
    away = placed.new_tensor([0.0, 0.0, _AWAY_M])
    return torch.where(on[:, None, None] > 0.5, placed, away)


def _draw(rng: np.random.Generator, config: SceneConfig, model: HandModel) -> tuple[object, ...]:
    on = rng.random() < config.second_hand_rate
    names = rng.choice(list(POSES), 2)
    share = rng.uniform(0, 1)
    axis = rng.normal(size=3)
    turn = axis / np.linalg.norm(axis) * rng.uniform(0, np.pi)
    angle, way = rng.uniform(0, 2 * np.pi), rng.uniform(0.08, 0.18)
    shift = [way * np.cos(angle), way * np.sin(angle)]
    mirror = -1.0 if rng.random() < 0.75 else 1.0
    pose = _between(model, names, share) if on else np.zeros_like(model.arrays.pose_mean)
    return float(on), mirror, pose, turn, shift, float(rng.random() < 0.3)


def _between(model: HandModel, names: np.ndarray, share: float) -> Float64[np.ndarray, "45"]:
    """Return the hand pose on the way between two named poses; `share` of the first."""
    arrays = model.arrays
    first, second = (named_pose(str(name), arrays.pose_axes, arrays.rest_angles) for name in names)
    pose: np.ndarray = share * first + (1 - share) * second - arrays.pose_mean
    return pose
