"""When a fitted hand is called none: each bound on its own, against numbers worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from told_joints import told_joints
from truth import INTRINSICS, exact_observations, true_hands

from amvur.inference.estimator.config import PlausibleRange
from amvur.inference.estimator.plausibility import HAND_SIZE_M, excess


@pytest.fixture(scope="module")
def truth():
    hands = true_hands(3, seed=4)
    return replace(hands, state=replace(hands.state, betas=0.5 * hands.state.betas))


def excess_of(truth, seen, state=None, network=None):
    return excess(
        truth.hand, truth.landmarks, truth.state if state is None else state, seen, network, PlausibleRange()
    )


def test_true_hands_are_plausible(truth):
    assert (excess_of(truth, exact_observations(truth)) < 1).all()


def test_joints_beside_where_they_were_seen_count_by_the_nearer_half(truth):
    """In sizes of the hand, unless they are within their deviations."""
    seen = exact_observations(truth)  # good to 1 % of the size
    size = np.ptp(seen.joints_2d, axis=1).max(-1)

    def shifted(count):
        shift = 0.5 * size[:, None, None] * (np.arange(21) < count)[:, None] * [1.0, 0.0]
        return replace(seen, joints_2d=seen.joints_2d + shift)

    most = shifted(11)
    wanted = 0.5 / 0.25 * size / np.ptp(most.joints_2d, axis=1).max(-1)
    np.testing.assert_allclose(excess_of(truth, most), wanted)
    assert (excess_of(truth, shifted(10)) < 1.5).all()
    unsure = replace(most, joints_2d_weight=0.1 * most.joints_2d_weight)
    assert (excess_of(truth, unsure) < 1.5).all()


def test_shapes_and_places_that_no_hand_has(truth):
    seen, state = exact_observations(truth), truth.state
    strange = state.betas.copy()
    strange[1, 4] = -6.0
    assert excess_of(truth, seen, replace(state, betas=strange))[1] >= 2
    near = replace(state, transl=state.transl - [0, 0, 1.0])
    assert (excess_of(truth, seen, near) >= 50).all()


def test_the_distance_is_that_of_a_hand_of_such_a_size(truth):
    """Twice as far away and twice as small in the picture is the same; far away at the same size is none."""
    seen, state = exact_observations(truth), truth.state
    far = replace(state, transl=state.transl * 5)
    depth = truth.place(far)[..., 2].mean(-1)
    facing = (INTRINSICS[0, 0] + INTRINSICS[1, 1]) / 2 * HAND_SIZE_M / np.ptp(seen.joints_2d, axis=1).max(-1)
    unsure = replace(seen, joints_2d_weight=1e-6 * seen.joints_2d_weight)
    np.testing.assert_allclose(excess_of(truth, unsure, far), depth / facing / 1.8)
    small = exact_observations(replace(truth, state=far))
    assert (excess_of(truth, small, far) < 1.5).all()
    few = replace(unsure, joints_2d_weight=unsure.joints_2d_weight * (np.arange(21) < 14))
    assert (excess_of(truth, few, far) < 1.5).all()


def test_where_no_detector_saw_joints_the_networks_count(truth):
    blind = exact_observations(truth, pixels=False, depth=False, marks=False)
    told = told_joints(truth, amount=0)
    assert (excess_of(truth, blind, network=told) < 1).all()
    told.joints_2d[:] += 1000.0
    assert (excess_of(truth, blind, network=told) > 5).all()
