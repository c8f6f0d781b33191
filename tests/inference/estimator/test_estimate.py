"""The whole estimator on hands of known pose."""

from dataclasses import replace

import numpy as np
import pytest
from laws import assert_finite
from told_joints import told_joints
from truth import aligned_error_mm, exact_observations, noisy, project_numpy, true_hands

from amvur.hand.open_hand import load_open_hand
from amvur.inference.estimator.estimate import Estimator
from amvur.inference.estimator.silhouette_term import Contours
from amvur.inference.estimator.term import total

BLIND = {"pixels": False, "depth": False, "marks": False}


@pytest.fixture(scope="module")
def estimator():
    return Estimator(load_open_hand("right"))


@pytest.fixture(scope="module")
def truth(estimator):
    """Hands that do not pass through themselves, as most that are drawn from the prior do a little."""
    drawn = true_hands(150)
    solid = np.flatnonzero(estimator._contact(drawn.state).cost < 0.5)
    return replace(drawn, state=drawn.state[solid[:6]])


@pytest.fixture(scope="module")
def noisily(estimator, truth):
    """What was seen with noise, and the estimate."""
    seen = noisy(exact_observations(truth))
    return seen, estimator(seen, None, truth.landmarks)


def errors_mm(truth, found):
    return aligned_error_mm(truth.place(found.state), truth.points)


def test_exact_observations_give_the_hand_back(estimator, truth):
    seen = exact_observations(truth)
    found = estimator(seen, None, truth.landmarks)
    assert errors_mm(truth, found).max() < 0.5
    # One camera cannot tell size from distance: the prior over size draws both towards the mean hand's.
    points, true = truth.place(found.state), truth.points
    assert (np.linalg.norm(points - true, axis=-1) / np.linalg.norm(true, axis=-1)).max() < 0.15
    assert np.linalg.norm(project_numpy(points) - seen.joints_2d, axis=-1).max() < 1
    np.testing.assert_allclose(found.joints, points, atol=0.01)
    np.testing.assert_allclose(found.distance_m, found.joints[:, 0, 2], atol=0.2)
    assert (found.excess < 1).all()


@pytest.mark.parametrize(("block", "limit_mm"), [("pixels", 12.0), ("marks", 3.0)])
def test_each_kind_alone_gives_the_articulation(estimator, block, limit_mm):
    truth = true_hands(3, seed=5)
    seen = exact_observations(truth, **(BLIND | {block: True}))
    if block == "marks":  # 3D landmarks say nothing of the place
        seen = replace(seen, joints_2d_weight=seen.joints_2d_weight + 1e-3)
    error = errors_mm(truth, estimator(seen, None, truth.landmarks))
    assert error.max() < limit_mm
    assert np.median(error) < 4


def test_another_convention_and_an_outlier_do_no_harm(estimator):
    offsets = 0.004 * np.random.default_rng(0).normal(size=(21, 3))
    truth = true_hands(4, seed=2, offsets=offsets)
    seen = exact_observations(truth)
    plain = errors_mm(truth, estimator(seen, None, truth.landmarks))
    seen.joints_2d[:, 12] += 80
    wrong = errors_mm(truth, estimator(seen, None, truth.landmarks))
    assert np.median(plain) < 0.7
    assert (wrong < plain + 1).all()


def test_the_network_alone_finds_the_hand_from_its_own_start(estimator):
    """Beside a detector's offsets: the network speaks of the joints without them."""
    offsets = 0.01 * np.random.default_rng(0).normal(size=(21, 3))
    truth = true_hands(2, seed=1, offsets=offsets)
    seen = exact_observations(truth, **BLIND)
    found = estimator(seen, told_joints(truth, amount=0), truth.landmarks)
    assert (errors_mm(truth, found) < 3).all()
    assert (np.linalg.norm(truth.place(found.state) - truth.points, axis=-1) < 0.02).all()


def test_a_batch_is_its_hands_one_by_one(estimator, truth, noisily):
    seen, together = noisily
    for i in (0, 3):
        alone = estimator(seen[np.array([i])], None, truth.landmarks)
        np.testing.assert_allclose(alone.misfit[0], together.misfit[i], rtol=1e-6)
        np.testing.assert_allclose(alone.state.transl[0], together.state.transl[i], atol=1e-6)
        np.testing.assert_allclose(alone.state.rotations[0], together.state.rotations[i], atol=1e-5)


def test_curvature_is_that_of_the_sum_without_silhouettes(estimator, truth, noisily):
    seen, found = noisily
    own = (estimator._anatomy, estimator._contact)
    before = total(own, found.state).curvature
    whole = total((*own, *estimator._observed(seen, None, truth.landmarks)), found.state).curvature
    np.testing.assert_allclose(found.prior_curvature, before)
    np.testing.assert_allclose(found.curvature, whole)


def test_silhouettes_are_looked_for_near_each_mesh_and_draw_it(estimator, truth, noisily):
    """Lines that lie 5 px to the right draw hands there, and are asked for anew of hands that they moved."""
    seen, plain = noisily
    asked, chosen = [], np.random.default_rng(0).integers(0, 1610, (len(truth), 60))
    at_first = estimator.hand.place(estimator.hand.skin(plain.state, chosen), plain.state)
    places = project_numpy(at_first)
    places[..., 0] += 5
    places[-1, :, 0] -= 5  # the last hand lies where it should
    normals = np.tile([1.0, 0.0], (*chosen.shape, 1))

    def find(state, rows):
        asked.append((state, rows.tolist()))
        skin, weight = estimator.hand.skin(state, chosen[rows]), np.full((len(rows), 60), 2.0)
        return Contours(skin, places[rows], normals[rows], weight)

    drawn = estimator(seen, None, truth.landmarks, find)
    np.testing.assert_array_equal(asked[0][0].transl, plain.state.transl)
    everybody = list(range(len(truth)))
    assert [rows for _, rows in asked[:2]] == [everybody, everybody[:-1]]
    assert len(asked) <= 3
    now = project_numpy(estimator.hand.place(estimator.hand.skin(drawn.state, chosen), drawn.state))
    assert (np.median((now - places)[..., 0], 1) > -2.5).all()
    np.testing.assert_allclose(drawn.misfit, plain.misfit)


@pytest.mark.parametrize("kind", ["noise", "one point", "a line", "far away", "nothing", "flat in 3D"])
def test_nonsense_gives_finite_numbers(estimator, kind):
    truth = true_hands(2, seed=3)
    seen, rng, line = exact_observations(truth), np.random.default_rng(0), np.linspace(0, 1, 21)
    zero = np.zeros((2, 21))
    changes = {
        "noise": {"joints_2d": rng.uniform(0, 640, (2, 21, 2)), "landmarks_3d": rng.normal(size=(2, 21, 3))},
        "one point": {"joints_2d": np.full((2, 21, 2), 100.0), "landmarks_3d": np.zeros((2, 21, 3))},
        "a line": {"joints_2d": np.tile(100 * line[:, None], (2, 1, 2)), "depth": np.tile(9 * line, (2, 1))},
        "far away": {"joints_2d": 1e7 * seen.joints_2d, "depth": 1e7 * seen.depth},
        "nothing": {"joints_2d_weight": zero, "depth_weight": zero},
        "flat in 3D": {"landmarks_3d": seen.landmarks_3d * [1.0, 1.0, 0.0]},
    }[kind]
    found = estimator(replace(seen, **changes), None, truth.landmarks)
    assert_finite(found.state)
    assert all(np.isfinite(v).all() for name, v in vars(found).items() if name != "state")
