"""Alignment against scipy: proper (rotation only) and official (reflection allowed)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import procrustes
from scipy.spatial.transform import Rotation

torch = pytest.importorskip("torch")

from amvur.geometry.procrustes import align_similarity, official_align, rotation_between

SEEDS = st.integers(0, 2**32 - 1)
MIRROR = np.array([-1.0, 1.0, 1.0])


def tensor(array):
    return torch.as_tensor(np.asarray(array))


def two_hands(rng, n=21, noise=0.02):
    """Noisy copies of one point set, one of them moved, turned and scaled."""
    target = rng.normal(size=(n, 3)) * 0.07 + [0.1, -0.2, 0.6]
    turned = Rotation.random(random_state=int(rng.integers(2**31))).apply(target)
    return rng.uniform(0.3, 3) * turned + rng.normal(size=3) + noise * rng.normal(size=(n, 3)), target


def official_by_scipy(source, target):
    """The steps of `formats.md` §1.3 with scipy's solver."""
    source_mean, target_mean = source.mean(0), target.mean(0)
    a, b = source - source_mean, target - target_mean
    a_norm, b_norm = np.linalg.norm(a) + 1e-8, np.linalg.norm(b) + 1e-8
    rotation, scale = orthogonal_procrustes(b / b_norm, a / a_norm)
    return (a / a_norm) @ rotation.T * scale * b_norm + target_mean


def proper_by_scipy(source, target):
    """Scipy's best rotation (Kabsch), then the scale by one-dimensional least squares."""
    a, b = source - source.mean(0), target - target.mean(0)
    rotation, _ = Rotation.align_vectors(b, a)
    turned = rotation.apply(a)
    return (turned * b).sum() / (turned**2).sum() * turned + target.mean(0)


def error(a, b):
    return float(((np.asarray(a) - np.asarray(b)) ** 2).sum())


@settings(deadline=None, max_examples=40)
@given(SEEDS)
def test_proper_alignment_is_scipys(seed):
    source, target = two_hands(np.random.default_rng(seed))
    ours = align_similarity(tensor(source), tensor(target))
    np.testing.assert_allclose(ours, proper_by_scipy(source, target), atol=1e-9)


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.booleans())
def test_official_alignment_is_scipys(seed, mirrored):
    source, target = two_hands(np.random.default_rng(seed))
    source = source * MIRROR if mirrored else source
    ours = official_align(tensor(source), tensor(target))
    np.testing.assert_allclose(ours, official_by_scipy(source, target), atol=1e-12)


@settings(deadline=None, max_examples=20)
@given(SEEDS)
def test_alignment_with_reflections_has_the_disparity_of_scipys_procrustes(seed):
    source, target = two_hands(np.random.default_rng(seed))
    _, _, disparity = procrustes(target, source)
    ours = align_similarity(tensor(source), tensor(target), allow_reflection=True)
    spread = ((target - target.mean(0)) ** 2).sum()
    assert error(ours, target) / spread == pytest.approx(disparity, rel=1e-9)


@settings(deadline=None, max_examples=20)
@given(SEEDS)
def test_official_differs_from_plain_by_its_small_addition_only(seed):
    source, target = two_hands(np.random.default_rng(seed))
    plain = align_similarity(tensor(source), tensor(target), allow_reflection=True)
    np.testing.assert_allclose(official_align(tensor(source), tensor(target)), plain, atol=1e-6)


def test_a_mirrored_hand_scores_0_officially_but_not_properly(rng):
    _, target = two_hands(rng)
    mirrored = tensor(target * MIRROR)
    assert error(official_align(mirrored, tensor(target)), target) < 1e-12
    assert error(align_similarity(mirrored, tensor(target)), target) > 1e-3


@pytest.mark.parametrize("align", [align_similarity, official_align])
def test_a_similarity_is_undone(rng, align):
    source, target = two_hands(rng, noise=0.0)
    np.testing.assert_allclose(align(tensor(source), tensor(target)), target, atol=1e-7)


def test_a_perfect_prediction_keeps_a_tiny_official_error(rng):
    _, target = two_hands(rng)
    assert 0 < error(official_align(tensor(target), tensor(target)), target) < 1e-12


def test_no_similarity_does_better(rng):
    source, target = two_hands(rng)
    aligned = align_similarity(tensor(source), tensor(target)).numpy()
    best = error(aligned, target)
    for _ in range(300):
        rotation = Rotation.from_rotvec(rng.normal(size=3) * rng.choice([0.01, 0.1, 2]))
        turned = rng.normal(1, 0.05) * rotation.apply(aligned - target.mean(0))
        assert error(turned + target.mean(0) + rng.normal(size=3) * 1e-3, target) >= best


@pytest.mark.parametrize("align", [align_similarity, official_align])
def test_a_collapsed_prediction_goes_to_the_targets_mean(rng, align):
    _, target = two_hands(rng)
    ours = align(torch.zeros(21, 3, dtype=torch.float64), tensor(target))
    np.testing.assert_allclose(ours, np.tile(target.mean(0), (21, 1)), atol=1e-12)


def test_flat_hands_are_aligned_by_a_rotation(rng):
    """Points in a plane: rotation and reflection fit equally well, so both forms give the same."""
    target = rng.normal(size=(21, 3)) * [1, 1, 0]
    source = Rotation.random(random_state=5).apply(target * [1, -1, 1]) + 2
    for allow in (False, True):
        ours = align_similarity(tensor(source), tensor(target), allow_reflection=allow)
        np.testing.assert_allclose(ours, target, atol=1e-9)


@pytest.mark.parametrize("align", [align_similarity, official_align])
def test_batches_are_aligned_one_by_one(rng, align):
    pairs = [two_hands(rng) for _ in range(6)]
    sources, targets = (tensor(np.stack(side)).reshape(2, 3, 21, 3) for side in zip(*pairs, strict=True))
    whole = align(sources, targets)
    for i in range(6):
        expected = align(sources.flatten(0, 1)[i], targets.flatten(0, 1)[i])
        np.testing.assert_allclose(whole.flatten(0, 1)[i], expected, atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_rotation_between_is_scipys(seed):
    source, target = two_hands(np.random.default_rng(seed))
    expected, _ = Rotation.align_vectors(target - target.mean(0), source - source.mean(0))
    np.testing.assert_allclose(
        rotation_between(tensor(source), tensor(target)), expected.as_matrix(), atol=1e-9
    )


def test_rotation_between_is_proper_even_for_a_mirrored_hand(rng):
    sources, targets = tensor(rng.normal(size=(5, 21, 3))), tensor(rng.normal(size=(5, 21, 3)))
    for source in (sources, sources * tensor(MIRROR)):
        np.testing.assert_allclose(torch.linalg.det(rotation_between(source, targets)), 1, atol=1e-12)
