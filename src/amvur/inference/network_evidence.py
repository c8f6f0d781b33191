"""What a trained network says of hands, as evidence for the fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from amvur.geometry.cameras import view_rotation
from amvur.inference.evidence import merge_runs
from amvur.inference.network_view import FusionSettings, NetworkView
from amvur.inference.objective import Evidence, NetworkEvidence
from amvur.structures import HandDetection


def add_network(
    evidence: Evidence,
    detections: Sequence[HandDetection],
    views: Sequence[NetworkView | None],
    settings: FusionSettings,
) -> Evidence:
    """Return evidence with the network's views of the same hands.

    A hand of which only a box is known is then the network's alone: the open palm that stands in for its
    joints weighs nothing. Where the detector's looks at a hand differ by more than `settings.steady_looks`,
    it is believed less: such looks err together, and the network knows better then.
    """
    terms = [_terms(view, k, settings) for view, k in zip(views, evidence.intrinsics, strict=True)]
    network = NetworkEvidence(*(torch.stack(column) for column in zip(*terms, strict=True)))
    bare = torch.tensor([not d.confidence.any() for d in detections])
    belief = _belief(detections, settings.steady_looks).to(evidence.joints_2d_weight)
    belief = torch.where(network.present, belief.masked_fill(bare, 0.0), 1.0)
    if not settings.joints_2d_beside_detector:
        flat = network.joints_2d_weight.masked_fill(~bare[:, None, None], 0.0)
        network = replace(network, joints_2d_weight=flat)
    return replace(evidence.believed(belief[:, None]), network=network)


def _belief(detections: Sequence[HandDetection], steady: float) -> Float[Tensor, "B"]:
    """Return the factor (at most 1) on all weights of a detector whose looks at a hand differ."""
    spread = torch.tensor([merge_runs(detection).relative_spread for detection in detections])
    return steady / spread.clamp_min(steady)


def _terms(
    view: NetworkView | None, intrinsics: Float[Tensor, "3 3"], settings: FusionSettings
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the fields of `NetworkEvidence` for one hand, zeros without a view."""
    if view is None:
        shapes = ((21, 3), (21, 3, 3), (21, 2), (21, 2))
        return tuple(intrinsics.new_zeros(shape) for shape in shapes)  # type: ignore[return-value]
    turn = view_rotation(intrinsics, torch.as_tensor(view.center_px).to(intrinsics))
    weight = torch.as_tensor(1 / (settings.network_scale_3d * view.relative_joints_std_m))
    return (
        torch.as_tensor(view.relative_joints_m) @ turn,
        weight[..., None] * turn,
        torch.as_tensor(view.joints_2d_px),
        torch.as_tensor(1 / (settings.network_scale_2d * view.joints_2d_std_px)),
    )
