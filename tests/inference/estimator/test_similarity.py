"""Similarities against scipy's rotations and the torch module that evaluation uses."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from truth import similar

torch = pytest.importorskip("torch")

from amvur.geometry import procrustes
from amvur.inference.estimator.similarity import align_similarity, rotation_between


@pytest.fixture(params=["random", "mirrored", "flat"])
def pair(request, rng):
    """Points and others that they are moved onto, which a reflection or nothing may fit better."""
    source = rng.normal(size=(4, 21, 3))
    target = source + 0.3 * rng.normal(size=source.shape)
    scale = {"random": [1, 1, 1], "mirrored": [1, 1, -1], "flat": [1, 1, 0]}[request.param]
    return source, 0.2 * target * scale @ Rotation.random(random_state=2).as_matrix().T + 5.0


def test_it_is_the_similarity_of_least_squares(pair):
    source, target = pair
    ours = align_similarity(source, target)
    np.testing.assert_allclose(ours, [similar(a, b) for a, b in zip(source, target, strict=True)], atol=1e-9)
    tensors = [torch.as_tensor(x) for x in pair]
    np.testing.assert_allclose(ours, procrustes.align_similarity(*tensors), atol=1e-9)
    turns = rotation_between(source, target)
    np.testing.assert_allclose(turns, procrustes.rotation_between(*tensors), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(turns), 1)


def test_a_weight_counts_as_so_many_points(rng):
    source, target = rng.normal(size=(2, 1, 8, 3))
    times = rng.integers(0, 4, 8)
    many = align_similarity(np.repeat(source, times, 1), np.repeat(target, times, 1))
    ours = align_similarity(source, target, times[None, :, None].astype(float))
    np.testing.assert_allclose(np.repeat(ours, times, 1), many, atol=1e-12)


def test_points_without_weight_or_extent_give_finite_numbers(rng):
    source = rng.normal(size=(1, 5, 3))
    assert np.isfinite(align_similarity(source, 2 * source, np.zeros((1, 5, 1)))).all()
    assert np.isfinite(align_similarity(np.ones((1, 5, 3)), source)).all()
