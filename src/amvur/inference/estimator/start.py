"""Where the solver begins: poses turned and placed as the observations say."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Float64

from amvur.hand.kinematics import CarriedPoints, HandState, Kinematics, rotation_matrices
from amvur.hand.prior_arrays import PriorArrays
from amvur.inference.estimator.observation import NetworkObservations, Observations
from amvur.inference.estimator.similarity import rotation_between

# Wrist and finger bases: nearly rigid, so they give the hand's orientation.
_PALM = [0, 1, 5, 9, 13, 17]
_TILT_RAD = math.radians(50.0)
_NEAREST_M = 0.05
_USUAL_DISTANCE_M = 0.5


def start_states(
    hand: Kinematics,
    landmarks: CarriedPoints,
    prior: PriorArrays,
    seen: Observations,
    network: NetworkObservations | None = None,
    thorough: bool = False,
) -> tuple[HandState, int]:
    """Return the solver's starts (consecutive per hand) and how many there are for each hand.

    The prior's mean pose is turned as the palm's 3D landmarks say (Kabsch): the network's where it saw every
    hand, else the detector's. Where a hand has none, palms tilted in several ways are turned in the picture's
    plane. `thorough` adds to the former what a single view cannot tell apart: the palm mirrored in depth, and
    the tilted ones.
    """
    marks, count = _shape_landmarks(seen, network), len(seen.joints_2d)
    local = rotation_matrices(prior.local_axis_angle(prior.mean))
    mean = HandState(np.concatenate([np.eye(3)[None], local])[None], np.zeros((1, 10)), np.zeros((1, 3)))
    palm = hand.place(landmarks, mean)[:, _PALM].repeat(count, 0)
    turns: list[np.ndarray] = []
    if marks is not None:
        turns.append(rotation_between(palm, marks[:, _PALM]))
    if marks is not None and thorough:
        turns.append(rotation_between(palm, marks[:, _PALM] * [1.0, 1.0, -1.0]))
    if marks is None or thorough:
        turns += [_turn_in_plane(palm, seen.joints_2d[:, _PALM], tilt) for tilt in _tilts()]
    n = len(turns)
    rows = np.repeat(np.arange(count), n)
    state = mean[np.zeros(count * n, dtype=np.int64)]
    state.rotations[:, 0] = np.stack(turns, 1).reshape(-1, 3, 3)
    said = None if network is None else network[rows]
    return place_state(hand, landmarks, state, seen[rows], said), n


def place_state(
    hand: Kinematics,
    landmarks: CarriedPoints,
    state: HandState,
    seen: Observations,
    network: NetworkObservations | None = None,
) -> HandState:
    """Return `state` with the translation that projects it best onto the 2D joints (linear least squares).

    A detector's joints and a network's count by their precisions, on the detector's landmarks: enough for a
    start. Each joint says `(u - cx) (Z + tz) = fx (X + tx)`, likewise in y.
    """
    points = hand.place(landmarks, state) - state.transl[:, None]
    focal = seen.intrinsics[:, None, (0, 1), (0, 1)]
    joints_2d, weight = _placed(seen, network)
    ray = (joints_2d - seen.intrinsics[:, None, :2, 2]) / focal
    zero, one = np.zeros(ray.shape[:2]), np.ones(ray.shape[:2])
    rows = np.stack([one, zero, -ray[..., 0], zero, one, -ray[..., 1]], -1).reshape(len(ray), -1, 3)
    target = (ray * points[..., 2:] - points[..., :2]).reshape(len(ray), -1)
    weights = np.repeat(weight, 2, -1)
    a, b = rows * weights[..., None], target * weights
    normal = a.swapaxes(-1, -2) @ a + 1e-9 * np.eye(3)
    transl = np.linalg.solve(normal, (a * b[..., None]).sum(1)[..., None])[..., 0]
    # Behind or in the lens: start half a metre away along the mean ray instead.
    mean_ray = np.concatenate([ray.mean(1), np.ones((len(ray), 1))], -1)
    good = transl[:, 2:] > _NEAREST_M
    return HandState(state.rotations, state.betas, np.where(good, transl, _USUAL_DISTANCE_M * mean_ray))


def _placed(
    seen: Observations, network: NetworkObservations | None
) -> tuple[Float64[np.ndarray, "B 21 2"], Float64[np.ndarray, "B 21"]]:
    """Return the 2D joints (px) of detector and network merged, with weights 1/σ."""
    own = seen.joints_2d_weight
    if network is None:
        return seen.joints_2d, own
    first, second = own**2, (network.joints_2d_weight**2).mean(-1)
    total = first + second
    share = (second / np.maximum(total, 1e-12))[..., None]
    return seen.joints_2d + share * (network.joints_2d - seen.joints_2d), np.sqrt(total)


def _shape_landmarks(
    seen: Observations, network: NetworkObservations | None
) -> Float64[np.ndarray, "B 21 3"] | None:
    """Return 3D landmarks of all hands from one source, the network before the detector."""
    if network is not None and network.present.all():
        return network.relative_joints
    return seen.landmarks_3d if (seen.landmarks_3d_weight.sum(-1) > 0).all() else None


def _tilts() -> Float64[np.ndarray, "10 3 3"]:
    """Return ten attitudes of a palm: two sides, each straight and tilted by 50° in four ways."""
    sides = rotation_matrices(np.array([[0.0, 0.0, 0.0], [0.0, math.pi, 0.0]]))
    axes = np.array([[0.0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]]) * _TILT_RAD
    tilts = rotation_matrices(np.pad(axes, [(0, 0), (0, 1)]))
    both: np.ndarray = (tilts[:, None] @ sides).reshape(-1, 3, 3)
    return both


def _turn_in_plane(
    palm: Float[np.ndarray, "B N 3"], joints_2d: Float[np.ndarray, "B N 2"], tilt: Float[np.ndarray, "3 3"]
) -> Float64[np.ndarray, "B 3 3"]:
    """Turn tilted palms about the viewing axis until they lie like the 2D joints."""
    tilted = palm @ tilt.T
    a = tilted[..., :2] - tilted[..., :2].mean(1, keepdims=True)
    b = joints_2d - joints_2d.mean(1, keepdims=True)
    angle = np.arctan2((a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]).sum(-1), (a * b).sum((-1, -2)))
    turned: np.ndarray = rotation_matrices(angle[:, None] * [0.0, 0.0, 1.0]) @ tilt
    return turned
