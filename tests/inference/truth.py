"""Hands of known pose, and the evidence that a perfect detector would give of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from amvur.geometry.procrustes import align_similarity
from amvur.geometry.rotations import axis_angle_to_matrix
from amvur.hand.landmarks import HandState, LandmarkChain, landmarks, make_chain
from amvur.hand.model import HandModel
from amvur.hand.model_arrays import HandModelArrays
from amvur.hand.open_hand import load_open_hand
from amvur.hand.prior import HandPrior, make_prior
from amvur.inference.objective import Evidence

INTRINSICS = np.array([[800.0, 0, 320], [0, 780, 240], [0, 0, 1]])


@dataclass(frozen=True)
class Truth:
    """Right hands in front of the camera `INTRINSICS`, drawn from the prior."""

    model: HandModel
    chain: LandmarkChain
    prior: HandPrior
    state: HandState
    points: torch.Tensor

    def __len__(self) -> int:
        return len(self.points)


def true_hands(
    n: int, seed: int = 0, arrays: HandModelArrays | None = None, offsets: torch.Tensor | None = None
) -> Truth:
    """`n` hands of any attitude about half a metre away."""
    model = HandModel(arrays or load_open_hand("right"), torch.float64)
    chain = make_chain(model, torch.zeros(21, 3) if offsets is None else offsets)
    prior, rng = make_prior(model), np.random.default_rng(seed)
    angles = prior.sample(n, torch.Generator().manual_seed(seed))
    local = axis_angle_to_matrix((prior.axis_angle(angles) + prior.pose_mean).reshape(n, 15, 3))
    root = torch.as_tensor(Rotation.random(n, random_state=seed).as_matrix())
    transl = torch.as_tensor([0, 0, 0.5] + 0.04 * rng.normal(size=(n, 3)))
    state = HandState(torch.cat([root[:, None], local], 1), torch.as_tensor(rng.normal(size=(n, 10))), transl)
    return Truth(model, chain, prior, state, landmarks(chain, state))


def project_numpy(points: np.ndarray, intrinsics: np.ndarray = INTRINSICS) -> np.ndarray:
    pixels = points @ intrinsics.T
    return pixels[..., :2] / pixels[..., 2:]


def exact_evidence(
    truth: Truth, *, pixels: bool = True, depth: bool = True, marks: bool = True, relative_scale: float = 0.01
) -> Evidence:
    """The truth as evidence; 2D and depth are good to `relative_scale` of the hand's size, 3D to 2 mm."""
    points = truth.points.numpy()
    joints = project_numpy(points)
    size = np.ptp(joints, axis=1).max(-1)
    weight = np.tile(1 / (relative_scale * size)[:, None], (1, 21))
    focal = (INTRINSICS[0, 0] + INTRINSICS[1, 1]) / 2
    wrist = points[:, :1, 2]
    return Evidence(
        intrinsics=torch.as_tensor(np.tile(INTRINSICS, (len(points), 1, 1))),
        joints_2d=torch.as_tensor(joints),
        joints_2d_weight=torch.as_tensor(pixels * weight),
        depth=torch.as_tensor(focal * (points[..., 2] - wrist) / wrist),
        depth_weight=torch.as_tensor(depth * weight),
        landmarks_3d=torch.as_tensor(1.2 * (points - points[:, :1])),
        landmarks_3d_weight=torch.full(points.shape[:2], marks / 0.002, dtype=torch.float64),
    )


def noisy(evidence: Evidence, seed: int = 0, amount: float = 1.0) -> Evidence:
    """Evidence with normal errors of `amount` times what its weights say."""
    rng = np.random.default_rng(seed)

    def off(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        scale = torch.where(weight > 0, amount / weight.clamp_min(1e-12), 0.0)
        noise = torch.as_tensor(rng.normal(size=values.shape))
        return values + noise * (scale[..., None] if values.dim() == 3 else scale)

    return replace(
        evidence,
        joints_2d=off(evidence.joints_2d, evidence.joints_2d_weight),
        depth=off(evidence.depth, evidence.depth_weight),
        landmarks_3d=off(evidence.landmarks_3d, evidence.landmarks_3d_weight),
    )


def moved(state: HandState, step: np.ndarray) -> HandState:
    """The state after one step (61,) of all its hands, by scipy."""
    turn = torch.as_tensor(Rotation.from_rotvec(step[:48].reshape(16, 3)).as_matrix())
    return HandState(
        state.rotations @ turn,
        state.betas + torch.as_tensor(step[48:58]),
        state.transl + torch.as_tensor(step[58:]),
    )


def aligned_error_mm(ours: torch.Tensor, true: torch.Tensor) -> np.ndarray:
    """Mean joint error of each hand after similarity alignment."""
    return 1000 * (align_similarity(ours, true) - true).norm(dim=-1).mean(-1).numpy()
