"""Distances, alignments, curves and F-scores against known answers and scipy."""

import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

sys.path.append(str(Path(__file__).parent))
from official_cases import loop_align, loop_f, loop_figures

from amvur.evaluation.metrics import (
    ErrorCurve,
    align_procrustes,
    align_root,
    align_scale_translation,
    area_under_curve,
    camera_space_errors,
    chunks,
    f_scores,
    mean_point_error,
    point_errors,
)


@pytest.fixture
def hands(rng):
    """Targets and predictions of 6 samples with 21 joints."""
    target = 0.05 * rng.standard_normal((6, 21, 3)) + [0, 0, 0.6]
    return target, target + 0.01 * rng.standard_normal(target.shape)


def test_point_errors(hands):
    target, found = hands
    np.testing.assert_allclose(point_errors(found, target)[2, 5], np.linalg.norm(found[2, 5] - target[2, 5]))
    np.testing.assert_allclose(mean_point_error(found, target), point_errors(found, target).mean(-1))
    np.testing.assert_allclose(point_errors(target + np.array([0, 0.003, 0.004]), target), 0.005)


def test_root_alignment_removes_a_shift_only(hands):
    target, found = hands
    shift = np.array([0.3, -0.2, 0.1])
    moved = align_root(found + shift, found[:, 0] + shift, target[:, 0])
    np.testing.assert_allclose(moved, align_root(found, found[:, 0], target[:, 0]), atol=1e-12)
    np.testing.assert_allclose(moved[:, 0], target[:, 0], atol=1e-12)


def test_scale_translation_alignment(hands):
    target, found = hands
    moved = align_scale_translation(1.7 * target + [0.1, 0.2, 0.3], target)
    np.testing.assert_allclose(moved, target, atol=1e-12)
    moved = align_scale_translation(found, target)
    np.testing.assert_allclose(
        np.linalg.norm(moved[:, 9] - moved[:, 0], axis=-1),
        np.linalg.norm(target[:, 9] - target[:, 0], axis=-1),
    )
    flat = align_scale_translation(np.zeros_like(target), target)
    np.testing.assert_array_equal(flat, np.broadcast_to(target[:, :1], target.shape))


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 10_000),
    st.floats(0.2, 5.0),
    st.lists(st.floats(-3, 3), min_size=3, max_size=3),
    st.booleans(),
)
def test_procrustes_undoes_a_similarity(seed, scale, turn, mirror):
    target = np.random.default_rng(seed).standard_normal((1, 21, 3)) * 0.05 + [0, 0, 0.6]
    moved = scale * target @ Rotation.from_rotvec(turn).as_matrix().T + [0.1, 0.2, 0.3]
    if mirror:
        moved = moved * [-1.0, 1.0, 1.0]
    np.testing.assert_allclose(align_procrustes(moved, target), target, atol=1e-6)
    strict = point_errors(align_procrustes(moved, target, strict=True), target).max()
    assert (strict > 1e-3) == mirror, "proper rotations cannot undo a mirror"


def test_procrustes_is_the_official_one_in_chunks(rng):
    target = 0.05 * rng.standard_normal((300, 21, 3))
    found = (target + 0.01 * rng.standard_normal(target.shape)) * [-1.0, 1.0, 1.0]
    wanted = [loop_align(t, p) for t, p in zip(target, found, strict=True)]
    np.testing.assert_allclose(align_procrustes(found, target), wanted, atol=1e-12)


def test_camera_space_errors(hands):
    target, _ = hands
    errors = camera_space_errors(target + np.array([0.03, -0.04, -0.12]), target)
    np.testing.assert_allclose(errors.points, 0.13)
    np.testing.assert_allclose(errors.root, 0.13)
    np.testing.assert_allclose(errors.root_lateral, 0.05)
    np.testing.assert_allclose(errors.root_depth, -0.12)


def test_curve_of_known_errors():
    assert area_under_curve(np.zeros((3, 2))) == 1.0
    assert area_under_curve(np.full((3, 2), 0.0501)) == 0.0
    # right from the 50th of 100 thresholds on: the threshold itself counts (<=)
    edge = np.linspace(0, 0.05, 100)[50]
    assert area_under_curve(np.full((1, 1), edge)) == pytest.approx((99 - 50 + 0.5) / 99)
    assert area_under_curve(np.full((1, 1), np.nextafter(edge, 1))) == pytest.approx((99 - 51 + 0.5) / 99)


def test_curve_gathered_in_parts_equals_the_whole(rng):
    errors = rng.exponential(0.02, (50, 7))
    curve = ErrorCurve(7)
    for part in chunks(50, 8):
        curve.update(errors[part])
    mean, area = loop_figures([(np.zeros((7, 3)), np.stack([e, 0 * e, 0 * e], -1)) for e in errors])
    assert 100 * curve.mean() == pytest.approx(mean, abs=1e-12)
    assert curve.area() == pytest.approx(area, abs=1e-12)
    assert area_under_curve(errors) == pytest.approx(area, abs=1e-12)


def test_f_scores_equal_dense_distances(rng):
    target = rng.random((4, 300, 3)) * 0.1
    found = target[:, :200] + 0.004 * rng.standard_normal((4, 200, 3))
    scores = f_scores(found, target)
    for index in range(4):
        for column, threshold in enumerate((0.005, 0.015)):
            wanted = loop_f(target[index], found[index], threshold)
            assert scores[index, column] == pytest.approx(wanted, abs=1e-12)


def test_f_score_threshold_is_strict_and_far_is_zero():
    target, found = np.zeros((1, 1, 3)), np.array([[[0.25, 0.0, 0.0]]])
    assert f_scores(found, target, (0.25, np.nextafter(0.25, 1))).tolist() == [[0.0, 1.0]]
    assert f_scores(found + 100, target).tolist() == [[0.0, 0.0]]


def test_f_score_is_the_same_whatever_the_threads(rng):
    target, found = rng.random((2, 9, 100, 3)) * 0.1
    np.testing.assert_array_equal(f_scores(found, target, workers=1), f_scores(found, target, workers=4))


def test_memory_of_f_scores_does_not_grow_with_the_set(rng):
    points = rng.random((40, 778, 3))
    f_scores(points[:2], points[:2])
    tracemalloc.start()
    f_scores(points, points)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * 778 * 778, "less than a byte for each pair of points"
    assert cdist(points[0], points[0]).nbytes > 4_000_000, "what one dense table alone would take"
