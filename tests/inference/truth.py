"""Hands of known pose, and what a perfect detector would say of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from amvur.hand.kinematics import N_PARAMETERS, CarriedPoints, HandState, Kinematics
from amvur.hand.model_arrays import HandModelArrays
from amvur.hand.open_hand import load_open_hand
from amvur.hand.prior_arrays import PriorArrays, prior_arrays
from amvur.inference.estimator.observation import Observations

INTRINSICS = np.array([[800.0, 0, 320], [0, 780, 240], [0, 0, 1]])


@dataclass(frozen=True)
class Truth:
    """Right hands in front of the camera `INTRINSICS`, drawn from the prior, and where landmarks are."""

    arrays: HandModelArrays
    hand: Kinematics
    prior: PriorArrays
    landmarks: CarriedPoints
    state: HandState

    def __len__(self) -> int:
        return len(self.state)

    def place(self, state: HandState) -> np.ndarray:
        """Where the landmarks of a state lie."""
        return self.hand.place(self.landmarks, state)

    @property
    def points(self) -> np.ndarray:
        """Where the landmarks lie."""
        return self.place(self.state)

    @property
    def intrinsics(self) -> np.ndarray:
        """The camera, once for every hand."""
        return np.tile(INTRINSICS, (len(self), 1, 1))


def true_hands(
    n: int, seed: int = 0, arrays: HandModelArrays | None = None, offsets: np.ndarray | None = None
) -> Truth:
    """`n` hands of any attitude about half a metre away."""
    arrays = arrays or load_open_hand("right")
    hand, prior, rng = Kinematics(arrays), prior_arrays(arrays), np.random.default_rng(seed)
    angles = rng.multivariate_normal(prior.mean, np.linalg.inv(prior.precision), n)
    turns = prior.local_axis_angle(np.clip(angles, prior.lower, prior.upper))
    local = Rotation.from_rotvec(turns.reshape(-1, 3)).as_matrix().reshape(n, 15, 3, 3)
    root = Rotation.random(n, random_state=seed).as_matrix()
    transl = [0, 0, 0.5] + 0.04 * rng.normal(size=(n, 3))
    state = HandState(np.concatenate([root[:, None], local], 1), rng.normal(size=(n, 10)), transl)
    return Truth(
        arrays, hand, prior, hand.landmarks(np.zeros((21, 3)) if offsets is None else offsets), state
    )


def project_numpy(points: np.ndarray, intrinsics: np.ndarray = INTRINSICS) -> np.ndarray:
    pixels = points @ intrinsics.T
    return pixels[..., :2] / pixels[..., 2:]


def exact_observations(
    truth: Truth, *, pixels: bool = True, depth: bool = True, marks: bool = True, relative_scale: float = 0.01
) -> Observations:
    """The truth as seen; 2D and depth are good to `relative_scale` of the hand's size, 3D to 2 mm."""
    points = truth.points
    joints = project_numpy(points)
    size = np.ptp(joints, axis=1).max(-1)
    weight = np.tile(1 / (relative_scale * size)[:, None], (1, 21))
    focal = (INTRINSICS[0, 0] + INTRINSICS[1, 1]) / 2
    wrist = points[:, :1, 2]
    return Observations(
        intrinsics=truth.intrinsics,
        joints_2d=joints,
        joints_2d_weight=pixels * weight,
        depth=focal * (points[..., 2] - wrist) / wrist,
        depth_weight=depth * weight,
        landmarks_3d=1.2 * (points - points[:, :1]),
        landmarks_3d_weight=np.full(points.shape[:2], marks / 0.002),
    )


def noisy(seen: Observations, seed: int = 0, amount: float = 1.0) -> Observations:
    """Observations with normal errors of `amount` times what their weights say."""
    rng = np.random.default_rng(seed)

    def off(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
        scale = np.where(weight > 0, amount / np.maximum(weight, 1e-12), 0.0)
        return values + rng.normal(size=values.shape) * (scale[..., None] if values.ndim == 3 else scale)

    return replace(
        seen,
        joints_2d=off(seen.joints_2d, seen.joints_2d_weight),
        depth=off(seen.depth, seen.depth_weight),
        landmarks_3d=off(seen.landmarks_3d, seen.landmarks_3d_weight),
    )


def moved(state: HandState, step: np.ndarray) -> HandState:
    """The state after one step (61,) of all its hands, by scipy."""
    turn = Rotation.from_rotvec(step[:48].reshape(16, 3)).as_matrix()
    return HandState(state.rotations @ turn, state.betas + step[48:58], state.transl + step[58:])


def nearby(truth: Truth, scale: float = 0.1, seed: int = 3) -> HandState:
    """States next to the truth, so that no residual is zero."""
    return moved(truth.state, scale * np.random.default_rng(seed).normal(size=61) * ([1] * 58 + [0.1] * 3))


def differences(value: Callable[[HandState], np.ndarray], state: HandState, h: float = 1e-6) -> np.ndarray:
    """Central differences of `value(state)` by the 61 parameters, along a new last axis."""
    steps = h * np.eye(N_PARAMETERS)
    return np.stack([(value(moved(state, s)) - value(moved(state, -s))) / (2 * h) for s in steps], -1)


def similar(ours: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Points (N,3) moved onto others by the best similarity: scipy's rotation, least squares of the size."""
    a, b = ours - ours.mean(0), true - true.mean(0)
    turned = Rotation.align_vectors(b, a)[0].apply(a)
    return (turned * b).sum() / (a**2).sum() * turned + true.mean(0)


def aligned_error_mm(ours: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Mean joint error of each hand (B,N,3) after similarity alignment."""
    return np.array(
        [1000 * np.linalg.norm(similar(a, b) - b, axis=-1).mean() for a, b in zip(ours, true, strict=True)]
    )
