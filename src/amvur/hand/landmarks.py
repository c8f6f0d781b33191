"""Landmarks fixed to the bones of a hand and their analytic Jacobian, without building the mesh.

A detector's landmark k sits at the model's joint k plus a constant offset in its bone's rest frame:
`offsets` (21,3) metres, zero for the model's own convention.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from amvur.hand.joints import BONE_JOINTS, JOINT_BONES
from amvur.hand.model import HandModel
from amvur.hand.model_arrays import bone_levels

N_BONES, N_BETAS = 16, 10
N_PARAMETERS = 3 * N_BONES + N_BETAS + 3
"""Parameters of a hand: a body-frame turn of every bone, betas, translation."""
BETAS = slice(3 * N_BONES, 3 * N_BONES + N_BETAS)
TRANSL = slice(3 * N_BONES + N_BETAS, N_PARAMETERS)


@dataclass(frozen=True)
class HandState:
    """A point of the parameter manifold: local bone rotations, betas, translation (m)."""

    rotations: Float[Tensor, "B 16 3 3"]
    betas: Float[Tensor, "B 10"]
    transl: Float[Tensor, "B 3"]


@dataclass(frozen=True)
class LandmarkChain:
    """The part of a hand model that moves landmarks: pivots, local positions, who carries whom.

    `carries[k, b]`: bone b, turning, moves landmark k; `moves[c, b]`: it moves bone c (itself included).
    """

    pivots: Float[Tensor, "16 3"]
    pivot_dirs: Float[Tensor, "16 3 10"]
    local: Float[Tensor, "21 3"]
    local_dirs: Float[Tensor, "21 3 10"]
    offsets: Float[Tensor, "21 3"]
    carries: Bool[Tensor, "21 16"]
    moves: Bool[Tensor, "16 16"]
    levels: list[tuple[list[int], list[int]]]


@dataclass(frozen=True)
class PosedBones:
    """The bones of B hands in the camera's frame: rotations, origins (m), what betas do to these and where
    the bones' pivots lie at rest."""

    rotation: Float[Tensor, "B 16 3 3"]
    origin: Float[Tensor, "B 16 3"]
    origin_dirs: Float[Tensor, "B 16 3 10"]
    pivots: Float[Tensor, "B 16 3"]


def make_chain(model: HandModel, offsets: Float[Tensor, "21 3"]) -> LandmarkChain:
    """Collect the arrays of `model` for landmarks that lie `offsets` (m) from its joints."""
    bones = list(JOINT_BONES)
    pivots = model.joint_template[list(BONE_JOINTS)]
    pivot_dirs = model.joint_shapedirs[list(BONE_JOINTS)]
    moves = torch.zeros(N_BONES, N_BONES, dtype=torch.bool, device=pivots.device)
    for moved in range(N_BONES):
        bone = moved
        while bone >= 0:
            moves[moved, bone] = True
            bone = model.parents[bone]
    return LandmarkChain(
        pivots=pivots,
        pivot_dirs=pivot_dirs,
        local=model.joint_template - pivots[bones] + offsets.to(pivots),
        local_dirs=model.joint_shapedirs - pivot_dirs[bones],
        offsets=offsets.to(pivots),
        carries=moves[bones],
        moves=moves,
        levels=bone_levels(model.parents),
    )


def without_offsets(chain: LandmarkChain) -> LandmarkChain:
    """Return the chain of the same hand's own joints, wherever a detector puts its landmarks."""
    return replace(chain, local=chain.local - chain.offsets, offsets=torch.zeros_like(chain.offsets))


def landmarks(chain: LandmarkChain, state: HandState) -> Float[Tensor, "B 21 3"]:
    """Return the landmarks (m, camera frame) of hands in `state`."""
    return _place(chain, state, pose_bones(chain, state))


def landmarks_and_jacobian(
    chain: LandmarkChain, state: HandState
) -> tuple[Float[Tensor, "B 21 3"], Float[Tensor, "B 21 3 61"]]:
    """Return the landmarks and their derivative by the 61 parameters.

    A turn `exp(d)` of bone b in its own frame moves a landmark p that b carries by
    `(R_b d) x (p - o_b)`, with R_b and o_b the bone's rotation and origin in the camera's frame.
    """
    bones, carriers = pose_bones(chain, state), list(JOINT_BONES)
    points = _place(chain, state, bones)
    arm = (points[:, :, None] - bones.origin[:, None]) * chain.carries[..., None]
    betas_jacobian = bones.origin_dirs[:, carriers] + bones.rotation[:, carriers] @ chain.local_dirs
    return points, assemble_jacobian(bones.rotation, arm, betas_jacobian)


def assemble_jacobian(
    rotation: Float[Tensor, "B 16 3 3"],
    arm: Float[Tensor, "B N 16 3"],
    by_betas: Float[Tensor, "B N 3 10"],
) -> Float[Tensor, "B N 3 61"]:
    """Return the derivative of N points by the 61 parameters.

    `arm` are the levers (m) by which each bone's turn in its own frame moves a point.
    """
    # Columns of R_b crossed with the arm: (B,N,16,axis,3), then axis last.
    axes = rotation.transpose(-1, -2)[:, None].expand(-1, arm.shape[1], -1, -1, -1)
    turns = torch.linalg.cross(axes, arm[..., None, :].expand_as(axes))
    jacobian = arm.new_empty(*arm.shape[:2], 3, N_PARAMETERS)
    jacobian[..., : 3 * N_BONES] = turns.flatten(2, 3).transpose(-1, -2)
    jacobian[..., BETAS] = by_betas
    jacobian[..., TRANSL] = torch.eye(3, dtype=arm.dtype, device=arm.device)
    return jacobian


def pose_bones(chain: LandmarkChain, state: HandState) -> PosedBones:
    """Run the chain of bones from the wrist to the fingers."""
    pivots = chain.pivots + (chain.pivot_dirs @ state.betas[:, None, :, None])[..., 0]
    rotation = state.rotations.clone()
    origin = pivots + state.transl[:, None]
    origin_dirs = chain.pivot_dirs.expand(len(pivots), -1, -1, -1).clone()
    for level, parents in chain.levels:
        turn = rotation[:, parents]
        offset = pivots[:, level] - pivots[:, parents]
        offset_dirs = chain.pivot_dirs[level] - chain.pivot_dirs[parents]
        origin[:, level] = origin[:, parents] + (turn @ offset[..., None])[..., 0]
        origin_dirs[:, level] = origin_dirs[:, parents] + turn @ offset_dirs
        rotation[:, level] = turn @ state.rotations[:, level]
    return PosedBones(rotation, origin, origin_dirs, pivots)


def _place(chain: LandmarkChain, state: HandState, bones: PosedBones) -> Float[Tensor, "B 21 3"]:
    """Return the landmarks that posed bones carry."""
    carriers = list(JOINT_BONES)
    local = chain.local + (chain.local_dirs @ state.betas[:, None, :, None])[..., 0]
    return bones.origin[:, carriers] + (bones.rotation[:, carriers] @ local[..., None])[..., 0]
