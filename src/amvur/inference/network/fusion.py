"""How a trained network's word is weighed against a detector's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from amvur.inference.estimator.observation import NetworkObservations, Observations
from amvur.inference.frames import HandFrame
from amvur.inference.network.view import FusionSettings, NetworkView


def fuse(
    seen: Observations,
    frames: Sequence[HandFrame],
    views: Sequence[NetworkView | None],
    settings: FusionSettings,
) -> tuple[Observations, NetworkObservations]:
    """Return a detector's observations, as they count beside a network's, and the network's.

    A hand of which only a box is known is then the network's alone: the open palm that stands in for its
    joints weighs nothing. Where the detector's passes at a hand differ by more than `settings.steady_looks`,
    it is down-weighted: such passes err together, and the network knows better then.
    """
    rows = [_terms(view, k, settings) for view, k in zip(views, seen.intrinsics, strict=True)]
    network = NetworkObservations(*(np.stack(column) for column in zip(*rows, strict=True)))
    bare = np.array([frame.box_only for frame in frames])
    spread = np.array([frame.merged.relative_spread for frame in frames])
    share = settings.steady_looks / np.maximum(spread, settings.steady_looks)
    share = np.where(network.present, np.where(bare, 0.0, share), 1.0)
    if not settings.joints_2d_beside_detector:
        network = replace(network, joints_2d_weight=network.joints_2d_weight * bare[:, None, None])
    return seen.down_weighted(share[:, None]), network


def _terms(
    view: NetworkView | None, intrinsics: Float64[np.ndarray, "3 3"], settings: FusionSettings
) -> tuple[np.ndarray, ...]:
    """Return the fields of `NetworkObservations` of one hand, zeros without a view."""
    if view is None:
        return np.zeros((21, 3)), np.zeros((21, 3, 3)), np.zeros((21, 2)), np.zeros((21, 2))
    turn = view_rotation(intrinsics, view.center_px)
    weight = 1 / (settings.network_scale_3d * view.relative_joints_std_m)
    return (
        view.relative_joints_m @ turn,
        weight[..., None] * turn,
        view.joints_2d_px,
        1 / (settings.network_scale_2d * view.joints_2d_std_px),
    )


def view_rotation(
    intrinsics: Float64[np.ndarray, "3 3"], center_px: Float64[np.ndarray, "2"]
) -> Float64[np.ndarray, "3 3"]:
    """Return R_view_camera of a crop about `center_px` (px): the smallest turn that makes its ray +z."""
    ray = np.linalg.solve(intrinsics, [*center_px, 1.0])
    x, y, z = ray / np.linalg.norm(ray)
    share = 1 / (1 + z)  # Rodrigues about (ray × z) with its sine and cosine written out
    return np.array(
        [[1 - x * x * share, -x * y * share, -x], [-x * y * share, 1 - y * y * share, -y], [x, y, z]]
    )
