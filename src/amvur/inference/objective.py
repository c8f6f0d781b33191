"""The negative log posterior of a hand given landmarks, its gradient and Gauss–Newton curvature."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from amvur.geometry.cameras import project_with_jacobian
from amvur.geometry.procrustes import align_weighted
from amvur.hand.landmarks import HandState, LandmarkChain, landmarks_and_jacobian, without_offsets
from amvur.hand.prior import HandPrior
from amvur.inference.outline import OutlineEvidence, outline_residual
from amvur.inference.prior_terms import prior_quadratic
from amvur.inference.quadratic import Quadratic

DEGREES_OF_FREEDOM = 4.0
_NEAR_M = 1e-3


@dataclass(frozen=True)
class NetworkEvidence:
    """What a network says of B right hands' own joints (no detector's convention).

    `relative_joints` are metres relative to the wrist in the camera's axes; `relative_weight` turns an error
    of theirs into standard deviations (a square root of the precision, 1/m; zero where there is nothing).
    `joints_2d` in pixels with weights 1/σ by axis.
    """

    relative_joints: Float[Tensor, "B 21 3"]
    relative_weight: Float[Tensor, "B 21 3 3"]
    joints_2d: Float[Tensor, "B 21 2"]
    joints_2d_weight: Float[Tensor, "B 21 2"]

    @property
    def present(self) -> Bool[Tensor, "B"]:
        """Which hands the network saw."""
        return self.relative_weight.flatten(1).abs().sum(-1) > 0


@dataclass(frozen=True)
class Evidence:
    """Landmarks of B right hands with weights 1/σ (0 where nothing was seen).

    `joints_2d` in pixels; `depth` relative to the wrist in pixels (weak perspective, larger is
    further); `landmarks_3d` in metres, known up to a similarity. Weights are in the inverse unit.
    These are a detector's; `network` is what a trained network adds, `outline` what the picture's colors do
    (`amvur.inference.outline`), None without.
    """

    intrinsics: Float[Tensor, "B 3 3"]
    joints_2d: Float[Tensor, "B 21 2"]
    joints_2d_weight: Float[Tensor, "B 21"]
    depth: Float[Tensor, "B 21"]
    depth_weight: Float[Tensor, "B 21"]
    landmarks_3d: Float[Tensor, "B 21 3"]
    landmarks_3d_weight: Float[Tensor, "B 21"]
    network: NetworkEvidence | None = None
    outline: OutlineEvidence | None = None

    def believed(self, share: Float[Tensor, "B #21"]) -> Evidence:
        """Return the same with all weights of the detector's landmarks times `share`."""
        return replace(
            self,
            joints_2d_weight=share * self.joints_2d_weight,
            depth_weight=share * self.depth_weight,
            landmarks_3d_weight=share * self.landmarks_3d_weight,
        )


DETECTED = tuple(f.name for f in fields(Evidence) if f.name not in ("network", "outline"))
"""The fields of `Evidence` that are a detector's."""


def quadratic(chain: LandmarkChain, prior: HandPrior, evidence: Evidence, state: HandState) -> Quadratic:
    """Return the objective with its gradient and Gauss–Newton curvature.

    Student-t terms enter with their reweighted least-squares weights (ν+d)/(ν+|r|²). All evidence acts
    through the landmarks, so it is gathered there (a 3-vector and a 3×3 matrix a landmark) and taken
    to the parameters by one product with the Jacobian.
    """
    points, jacobian = landmarks_and_jacobian(chain, state)
    weight = evidence.joints_2d_weight[..., None]
    projection = _projection_term(points, evidence.intrinsics, evidence.joints_2d, weight)
    depth = _depth_term(points, evidence)
    shape = _shape_term(points, evidence)
    flat = jacobian.flatten(1, 2)
    stiffness, force = projection.stiffness + shape.stiffness, projection.force + depth.force + shape.force
    curvature = flat.transpose(-1, -2) @ (stiffness @ jacobian).flatten(1, 2)
    depth_rows = depth.rows @ jacobian[:, :, 2]
    similarity_rows = shape.rows @ flat
    curvature = curvature + depth_rows.transpose(-1, -2) @ depth_rows
    curvature = curvature - similarity_rows.transpose(-1, -2) @ similarity_rows
    gradient = (flat.transpose(-1, -2) @ force.flatten(1)[..., None])[..., 0]
    prior_part = prior_quadratic(prior, state)
    total = Quadratic(
        cost=projection.cost + depth.cost + shape.cost + prior_part.cost,
        gradient=gradient + prior_part.gradient,
        curvature=curvature + prior_part.curvature,
    )
    if evidence.network is not None:
        seen = evidence.network
        total = total + network_quadratic(without_offsets(chain), seen, evidence.intrinsics, state)
    if evidence.outline is not None:
        total = total + outline_quadratic(chain, evidence.outline, evidence.intrinsics, state)
    return total


