"""A detector's landmarks: in the picture, in depth, and in space up to a similarity."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from amvur.hand.kinematics import CarriedPoints, HandState, Kinematics
from amvur.inference.estimator.observation import Observations
from amvur.inference.estimator.projection import project_with_jacobian
from amvur.inference.estimator.similarity import align_similarity
from amvur.inference.estimator.term import Quadratic, of_points, of_rows, student_t

_NEAR_M = 1e-3


class LandmarkTerm:
    """-ln of the detector's landmarks given a hand: Student-t densities, all weights set here.

    `landmarks` are where the detector's convention puts them on the hand.
    """

    def __init__(self, hand: Kinematics, landmarks: CarriedPoints, seen: Observations) -> None:
        """Observe B hands."""
        self.hand, self.landmarks, self.seen = hand, landmarks, seen

    def __call__(self, state: HandState) -> Quadratic:
        """Return the sum of the three parts."""
        points, jacobian = self.hand.place_with_jacobian(self.landmarks, state)
        seen = self.seen
        weight = np.broadcast_to(seen.joints_2d_weight[..., None], seen.joints_2d.shape)
        flat = reprojection(points, jacobian, seen.intrinsics, seen.joints_2d, weight)
        return flat + self._depth(points, jacobian) + self._shape(points, jacobian)

    def _depth(self, points: np.ndarray, jacobian: np.ndarray) -> Quadratic:
        """Landmark depth: f (Z_k − Z_wrist) / Z_wrist against the detector's, one Student-t a joint."""
        seen, z = self.seen, np.maximum(points[..., 2], _NEAR_M)
        wrist = z[:, :1]
        focal = 0.5 * (seen.intrinsics[:, 0, 0] + seen.intrinsics[:, 1, 1])[:, None]
        residual = (focal * (z - wrist) / wrist - seen.depth) * seen.depth_weight
        cost, robust = student_t(residual[..., None])
        by_joint = (focal / wrist * seen.depth_weight)[..., None] * jacobian[:, :, 2]
        by_wrist = (focal * z / wrist**2 * seen.depth_weight)[..., None] * jacobian[:, :1, 2]
        return of_rows(cost.sum(-1), residual, by_joint - by_wrist, robust)

    def _shape(self, points: np.ndarray, jacobian: np.ndarray) -> Quadratic:
        """3D landmarks up to a similarity, one Student-t a hand.

        Scale, rotation and translation of the detector's landmarks are nuisances: eliminated here (variable
        projection, Golub and Pereyra 1973), so that landmarks speak of articulation only. All landmarks share
        one Student-t: the least-squares similarity then minimises the objective and the gradient stays exact.
        The directions that a similarity explains lower the curvature.
        """
        weight = self.seen.landmarks_3d_weight[..., None]
        moved = align_similarity(self.seen.landmarks_3d, points, weight**2)
        residual = (points - moved) * weight
        count = len(points)
        cost, robust = student_t(residual.reshape(count, 1, -1))
        total = np.maximum((weight**2).sum(1, keepdims=True), 1e-12)
        center = (weight**2 * moved).sum(1, keepdims=True) / total
        tangent = _similarity_tangent((moved - center) * weight, weight)
        root = np.sqrt(robust)[..., None] * weight
        explained = (tangent.swapaxes(-1, -2) * np.repeat(root, 3, -1).reshape(count, 1, -1)) @ (
            jacobian.reshape(count, -1, jacobian.shape[-1])
        )
        stiffness = np.square(root)[..., None] * np.eye(3)
        term = of_points(cost.sum(-1), residual * weight * robust[..., None], stiffness, jacobian)
        curvature = term.curvature - explained.swapaxes(-1, -2) @ explained
        return Quadratic(term.cost, term.gradient, curvature)


def reprojection(
    points: Float64[np.ndarray, "B N 3"],
    jacobian: Float64[np.ndarray, "B N 3 61"],
    intrinsics: Float64[np.ndarray, "B 3 3"],
    joints_2d: Float64[np.ndarray, "B N 2"],
    weight: Float64[np.ndarray, "B N 2"],
) -> Quadratic:
    """Pixels of the pinhole camera against 2D joints with weights 1/σ (1/px), one Student-t a joint."""
    pixels, by_point = project_with_jacobian(points, intrinsics)
    residual, rows = (pixels - joints_2d) * weight, by_point * weight[..., None]
    cost, robust = student_t(residual)
    pulled = rows.swapaxes(-1, -2) * robust[..., None, None]
    return of_points(cost.sum(-1), (pulled @ residual[..., None])[..., 0], pulled @ rows, jacobian)


def _similarity_tangent(arm: np.ndarray, weight: np.ndarray) -> Float64[np.ndarray, "B 63 7"]:
    """Return an orthonormal basis of how a similarity moves weighted points."""
    eye = np.eye(3)
    shift = np.broadcast_to(weight[..., None] * eye, (*arm.shape, 3))
    turn = np.cross(eye[:, None, None, :], arm[None]).transpose(1, 2, 3, 0)
    tangent = np.concatenate([shift, turn, arm[..., None]], -1)
    # Without 3D landmarks all columns are zero: any orthonormal basis then meets weights of zero.
    basis: np.ndarray = np.linalg.qr(tangent.reshape(len(arm), -1, 7))[0]
    return basis
