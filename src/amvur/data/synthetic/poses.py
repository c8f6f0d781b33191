"""Drawing hands: shapes of a population and poses from a mixture, each exactly a function of its index."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from amvur.data.synthetic.penetration import make_contact_model, relax
from amvur.data.synthetic.pose_library import LIBRARY, library_angles
from amvur.hand.model import HandModel
from amvur.hand.prior import HandPrior, make_prior
from amvur.hand.prior_arrays import FLEXION


class PoseKind(IntEnum):
    """The component of the mixture that a pose was drawn from."""

    PRIOR = 0
    LIBRARY = 1
    BETWEEN = 2
    PERTURBED = 3
    SYNERGY = 4


KIND_WEIGHTS: tuple[float, ...] = (0.30, 0.20, 0.20, 0.18, 0.12)
"""How often each `PoseKind` is drawn."""

ADULT_LENGTHS_MM = ((172.0, 8.5), (189.0, 9.5))
"""Mean and standard deviation of the hand length of women and men (wrist crease to middle fingertip)."""
CHILD_SHARE, LARGE_SHARE = 0.10, 0.05
CHILD_LENGTHS_MM, LARGE_LENGTHS_MM = (138.0, 168.0), (198.0, 215.0)
TEMPLATE_LENGTH_MM = 180.5
"""The length of a model's mean hand: the average of women's and men's mean."""

ALLOWED_DEPTH_M = 0.002
"""Overlap of the contact spheres that is left: flesh gives way by this much."""
_SAFE_POSE, _RETREATS, _RETREAT = "hanging", 8, 0.3

# Streams of the per-index generators: shapes and poses never share numbers.
_SHAPE, _POSE = 0, 1
_UNIFORMS = 16


@dataclass(frozen=True)
class HandDraws:
    """B drawn hands: shape coefficients, `hand_pose` (axis-angle, rad) and the `PoseKind` of each."""

    betas: Float[Tensor, "B 10"]
    hand_pose: Float[Tensor, "B 45"]
    kind: Int64[Tensor, "B"]


def draw_hands(model: HandModel, seed: int, indices: Int64[Tensor, "B"]) -> HandDraws:
    """Draw the hands with the given indices; on the model's device and dtype.

    A hand depends on `seed`, its index and the model alone, not on the batch it is drawn in.
    """
    order, device = indices.tolist(), model.pose_mean.device
    betas = draw_betas(model, seed, order)
    drawn, kind = _draw_angles(model, seed, order)
    angles = _separate(model, betas, drawn)
    return HandDraws(
        torch.from_numpy(betas).to(model.pose_mean),
        make_prior(model).axis_angle(torch.from_numpy(angles).to(model.pose_mean)),
        torch.from_numpy(kind).to(device),
    )


def _separate(
    model: HandModel, betas: Float64[np.ndarray, "B 10"], angles: Float64[np.ndarray, "B 45"]
) -> Float64[np.ndarray, "B 45"]:
    """Push fingers apart until nothing overlaps by more than `ALLOWED_DEPTH_M`.

    On 300 hands an exact test (winding numbers of the fingers and the palm) found depths of 0.0, 1.9, 2.6,
    3.2 and 5.2 mm at 50, 90, 95, 99 and 100 %; before pushing 3.6, 7.7, 8.7, 9.6 and 10.9 mm.
    Hands that pushing does not free go part of the way to a loosely open hand and try again.
    """
    contacts = make_contact_model(model)
    open_hand = library_angles(model)[list(LIBRARY).index(_SAFE_POSE)]
    like = model.pose_mean.device
    shapes, start = torch.from_numpy(betas).to(like), torch.from_numpy(angles).to(like)
    angles, depth = relax(contacts, shapes, start)
    for _ in range(_RETREATS):
        stuck = np.flatnonzero(depth > ALLOWED_DEPTH_M)
        if not len(stuck):
            break
        retreated = torch.from_numpy(angles[stuck] + _RETREAT * (open_hand - angles[stuck])).to(like)
        angles[stuck], depth[stuck] = relax(contacts, shapes[torch.from_numpy(stuck)], retreated)
    return angles