def outline_quadratic(
    chain: LandmarkChain, seen: OutlineEvidence, intrinsics: Float[Tensor, "B 3 3"], state: HandState
) -> Quadratic:
    """Return the outline's part: distances of points of the skin from their lines, one Student-t each."""
    residual, rows = outline_residual(chain, seen, intrinsics, state)
    cost, robust = _student_t(residual[..., None])
    pulled = rows * robust[..., None]
    return Quadratic(cost.sum(-1), (residual[:, None] @ pulled)[:, 0], rows.transpose(-1, -2) @ pulled)


def network_quadratic(
    chain: LandmarkChain, seen: NetworkEvidence, intrinsics: Float[Tensor, "B 3 3"], state: HandState
) -> Quadratic:
    """Return the network's part: its joints relative to the wrist and its 2D joints, Student-t each.

    `chain` must be that of the model's own joints.
    """
    points, jacobian = landmarks_and_jacobian(chain, state)
    projection = _projection_term(points, intrinsics, seen.joints_2d, seen.joints_2d_weight)
    relative = _relative_term(points - points[:, :1], seen)
    parts = ((projection, jacobian), (relative, jacobian - jacobian[:, :1]))
    flat = [by.flatten(1, 2).transpose(-1, -2) for _, by in parts]
    forces = [term.force.flatten(1)[..., None] for term, _ in parts]
    curved = [(term.stiffness @ by).flatten(1, 2) for term, by in parts]
    return Quadratic(
        cost=projection.cost + relative.cost,
        gradient=(flat[0] @ forces[0] + flat[1] @ forces[1])[..., 0],
        curvature=flat[0] @ curved[0] + flat[1] @ curved[1],
    )


@dataclass(frozen=True)
class _Term:
    """A term's cost, its gradient by the landmarks, its curvature: blocks, or rows of a root."""

    cost: Float[Tensor, "B"]
    force: Float[Tensor, "B 21 3"]
    stiffness: Float[Tensor, "B N 3 3"]
    rows: Float[Tensor, "B R C"]


def _student_t(residual: Float[Tensor, "B N D"]) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B N"]]:
    """Return -ln of a multivariate Student-t up to a constant, and its least-squares weights."""
    nu, d = DEGREES_OF_FREEDOM, residual.shape[-1]
    squared = residual.square().sum(-1)
    return 0.5 * (nu + d) * torch.log1p(squared / nu), (nu + d) / (nu + squared)


def _projection_term(
    points: Float[Tensor, "B 21 3"],
    k: Float[Tensor, "B 3 3"],
    joints_2d: Float[Tensor, "B 21 2"],
    weight: Float[Tensor, "B 21 #2"],
) -> _Term:
    """Reprojection: pixels of the pinhole camera against the 2D joints, one Student-t a joint."""
    pixels, by_point = project_with_jacobian(points, k)
    residual, rows = (pixels - joints_2d) * weight, by_point * weight[..., None]
    cost, robust = _student_t(residual)
    pulled = rows.transpose(-1, -2) * robust[..., None, None]
    return _Term(cost.sum(-1), (pulled @ residual[..., None])[..., 0], pulled @ rows, points[:, :0])


