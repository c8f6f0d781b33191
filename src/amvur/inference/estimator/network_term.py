"""A trained network's word: joints relative to the wrist and in the picture, with its own deviations."""

from __future__ import annotations

import numpy as np

from amvur.hand.kinematics import HandState, Kinematics
from amvur.inference.estimator.landmark_term import reprojection
from amvur.inference.estimator.observation import NetworkObservations
from amvur.inference.estimator.term import Quadratic, of_points, student_t


class NetworkTerm:
    """-ln of what a network says of B hands' own joints (no detector's convention), one Student-t a joint."""

    def __init__(self, hand: Kinematics, seen: NetworkObservations, intrinsics: np.ndarray) -> None:
        """Observe B hands with cameras `intrinsics` (B,3,3; px)."""
        self.hand, self.seen, self.intrinsics = hand, seen, intrinsics

    def __call__(self, state: HandState) -> Quadratic:
        """Return both parts."""
        points, jacobian = self.hand.place_with_jacobian(self.hand.joints, state)
        seen, weight = self.seen, self.seen.relative_weight
        flat = reprojection(points, jacobian, self.intrinsics, seen.joints_2d, seen.joints_2d_weight)
        relative = points - points[:, :1]
        residual = (weight @ (relative - seen.relative_joints)[..., None])[..., 0]
        cost, robust = student_t(residual)
        pulled = weight.swapaxes(-1, -2) * robust[..., None, None]
        force = (pulled @ residual[..., None])[..., 0]
        return flat + of_points(cost.sum(-1), force, pulled @ weight, jacobian - jacobian[:, :1])
