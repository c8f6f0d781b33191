"""Points of a hand's skin and their analytic Jacobian: a few vertices without the rest of the mesh."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from amvur.hand.landmarks import HandState, LandmarkChain, assemble_jacobian, pose_bones
from amvur.hand.model import HandModel


@dataclass(frozen=True)
class SurfacePoints:
    """M vertices of each of B hands at rest (m): their places at betas 0, what betas do, who carries them."""

    rest: Float[Tensor, "B M 3"]
    rest_dirs: Float[Tensor, "B M 3 10"]
    weights: Float[Tensor, "B M 16"]


def surface_points(model: HandModel, state: HandState, vertices: Int64[Tensor, "B M"]) -> SurfacePoints:
    """Collect vertices of `model`; its pose correctives stay those of `state`."""
    eye = torch.eye(3, dtype=state.rotations.dtype, device=state.rotations.device)
    feature = (state.rotations[:, 1:] - eye).flatten(1)
    correctives = (model.posedirs[vertices] @ feature[:, None, :, None])[..., 0]
    return SurfacePoints(
        model.v_template[vertices] + correctives, model.shapedirs[vertices], model.lbs_weights[vertices]
    )


def place_surface(chain: LandmarkChain, surface: SurfacePoints, state: HandState) -> Float[Tensor, "B M 3"]:
    """Return the points of `surface_and_jacobian` alone; `surface` may be a batch of one for all hands."""
    bones = pose_bones(chain, state)
    rest = surface.rest + (surface.rest_dirs @ state.betas[:, None, :, None])[..., 0]
    shift = bones.origin - (bones.rotation @ bones.pivots[..., None])[..., 0]
    turn = torch.einsum("nmb,nbij->nmij", surface.weights.expand(len(shift), -1, -1), bones.rotation)
    return (turn @ rest[..., None])[..., 0] + surface.weights @ shift


def surface_and_jacobian(
    chain: LandmarkChain, surface: SurfacePoints, state: HandState
) -> tuple[Float[Tensor, "B M 3"], Float[Tensor, "B M 3 61"]]:
    """Return points of the skin (m, camera frame) and their derivative by the 61 parameters.

    Linear blend skinning: bone c would carry a point to p_c; the point is the mean of these by its weights
    w_c. A turn of bone b moves every p_c that hangs on b, by the levers of
    `amvur.hand.landmarks.landmarks_and_jacobian`.
    """
    bones = pose_bones(chain, state)
    rest = surface.rest + (surface.rest_dirs @ state.betas[:, None, :, None])[..., 0]
    arms = rest[:, :, None] - bones.pivots[:, None]
    carried = (bones.rotation[:, None] @ arms[..., None])[..., 0] + bones.origin[:, None]
    weighted = surface.weights[..., None] * carried
    moves = chain.moves.to(rest)
    levers = torch.einsum("cb,nmci->nmbi", moves, weighted)
    levers = levers - (surface.weights @ moves)[..., None] * bones.origin[:, None]
    relative_dirs = surface.rest_dirs[:, :, None] - chain.pivot_dirs
    by_betas = bones.rotation[:, None] @ relative_dirs + bones.origin_dirs[:, None]
    by_betas = (surface.weights[..., None, None] * by_betas).sum(2)
    return weighted.sum(2), assemble_jacobian(bones.rotation, levers, by_betas)