def _relative_term(relative: Float[Tensor, "B 21 3"], seen: NetworkEvidence) -> _Term:
    """Wrist-relative joints against the network's, one Student-t a joint; derivatives by `relative`."""
    weight = seen.relative_weight
    residual = (weight @ (relative - seen.relative_joints)[..., None])[..., 0]
    cost, robust = _student_t(residual)
    pulled = weight.transpose(-1, -2) * robust[..., None, None]
    return _Term(cost.sum(-1), (pulled @ residual[..., None])[..., 0], pulled @ weight, relative[:, :0])


def _depth_term(points: Float[Tensor, "B 21 3"], evidence: Evidence) -> _Term:
    """Landmark depth: f (Z_k - Z_wrist) / Z_wrist against the detector's, one Student-t a joint."""
    z = points[..., 2].clamp_min(_NEAR_M)
    wrist = z[:, :1]
    focal = 0.5 * (evidence.intrinsics[:, 0, 0] + evidence.intrinsics[:, 1, 1])[:, None]
    weight = evidence.depth_weight
    residual = (focal * (z - wrist) / wrist - evidence.depth) * weight
    cost, robust = _student_t(residual[..., None])
    root = robust.sqrt() * weight
    by_joint, by_wrist = focal / wrist * root, -focal * z / wrist.square() * root
    # Row k moves with its own depth and with the wrist's: 21 rows over the 21 depths.
    rows = torch.diag_embed(by_joint)
    rows[:, :, 0] += by_wrist
    force = torch.zeros_like(points)
    force[..., 2] = ((residual * robust.sqrt())[:, None] @ rows)[:, 0]
    return _Term(cost.sum(-1), force, points.new_zeros(len(points), 0, 3, 3), rows)


def _shape_term(points: Float[Tensor, "B 21 3"], evidence: Evidence) -> _Term:
    """3D landmarks up to a similarity, one Student-t a hand.

    Scale, rotation and translation of the detector's landmarks are nuisances: eliminated here
    (variable projection, Golub and Pereyra 1973) so that landmarks speak of articulation only. All
    landmarks share one Student-t: the least-squares similarity then minimises the objective and the
    gradient stays exact. `rows` are the directions that a similarity explains: they lower the curvature.
    """
    weight = evidence.landmarks_3d_weight[..., None]
    moved = align_weighted(evidence.landmarks_3d, points, weight.square())
    residual = (points - moved) * weight
    cost, robust = _student_t(residual.flatten(1)[:, None])
    root = robust.sqrt()[..., None]
    total = weight.square().sum(1, keepdim=True).clamp_min(1e-12)
    center = (weight.square() * moved).sum(1, keepdim=True) / total
    tangent = _similarity_tangent((moved - center) * weight, weight)
    weights = (weight * root).expand(points.shape).flatten(1)
    eye = torch.eye(3, dtype=points.dtype, device=points.device)
    return _Term(
        cost.sum(-1),
        residual * weight * root.square(),
        (weight * root).square()[..., None] * eye,
        tangent.transpose(-1, -2) * weights[:, None],
    )


def _similarity_tangent(
    arm: Float[Tensor, "B 21 3"], weight: Float[Tensor, "B 21 1"]
) -> Float[Tensor, "B 63 7"]:
    """Return an orthonormal basis of how a similarity moves weighted points."""
    eye = torch.eye(3, dtype=arm.dtype, device=arm.device)
    shift = (weight[..., None] * eye).expand(*arm.shape, 3)
    turn = torch.linalg.cross(eye.expand(*arm.shape, 3), arm[..., None].expand(*arm.shape, 3), dim=-2)
    tangent = torch.cat([shift, turn, arm[..., None]], -1).flatten(1, 2)
    # Without 3D landmarks all columns are zero: any orthonormal basis then meets weights of zero.
    basis: Tensor = torch.linalg.qr(tangent)[0]
    return basis
