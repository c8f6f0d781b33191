"""The prior over pose and shape of a hand, from published ranges of motion; nothing is learned.

Angles are clinical (degrees in the tables below, radians in code): flexion positive, measured from
the straight finger. Ranges of motion and couplings: `docs/method.md`, after standard clinical tables.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from amvur.hand.model_arrays import HandModelArrays

FLEXION, ABDUCTION, TWIST = range(3)
# Bones 1..15 in MANO's order: three of each finger, then of the thumb.
_FINGER_BONES = {"index": (0, 1, 2), "middle": (3, 4, 5), "little": (6, 7, 8), "ring": (9, 10, 11)}
_THUMB_BONES = (12, 13, 14)
_NEIGHBORS = (("index", "middle"), ("middle", "ring"), ("ring", "little"))


@dataclass(frozen=True)
class PriorSettings:
    """Spreads of the prior in degrees: wide, since a tight prior pulls real poses towards the mean."""

    mcp_flexion_deg: tuple[float, float] = (25.0, 40.0)
    pip_flexion_deg: tuple[float, float] = (35.0, 45.0)
    dip_flexion_deg: tuple[float, float] = (20.0, 40.0)
    mcp_abduction_deg: tuple[float, float] = (0.0, 10.0)
    hinge_slack_deg: float = 3.0
    mcp_twist_deg: float = 5.0
    dip_follows_pip: float = 0.6
    dip_follows_pip_deg: float = 15.0
    neighbor_flexion_deg: float = 25.0
    thumb_cmc_deg: tuple[float, float, float] = (20.0, 20.0, 15.0)
    thumb_mcp_deg: tuple[float, float, float] = (20.0, 7.0, 7.0)
    thumb_ip_deg: tuple[float, float, float] = (35.0, 3.0, 5.0)
    thumb_mean_flexion_deg: tuple[float, float, float] = (0.0, 15.0, 20.0)
    limit_deg: float = 4.0


@dataclass(frozen=True)
class PriorArrays:
    """A Gaussian over anatomical angles with soft limits: residuals of unit scale, linear in the angles.

    For angles `a` (B,45; flexion, abduction, twist of bones 1..15, relative to the rest pose):
    `a` is normal with `mean` and `precision`, and `(a - upper)+ / limit_scale`,
    `(lower - a)+ / limit_scale` are added beyond the range of motion. Betas are standard normal.
    """

    axes: Float64[np.ndarray, "15 3 3"]
    precision: Float64[np.ndarray, "45 45"]
    mean: Float64[np.ndarray, "45"]
    lower: Float64[np.ndarray, "45"]
    upper: Float64[np.ndarray, "45"]
    limit_scale: float
    pose_mean: Float64[np.ndarray, "45"]

    def angles(self, local_axis_angle: Float[np.ndarray, "*batch 15 3"]) -> Float64[np.ndarray, "*batch 45"]:
        """Return the anatomical angles (rad) of local rotations given as axis-angle."""
        angles: np.ndarray = (self.axes @ local_axis_angle[..., None])[..., 0]
        return angles.reshape(*angles.shape[:-2], 45)

    def local_axis_angle(self, angles: Float[np.ndarray, "*batch 45"]) -> Float64[np.ndarray, "*batch 15 3"]:
        """Return the local rotations as axis-angle of anatomical angles: the inverse of `angles`."""
        turned = angles.reshape(*angles.shape[:-1], 15, 3, 1)
        local: np.ndarray = (self.axes.swapaxes(-1, -2) @ turned)[..., 0]
        return local


def prior_arrays(arrays: HandModelArrays, settings: PriorSettings | None = None) -> PriorArrays:
    """Build the prior of a hand model."""
    settings = settings or PriorSettings()
    clinical_mean, scale = _marginals(settings)
    rows = np.concatenate([np.diag(1 / np.deg2rad(scale).ravel()), _couplings(settings)])
    mean = np.deg2rad(clinical_mean).ravel() - arrays.rest_angles.ravel()
    lower, upper = (arrays.pose_limits[..., i].ravel() for i in range(2))
    return PriorArrays(
        axes=arrays.pose_axes,
        precision=rows.T @ rows,
        mean=np.clip(mean, lower, upper),
        lower=lower,
        upper=upper,
        limit_scale=float(np.deg2rad(settings.limit_deg)),
        pose_mean=arrays.pose_mean,
    )


def _marginals(settings: PriorSettings) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the standard deviation (degrees) of each angle, (15,3) each."""
    mean, scale = np.zeros((15, 3)), np.full((15, 3), settings.hinge_slack_deg)
    flexions = (settings.mcp_flexion_deg, settings.pip_flexion_deg, settings.dip_flexion_deg)
    for bones in _FINGER_BONES.values():
        for bone, flexion in zip(bones, flexions, strict=True):
            mean[bone, FLEXION], scale[bone, FLEXION] = flexion
        mean[bones[0], ABDUCTION], scale[bones[0], ABDUCTION] = settings.mcp_abduction_deg
        scale[bones[0], TWIST] = settings.mcp_twist_deg
    spreads = (settings.thumb_cmc_deg, settings.thumb_mcp_deg, settings.thumb_ip_deg)
    for bone, spread, middle in zip(_THUMB_BONES, spreads, settings.thumb_mean_flexion_deg, strict=True):
        scale[bone], mean[bone, FLEXION] = spread, middle
    # The thumb's base has no clinical zero shared by all sources: the rest pose is its mean.
    return mean, scale


def _couplings(settings: PriorSettings) -> np.ndarray:
    """Return rows over the 45 angles: the last finger joint follows the middle one, neighbors follow."""
    rows = []

    def row(terms: dict[int, float], scale_deg: float) -> None:
        values = np.zeros((15, 3))
        for bone, factor in terms.items():
            values[bone, FLEXION] = factor
        rows.append(values.ravel() / np.deg2rad(scale_deg))

    for _, pip, dip in _FINGER_BONES.values():
        row({dip: 1.0, pip: -settings.dip_follows_pip}, settings.dip_follows_pip_deg)
    for a, b in _NEIGHBORS:
        for i in range(2):
            row({_FINGER_BONES[a][i]: 1.0, _FINGER_BONES[b][i]: -1.0}, settings.neighbor_flexion_deg)
    return np.stack(rows)
