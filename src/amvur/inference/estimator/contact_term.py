"""Skin does not pass through skin: a hand filled with spheres that follow its bones."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64

from amvur.hand._kinematics_numba import overlaps
from amvur.hand.contact_layout import CLEARANCE_M, THENAR_BONE, TOUCH_M, ContactLayout, layout_contacts
from amvur.hand.kinematics import BETAS, N_BONES, CarriedPoints, HandState, Kinematics
from amvur.inference.estimator.config import EstimatorConfig
from amvur.inference.estimator.term import Quadratic, nothing, of_rows

_PALM_RADIUS_M = 0.008


class ContactTerm:
    """Half of each overlap's square, in `EstimatorConfig.flesh_std_m`, over pairs of spheres that may touch.

    Fingers and thumb are chains of spheres, each in the middle of a ring of vertices; under points of the
    palm lie spheres that touch the skin there. `radii` (m) are those at betas 0 and `radii_dirs` what betas
    do; each of the K `pairs` are two spheres that are apart at rest.
    """

    def __init__(self, hand: Kinematics, config: EstimatorConfig) -> None:
        """Lay spheres into the mean rest mesh of a right hand model."""
        arrays, self.hand, self._flesh_std_m = hand.arrays, hand, config.flesh_std_m
        layout = layout_contacts(arrays)
        weights, corners = layout.ring_weights[..., None], arrays.v_template[layout.ring]
        centers = (weights * corners).sum(1)
        apart = corners - centers[:, None]
        lengths = np.linalg.norm(apart, axis=-1)
        dirs = (weights[..., None] * arrays.shapedirs[layout.ring]).sum(1)
        outward = apart / np.maximum(lengths, 1e-12)[..., None]
        stretch = (outward[..., None] * (arrays.shapedirs[layout.ring] - dirs[:, None])).sum(2)
        palm, count = layout.palm, len(layout.bone)
        carried = np.zeros((count + len(palm), N_BONES))
        carried[np.arange(count), layout.bone] = 1
        carried[count:, [0, THENAR_BONE]] = np.concatenate([1 - layout.thenar, layout.thenar], 1)
        rest = np.concatenate([centers, arrays.v_template[palm] - _PALM_RADIUS_M * layout.palm_normal])
        rest_dirs = np.concatenate([dirs, arrays.shapedirs[palm]])
        finger_radii = layout.flesh * (layout.ring_weights * lengths).sum(1)
        finger_dirs = layout.flesh[:, None] * (weights * stretch).sum(1)
        self.centers = CarriedPoints(rest[None], rest_dirs[None], carried[None])
        self.radii = np.concatenate([finger_radii, np.full(len(palm), _PALM_RADIUS_M)])
        self.radii_dirs = np.concatenate([finger_dirs, np.zeros((len(palm), 10))])
        self.pairs = _pairs(layout, rest, self.radii)

    def __call__(self, state: HandState) -> Quadratic:
        """Return the cost of skin that passes through skin."""
        depth = self.overlaps(state)
        hand, pair = np.nonzero(depth > 0)
        if not len(hand):
            return nothing(len(state))
        # hands side by side, each with as many places as the one with most overlaps needs
        slot = np.arange(len(hand)) - np.searchsorted(hand, hand)
        chosen = np.zeros((len(state), slot.max() + 1), dtype=np.int64)
        weight = np.zeros(chosen.shape)
        chosen[hand, slot], weight[hand, slot] = pair, 1 / self._flesh_std_m
        residual = np.take_along_axis(depth, chosen, 1) * weight
        rows = self.overlap_jacobian(state, chosen) * weight[..., None]
        return of_rows(0.5 * np.square(residual).sum(-1), residual, rows)

    def overlaps(self, state: HandState) -> Float64[np.ndarray, "B K"]:
        """Return by how much the spheres of each pair overlap beyond mere touching (m; 0: they do not)."""
        centers = self.hand.place(self.centers, state)
        radii = self.radii + state.betas @ self.radii_dirs.T
        found = np.zeros((len(state), len(self.pairs)))
        overlaps(centers, radii, self.pairs, TOUCH_M, found)
        return found

    def overlap_jacobian(
        self, state: HandState, chosen: Int64[np.ndarray, "B k"]
    ) -> Float64[np.ndarray, "B k 61"]:
        """Return the derivative of the overlaps of the `chosen` pairs of each hand by its 61 parameters."""
        pairs = self.pairs[chosen]
        flat, centers = pairs.reshape(len(state), -1), self.centers
        own = CarriedPoints(centers.rest[0, flat], centers.rest_dirs[0, flat], centers.weights[0, flat])
        points, jacobian = self.hand.place_with_jacobian(own, state)
        points, jacobian = (x.reshape(*pairs.shape, *x.shape[2:]) for x in (points, jacobian))
        apart = points[:, :, 1] - points[:, :, 0]
        apart /= np.maximum(np.linalg.norm(apart, axis=-1, keepdims=True), 1e-12)
        rows: np.ndarray = (apart[:, :, None] @ (jacobian[:, :, 0] - jacobian[:, :, 1]))[:, :, 0]
        rows[..., BETAS] += self.radii_dirs[pairs].sum(2)
        return rows


def _pairs(layout: ContactLayout, rest: np.ndarray, radii: np.ndarray) -> Int64[np.ndarray, "K 2"]:
    """List pairs of finger spheres, then those of finger and palm that are apart at rest."""
    fingers = np.argwhere(layout.pairs)
    probe, point = np.nonzero(layout.reach)
    palm = np.stack([layout.probes[probe], len(layout.bone) + point], 1)
    gap = np.linalg.norm(rest[palm[:, 0]] - rest[palm[:, 1]], axis=-1) - radii[palm].sum(1)
    return np.concatenate([fingers, palm[gap > CLEARANCE_M]])
