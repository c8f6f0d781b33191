"""From detections to the solver's evidence: left hands mirrored, runs merged, weights set."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from amvur.detect.convention import LandmarkConvention, load_convention
from amvur.geometry.cameras import mirror_intrinsics
from amvur.geometry.procrustes import rotation_between
from amvur.geometry.rotations import axis_angle_to_matrix
from amvur.hand.landmarks import HandState, LandmarkChain, landmarks
from amvur.hand.prior import HandPrior
from amvur.inference.fit import solve_translation
from amvur.inference.objective import DETECTED, Evidence, NetworkEvidence
from amvur.structures import HandDetection

# Wrist and finger bases: nearly rigid, so they give the hand's orientation.
_PALM = [0, 1, 5, 9, 13, 17]
_MIRROR = np.array([-1.0, 1.0, 1.0])
# The left hand's palm seen with fingers up, thumb on the left, in units of its height, centred.
_OPEN_PALM = np.array(
    [
        [0.02, 0.50], [-0.13, 0.40], [-0.25, 0.22], [-0.33, 0.06], [-0.39, -0.07],
        [-0.12, 0.03], [-0.15, -0.18], [-0.17, -0.30], [-0.18, -0.41], [-0.01, 0.01],
        [-0.01, -0.24], [-0.01, -0.38], [-0.01, -0.50], [0.09, 0.05], [0.12, -0.17],
        [0.14, -0.31], [0.15, -0.42], [0.18, 0.11], [0.24, -0.04], [0.28, -0.13], [0.31, -0.23],
    ]
)  # fmt: skip
_BOX = replace(load_convention("amvur"), joints_2d_scale=np.full(21, 0.35))


@dataclass(frozen=True)
class MergedRuns:
    """One hand's landmarks over the detector's runs: their median and how far runs differ."""

    joints_2d_px: np.ndarray
    spread_px: np.ndarray
    size_px: float

    @property
    def relative_spread(self) -> float:
        """How far runs differ, root mean square over joints, in units of the hand's size (at least 1 px)."""
        return float(np.sqrt(np.mean(self.spread_px**2)) / max(self.size_px, 1.0))


def merge_runs(detection: HandDetection) -> MergedRuns:
    """Take the median over runs; `spread_px` is the runs' standard deviation per joint and axis (rms)."""
    runs = without_unseen(detection).joints_2d_px
    middle = np.median(runs, 0)
    spread = np.sqrt(runs.var(0).mean(-1))
    return MergedRuns(middle, spread, float(np.ptp(middle, axis=0).max()))


def lies_on(detection: HandDetection, joints_2d: Float[np.ndarray, "21 2"]) -> bool:
    """Whether a detection is of the hand with these joints (px): on average within 15 % of its size."""
    merged = merge_runs(detection)
    error = np.linalg.norm(merged.joints_2d_px - joints_2d, axis=-1).mean()
    return float(error) < 0.15 * merged.size_px


def collect_evidence(
    detections: Sequence[HandDetection],
    intrinsics: Float[np.ndarray, "3 3"],
    width: int,
    convention: LandmarkConvention,
) -> Evidence:
    """Return the evidence of all hands of an image as right hands (left ones mirrored in x).

    The spread between runs adds to a 2D landmark's variance; a joint of confidence 0 weighs nothing.
    """
    hands = [_one_hand(d, intrinsics, width, convention) for d in detections]
    joined: dict[str, Any] = {name: torch.cat([getattr(h, name) for h in hands]) for name in DETECTED}
    return Evidence(**joined)


def _one_hand(
    detection: HandDetection,
    intrinsics: Float[np.ndarray, "3 3"],
    width: int,
    convention: LandmarkConvention,
) -> Evidence:
    """Return one hand's evidence, a batch of one."""
    left = detection.side == "left"
    if not detection.confidence.any():
        convention = _BOX
    detection = without_unseen(detection)
    merged = merge_runs(detection)
    joints, camera = merged.joints_2d_px.copy(), torch.as_tensor(intrinsics, dtype=torch.float64)
    if left:
        joints[:, 0] = width - joints[:, 0]
        camera = mirror_intrinsics(camera, width)
    seen = np.sqrt(detection.confidence)
    size = max(merged.size_px, 1.0)
    scale = np.hypot(convention.joints_2d_scale * size, merged.spread_px)
    depth, depth_weight = np.zeros(21), np.zeros(21)
    if detection.depth_px is not None:
        depth = np.median(detection.depth_px, 0) * convention.depth_gain
        depth_weight = seen / (convention.depth_scale * size)
    marks, marks_weight = np.zeros((21, 3)), np.zeros(21)
    if detection.landmarks_3d_m is not None:
        marks = np.median(detection.landmarks_3d_m, 0) * (_MIRROR if left else 1.0)
        marks_weight = seen / convention.landmarks_3d_scale_m
    arrays = (joints, seen / scale, depth, depth_weight, marks, marks_weight)
    tensors: list[Any] = [torch.as_tensor(a, dtype=torch.float64)[None] for a in arrays]
    return Evidence(camera[None], *tensors)