def draw_betas(model: HandModel, seed: int, indices: list[int]) -> Float64[np.ndarray, "B 10"]:
    """Draw shapes: hand lengths of a population, all else standard normal, cut at 2.5.

    85 % adults (half women, half men: `ADULT_LENGTHS_MM`), 10 % children from about seven years
    (`CHILD_LENGTHS_MM`, uniform), 5 % large hands (`LARGE_LENGTHS_MM`, uniform). The length is set along
    the model's own direction of size, the gradient of the middle finger's chain over the betas, so that
    it holds for any model whatever the sign and order of its coefficients. Betas stay within 5.
    """
    betas = np.empty((len(indices), 10))
    gradient = _length_gradient(model)
    scale = gradient @ gradient
    for row, index in enumerate(indices):
        rng = _generator(seed, index, _SHAPE)
        share, male, within = rng.uniform(size=3)
        normal = float(np.clip(rng.standard_normal(), -2.5, 2.5))
        others = np.clip(rng.standard_normal(10), -2.5, 2.5)
        mean, spread = ADULT_LENGTHS_MM[int(male < 0.5)]
        length = mean + spread * normal
        if share < CHILD_SHARE + LARGE_SHARE:
            low, high = CHILD_LENGTHS_MM if share < CHILD_SHARE else LARGE_LENGTHS_MM
            length = low + (high - low) * within
        wanted = length / TEMPLATE_LENGTH_MM - 1
        betas[row] = others + gradient * (wanted - others @ gradient) / scale
    return np.clip(betas, -5, 5)


def _length_gradient(model: HandModel) -> Float64[np.ndarray, "10"]:
    """Return the relative change of the middle finger's chain (wrist to tip, at rest) per beta."""
    chain = [0, 9, 10, 11, 12]
    steps = np.diff(model.arrays.joint_template[chain], axis=0)
    changes = np.diff(model.arrays.joint_shapedirs[chain], axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    gradient = np.einsum("ni,nid,n->d", steps, changes, 1 / lengths)
    return np.asarray(gradient / lengths.sum())


def _generator(seed: int, index: int, *stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, index, *stream])))


def _draw_angles(
    model: HandModel, seed: int, indices: list[int]
) -> tuple[Float64[np.ndarray, "B 45"], np.ndarray]:
    """Draw angles (rad) about the pose axes, relative to the rest pose and within limits, and kinds."""
    uniform, normal = np.empty((len(indices), _UNIFORMS)), np.empty((len(indices), 45))
    for row, index in enumerate(indices):
        rng = _generator(seed, index, _POSE)
        uniform[row], normal[row] = rng.uniform(size=_UNIFORMS), rng.standard_normal(45)
    kind = np.searchsorted(np.cumsum(KIND_WEIGHTS)[:-1], uniform[:, 0], side="right")
    prior = _numpy_prior(make_prior(model))
    library = library_angles(model)
    candidates = np.stack(
        [
            _from_prior(prior, normal, model),
            _near_library(library, prior, uniform, 0.12 * normal),
            _between(library, prior, uniform, 0.12 * normal),
            _near_library(library, prior, uniform, (0.25 + 0.45 * uniform[:, 9:10]) * normal),
            _synergies(prior, uniform, 0.2 * normal, model),
        ]
    )
    angles = candidates[kind, np.arange(len(kind))]
    return np.clip(angles, prior.lower, prior.upper), kind


@dataclass(frozen=True)
class _Gaussian:
    """The pose prior in numpy: mean, limits, and a factor F with F F^T the covariance."""

    mean: Float64[np.ndarray, "45"]
    lower: Float64[np.ndarray, "45"]
    upper: Float64[np.ndarray, "45"]
    factor: Float64[np.ndarray, "45 45"]


