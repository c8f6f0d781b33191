"""A hand filled with spheres that follow its bones: where two of them overlap, skin passes through skin."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from amvur.hand.contact_layout import CLEARANCE_M, THENAR_BONE, ContactLayout, layout_contacts
from amvur.hand.landmarks import BETAS, HandState, LandmarkChain, make_chain
from amvur.hand.model import HandModel
from amvur.hand.surface import SurfacePoints, place_surface, surface_and_jacobian

_PALM_RADIUS_M = 0.008


@dataclass(frozen=True)
class SkinSpheres:
    """Spheres of a right hand model, and which of them may touch but not overlap.

    Fingers and thumb are chains of spheres, each in the middle of a ring of vertices; under points of the
    palm lie spheres that touch the skin there. `centers` is a batch of one hand; `radii` (m) are those at
    betas 0 and `radii_dirs` what betas do; each of the K `pairs` are two spheres.
    """

    chain: LandmarkChain
    centers: SurfacePoints
    radii: Float[Tensor, "N"]
    radii_dirs: Float[Tensor, "N 10"]
    pairs: Int64[Tensor, "K 2"]


def make_skin_spheres(model: HandModel) -> SkinSpheres:
    """Lay spheres into the mean rest mesh of `model` (float64), and pair those that are apart there."""
    layout = layout_contacts(model.arrays)
    ring, weights, flesh, bone, palm, normals, thenar = (
        torch.from_numpy(getattr(layout, name)).to(model.v_template.device)
        for name in ("ring", "ring_weights", "flesh", "bone", "palm", "palm_normal", "thenar")
    )
    centers, radii = ring_spheres(ring, weights, flesh, model.v_template[None])
    dirs = (weights[..., None, None] * model.shapedirs[ring]).sum(1)
    outward = torch.nn.functional.normalize(model.v_template[ring] - centers[0, :, None], dim=-1)
    stretch = (outward[..., None] * (model.shapedirs[ring] - dirs[:, None])).sum(2)
    carried = torch.zeros(len(bone) + len(palm), len(model.parents)).to(weights)
    carried[torch.arange(len(bone)), bone] = 1
    carried[len(bone) :, (0, THENAR_BONE)] = torch.cat([1 - thenar, thenar], 1)
    rest = torch.cat([centers[0], model.v_template[palm] - _PALM_RADIUS_M * normals])
    radii = torch.cat([radii[0], torch.full_like(thenar[:, 0], _PALM_RADIUS_M)])
    rest_dirs = torch.cat([dirs, model.shapedirs[palm]])
    return SkinSpheres(
        chain=make_chain(model, torch.zeros(21, 3)),
        centers=SurfacePoints(rest[None], rest_dirs[None], carried[None]),
        radii=radii,
        radii_dirs=torch.cat(
            [
                flesh[:, None] * (weights[..., None] * stretch).sum(1),
                torch.zeros_like(rest_dirs[len(bone) :, 0]),
            ]
        ),
        pairs=_pairs(layout, rest, radii),
    )


def ring_spheres(
    ring: Int64[Tensor, "S m"],
    weights: Float[Tensor, "S m"],
    flesh: Float[Tensor, "S"],
    vertices: Float[Tensor, "B V 3"],
) -> tuple[Float[Tensor, "B S 3"], Float[Tensor, "B S"]]:
    """Return centers and radii (m) of spheres within rings of vertices, as `ContactLayout` has them."""
    corners = vertices[:, ring]
    centers = (weights[..., None] * corners).sum(2)
    radii = flesh * (weights * (corners - centers[:, :, None]).norm(dim=-1)).sum(2)
    return centers, radii


def _pairs(
    layout: ContactLayout, rest: Float[Tensor, "N 3"], radii: Float[Tensor, "N"]
) -> Int64[Tensor, "K 2"]:
    """List pairs of finger spheres, then those of finger and palm that are apart at rest."""
    fingers = torch.from_numpy(layout.pairs).nonzero()
    probe, point = torch.from_numpy(layout.reach).nonzero().unbind(1)
    palm = torch.stack([torch.from_numpy(layout.probes)[probe], len(layout.bone) + point], 1).to(rest.device)
    gap = (rest[palm[:, 0]] - rest[palm[:, 1]]).norm(dim=-1) - radii[palm].sum(1)
    return torch.cat([fingers.to(rest.device), palm[gap > CLEARANCE_M]])


def overlaps(spheres: SkinSpheres, state: HandState) -> Float[Tensor, "B K"]:
    """Return by how much the spheres of each pair overlap (m; negative: the gap between them)."""
    centers = place_surface(spheres.chain, spheres.centers, state)
    radii = spheres.radii + state.betas @ spheres.radii_dirs.T
    first, second = spheres.pairs.unbind(1)
    apart: Tensor = (centers[:, first] - centers[:, second]).norm(dim=-1)
    return radii[:, first] + radii[:, second] - apart


def overlap_jacobian(
    spheres: SkinSpheres, state: HandState, chosen: Int64[Tensor, "B k"]
) -> Float[Tensor, "B k 61"]:
    """Return the derivative of the overlaps of the `chosen` pairs of each hand by its 61 parameters."""
    pairs = spheres.pairs[chosen]
    flat, centers = pairs.flatten(1), spheres.centers
    own = SurfacePoints(centers.rest[0, flat], centers.rest_dirs[0, flat], centers.weights[0, flat])
    points, jacobian = surface_and_jacobian(spheres.chain, own, state)
    points, jacobian = points.unflatten(1, pairs.shape[1:]), jacobian.unflatten(1, pairs.shape[1:])
    apart = torch.nn.functional.normalize(points[:, :, 1] - points[:, :, 0], dim=-1)
    rows: Tensor = (apart[:, :, None] @ (jacobian[:, :, 0] - jacobian[:, :, 1]))[:, :, 0]
    rows[..., BETAS] += spheres.radii_dirs[pairs].sum(2)
    return rows