def without_unseen(detection: HandDetection) -> HandDetection:
    """Return a detection whose joints of confidence 0 lie amid the others: anything may stand there, NaN too.

    Where no joint was seen, all that is known is the box.
    """
    seen = detection.confidence > 0
    if not seen.any():
        return only_a_box(detection)

    def filled(values: np.ndarray) -> np.ndarray:
        mask = seen.reshape(-1, *[1] * (values.ndim - 2))
        return np.where(mask, values, values[:, seen].mean(1, keepdims=True))

    depth, marks = detection.depth_px, detection.landmarks_3d_m
    return replace(
        detection,
        joints_2d_px=filled(detection.joints_2d_px),
        depth_px=None if depth is None else filled(depth),
        landmarks_3d_m=None if marks is None else filled(marks),
    )


def only_a_box(detection: HandDetection) -> HandDetection:
    """Return a detection whose joints are those of an open palm filling the box, fingers up.

    All that a box tells: about where and how large the hand is. The weights (`_BOX`) say so.
    """
    x0, y0, x1, y1 = detection.box_xyxy_px
    middle, side = np.array([(x0 + x1) / 2, (y0 + y1) / 2]), max(x1 - x0, y1 - y0)
    open_palm = _OPEN_PALM * ([1.0, 1.0] if detection.side == "left" else [-1.0, 1.0])
    joints = middle + 0.9 * side * open_palm
    return replace(
        detection,
        joints_2d_px=joints[None],
        confidence=np.ones(21),
        depth_px=None,
        landmarks_3d_m=None,
    )


def start_states(
    chain: LandmarkChain, prior: HandPrior, evidence: Evidence, poses: Float[Tensor, "S 45"]
) -> tuple[HandState, int]:
    """Return the solver's starts (consecutive per hand) and how many there are for each hand.

    Each of the given poses (anatomical angles, rad) is turned as the palm's 3D landmarks say
    (Kabsch): the network's where it saw every hand, else the detector's. Where a hand has none, palms
    tilted in several ways are turned in the picture's plane.
    """
    marks = _shape_landmarks(evidence)
    tilts = _tilts().to(evidence.joints_2d)
    n_tilts = len(tilts) if marks is None else 1
    n_hands, n_starts = len(evidence.joints_2d), len(poses) * n_tilts
    local = axis_angle_to_matrix((prior.axis_angle(poses) + prior.pose_mean).unflatten(-1, (15, 3)))
    local = local.repeat_interleave(n_tilts, 0).repeat(n_hands, 1, 1, 1)
    root = torch.eye(3, dtype=local.dtype, device=local.device).expand(len(local), 1, 3, 3)
    zeros = local.new_zeros(len(local), 13)
    state = HandState(torch.cat([root, local], 1), zeros[:, :10], zeros[:, 10:])
    repeated = repeat(evidence, n_starts)
    points = landmarks(chain, state)
    if marks is not None:
        turn = rotation_between(points[:, _PALM], marks.repeat_interleave(n_starts, 0)[:, _PALM])
    else:
        palm = points[:, _PALM]
        turn = _turn_in_plane(palm, repeated.joints_2d[:, _PALM], tilts.repeat(n_hands * len(poses), 1, 1))
    rotations = torch.cat([turn[:, None], local], 1)
    return solve_translation(chain, repeated, HandState(rotations, state.betas, state.transl)), n_starts


def _shape_landmarks(evidence: Evidence) -> Float[Tensor, "B 21 3"] | None:
    """Return 3D landmarks of all hands from one source, the network before the detector."""
    network = evidence.network
    if network is not None and bool(network.present.all()):
        return network.relative_joints
    if bool((evidence.landmarks_3d_weight.sum(-1) > 0).all()):
        return evidence.landmarks_3d
    return None


def _tilts() -> Float[Tensor, "10 3 3"]:
    """Return ten attitudes of a palm: two sides, each straight and tilted by 50° in four ways."""
    sides = axis_angle_to_matrix(torch.tensor([[0.0, 0.0, 0.0], [0.0, math.pi, 0.0]], dtype=torch.float64))
    angle = math.radians(50.0)
    axes = [(0.0, 0.0, 0.0), (angle, 0.0, 0.0), (-angle, 0.0, 0.0), (0.0, angle, 0.0), (0.0, -angle, 0.0)]
    return (axis_angle_to_matrix(torch.tensor(axes, dtype=torch.float64))[:, None] @ sides).flatten(0, 1)


def _turn_in_plane(
    palm: Float[Tensor, "B N 3"], joints_2d: Float[Tensor, "B N 2"], tilts: Float[Tensor, "B 3 3"]
) -> Float[Tensor, "B 3 3"]:
    """Turn tilted palms about the viewing axis until they lie like the 2D joints."""
    tilted = palm @ tilts.transpose(-1, -2)
    a = tilted[..., :2] - tilted[..., :2].mean(1, keepdim=True)
    b = joints_2d - joints_2d.mean(1, keepdim=True)
    angle = torch.atan2((a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]).sum(-1), (a * b).sum((-1, -2)))
    axis_angle = torch.stack([torch.zeros_like(angle), torch.zeros_like(angle), angle], -1)
    return axis_angle_to_matrix(axis_angle) @ tilts


def repeat(evidence: Evidence, n: int) -> Evidence:
    """Repeat every hand's evidence, without any outline, `n` times, consecutively."""

    def repeated(values: Evidence | NetworkEvidence, names: Iterable[str]) -> dict[str, Any]:
        return {name: getattr(values, name).repeat_interleave(n, 0) for name in names}

    network = evidence.network
    if network is not None:
        network = NetworkEvidence(**repeated(network, [f.name for f in fields(network)]))
    return Evidence(**repeated(evidence, DETECTED), network=network)