def _numpy_prior(prior: HandPrior) -> _Gaussian:
    mean, lower, upper = (x.double().cpu().numpy() for x in (prior.mean, prior.lower, prior.upper))
    inverse = np.linalg.inv(np.linalg.cholesky(prior.precision.double().cpu().numpy()))
    return _Gaussian(mean, lower, upper, inverse.T)


def _reflect(angles: np.ndarray, prior: _Gaussian) -> np.ndarray:
    """Reflect angles at the limits, as `HandPrior.sample` does: no mass piles up on them."""
    angles = np.where(angles < prior.lower, 2 * prior.lower - angles, angles)
    return np.where(angles > prior.upper, 2 * prior.upper - angles, angles)


def _from_prior(prior: _Gaussian, normal: np.ndarray, model: HandModel) -> np.ndarray:
    """Draw from the anatomical prior; abduction fades as the base joint flexes (none at 90 degrees)."""
    angles = _reflect(prior.mean + _correlate(normal, prior), prior).reshape(-1, 15, 3)
    rest = model.arrays.rest_angles
    bases = [0, 3, 6, 9]
    flexion = angles[:, bases, FLEXION] + rest[bases, FLEXION]
    fade = 1 - 0.85 * np.clip(flexion / (np.pi / 2), 0, 1)
    angles[:, bases, 1] = (angles[:, bases, 1] + rest[bases, 1]) * fade - rest[bases, 1]
    return angles.reshape(-1, 45)


def _correlate(normal: np.ndarray, prior: _Gaussian) -> np.ndarray:
    """Return noise with the prior's covariance. Row by row: its bits must not depend on the batch."""
    return np.stack([prior.factor @ row for row in normal]) if len(normal) else normal


def _near_library(
    library: np.ndarray, prior: _Gaussian, uniform: np.ndarray, normal: np.ndarray
) -> np.ndarray:
    """Return a library pose plus noise that moves joints together as the prior does."""
    chosen = (uniform[:, 1] * len(library)).astype(int)
    return _reflect(library[chosen] + _correlate(normal, prior), prior)


def _between(library: np.ndarray, prior: _Gaussian, uniform: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Return a pose on the way between two library poses, plus noise."""
    first, second = ((uniform[:, k] * len(library)).astype(int) for k in (1, 2))
    share = uniform[:, 3:4]
    return _reflect((1 - share) * library[first] + share * library[second] + _correlate(normal, prior), prior)


def _synergies(prior: _Gaussian, uniform: np.ndarray, normal: np.ndarray, model: HandModel) -> np.ndarray:
    """Curl all fingers together: few numbers move all joints, as in grasps.

    After the first synergies of Santello et al. (1998): closing of base and middle joints together with
    the thumb's opposition, base against middle joints, and spreading; the shares are ours.
    """
    clinical = np.zeros((len(uniform), 15, 3))
    close, bias, spread, thumb = (uniform[:, k] for k in (4, 5, 6, 7))
    lag = (uniform[:, 8] - 0.5) * 0.5
    for place, bones in enumerate(((0, 1, 2), (3, 4, 5), (9, 10, 11), (6, 7, 8))):
        amount = np.clip(close + lag * (place / 3 - 0.5), 0, 1)
        clinical[:, bones[0], 0] = -10 + amount * (35 + 55 * bias) + 6 * bias
        clinical[:, bones[1], 0] = 4 + amount * (98 - 50 * bias)
        clinical[:, bones[2], 0] = 2 + amount * (60 - 32 * bias)
        clinical[:, bones[0], 1] = (16, 0, 12, 18)[place] * spread * (1 - 0.8 * amount)
    clinical[:, 12] = np.stack([-18 + 40 * thumb, 14 + 40 * thumb * (1 - 0.5 * spread), -20 * thumb], -1)
    clinical[:, 13, 0], clinical[:, 14, 0] = 35 * thumb * close, 6 + 34 * thumb * close
    angles = (np.radians(clinical) - model.arrays.rest_angles).reshape(-1, 45)
    return _reflect(angles + _correlate(normal, prior), prior)
