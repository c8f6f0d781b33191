"""Cameras against the formula written out, and laws of projection."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

torch = pytest.importorskip("torch")

from amvur.geometry.cameras import (
    fit_weak_perspective,
    mirror_intrinsics,
    project,
    project_weak_perspective,
    rotation_to_ray,
    view_rotation,
)

SEEDS = st.integers(0, 2**32 - 1)


def random_camera(rng):
    fx, fy = rng.uniform(200, 900, 2)
    return np.array([[fx, rng.normal(), rng.uniform(50, 500)], [0, fy, rng.uniform(50, 500)], [0, 0, 1]])


def points_in_front(rng, *shape):
    return rng.normal(size=(*shape, 3)) * 0.1 + [0, 0, 0.6]


@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_project_is_the_pinhole_formula(seed):
    rng = np.random.default_rng(seed)
    k, points = random_camera(rng), points_in_front(rng, 6)
    x, y, z = points.T
    expected = np.stack([(k[0, 0] * x + k[0, 1] * y) / z + k[0, 2], k[1, 1] * y / z + k[1, 2]], 1)
    ours = project(torch.as_tensor(points), torch.as_tensor(k))
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


def test_project_batches_and_broadcasts(rng):
    cameras = torch.as_tensor(np.stack([random_camera(rng) for _ in range(3)]))
    points = torch.as_tensor(points_in_front(rng, 3, 5))
    whole = project(points, cameras)
    for i in range(3):
        np.testing.assert_allclose(whole[i], project(points[i], cameras[i]), rtol=1e-14)
    one = project(points, cameras[:1])
    np.testing.assert_allclose(one[2], project(points[2], cameras[0]), rtol=1e-14)


def test_project_gradient(rng):
    points = torch.as_tensor(points_in_front(rng, 2, 3)).requires_grad_()
    camera = torch.as_tensor(random_camera(rng)).expand(2, 3, 3).clone().requires_grad_()
    assert torch.autograd.gradcheck(project, (points, camera))


def test_weak_perspective_is_the_papers_formula(rng):
    points, scale = rng.normal(size=(4, 7, 3)), rng.uniform(500, 900, 4)
    rotation, shift = Rotation.random(4, random_state=3).as_matrix(), rng.normal(size=(4, 2))
    ours = project_weak_perspective(*(torch.as_tensor(a) for a in (points, scale, rotation, shift)))
    for i in range(4):
        for j in range(7):
            expected = scale[i] * (rotation[i] @ points[i, j])[:2] + shift[i]
            np.testing.assert_allclose(ours[i, j], expected, rtol=1e-12, atol=1e-9)


def test_weak_perspective_is_the_limit_of_the_pinhole(rng):
    """Far away, with the focal length growing along, both are the same picture."""
    points, depth, scale = rng.normal(size=(1, 9, 3)) * 0.1, 1e6, 700.0
    k = torch.tensor([[[scale * depth, 0, 120.0], [0, scale * depth, 90.0], [0, 0, 1]]], dtype=torch.float64)
    pinhole = project(torch.as_tensor(points + np.array([0, 0, depth])), k)
    weak = project_weak_perspective(
        torch.as_tensor(points),
        torch.full((1,), scale, dtype=torch.float64),
        torch.eye(3, dtype=torch.float64)[None],
        torch.tensor([[120.0, 90.0]], dtype=torch.float64),
    )
    np.testing.assert_allclose(pinhole, weak, atol=1e-3)


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.integers(1, 4000))
def test_mirrored_camera_sees_the_mirrored_hand_in_the_mirrored_picture(seed, width):
    rng = np.random.default_rng(seed)
    k, points = torch.as_tensor(random_camera(rng)), torch.as_tensor(points_in_front(rng, 5))
    mirrored = project(points * torch.tensor([-1.0, 1, 1]), mirror_intrinsics(k, width))
    expected = project(points, k)
    np.testing.assert_allclose(mirrored[:, 0], width - expected[:, 0], atol=1e-8)
    np.testing.assert_allclose(mirrored[:, 1], expected[:, 1], atol=1e-8)


@settings(deadline=None, max_examples=20)
@given(SEEDS, st.integers(1, 4000))
def test_mirror_twice_is_the_identity(seed, width):
    k = torch.as_tensor(random_camera(np.random.default_rng(seed)))
    np.testing.assert_allclose(mirror_intrinsics(mirror_intrinsics(k, width), width), k, atol=1e-9)


@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_rotation_to_ray_is_the_smallest_one_that_takes_the_ray_to_the_axis(seed):
    rng = np.random.default_rng(seed)
    ray = rng.normal(size=(4, 3)) * [1, 1, 0.3] + [0, 0, 1.0]
    turn = rotation_to_ray(torch.as_tensor(ray)).numpy()
    length = np.linalg.norm(ray, axis=-1)
    np.testing.assert_allclose((turn @ ray[..., None])[..., 0] / length[:, None], [[0, 0, 1]] * 4, atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(turn), 1, atol=1e-9)
    angle = np.arccos(np.clip(ray[:, 2] / length, -1, 1))
    np.testing.assert_allclose(Rotation.from_matrix(turn).magnitude(), angle, atol=1e-6)


def test_rotation_to_ray_leaves_the_axis_alone():
    axis = torch.tensor([0.0, 0.0, 3.0], dtype=torch.float64)
    np.testing.assert_allclose(rotation_to_ray(axis), np.eye(3), atol=1e-12)


def test_view_axes_look_along_the_crops_centre_and_mirror_with_the_picture(rng):
    cameras = torch.as_tensor(np.stack([random_camera(rng) for _ in range(3)]))
    points = torch.as_tensor(points_in_front(rng, 3, 1))
    center = project(points, cameras)[:, 0]
    turned = (view_rotation(cameras, center) @ points[:, 0, :, None])[..., 0]
    np.testing.assert_allclose(turned[:, :2], 0, atol=1e-9)
    flip = torch.tensor([-1.0, 1, 1], dtype=torch.float64)
    mirrored_center = torch.stack([640 - center[:, 0], center[:, 1]], -1)
    mirrored = view_rotation(mirror_intrinsics(cameras, 640), mirrored_center)
    expected = flip[:, None] * view_rotation(cameras, center) * flip
    np.testing.assert_allclose(mirrored, expected, atol=1e-9)


@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_fitted_weak_camera_is_numpys_least_squares_one(seed):
    """Against the general solver: unknowns scale and translation, two equations a point."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(3, 21, 3)) * 0.05
    pixels = 900 * points[..., :2] + rng.normal(size=(3, 1, 2)) * 100 + rng.normal(size=(3, 21, 2))
    weights = rng.uniform(0.1, 1, (3, 21)) * (rng.random((3, 21)) < 0.8)
    tensors = [torch.as_tensor(x) for x in (points, pixels, weights)]
    scale, shift = fit_weak_perspective(*tensors)
    for i in range(3):
        rows = np.zeros((21, 2, 3))
        rows[..., 0] = points[i, :, :2]
        rows[:, 0, 1] = rows[:, 1, 2] = 1
        root = np.sqrt(weights[i])[:, None]
        best = np.linalg.lstsq(
            (rows * root[..., None]).reshape(-1, 3), (pixels[i] * root).ravel(), rcond=None
        )[0]
        np.testing.assert_allclose([scale[i], *shift[i]], best, rtol=1e-7)


def test_fitted_weak_camera_where_it_is_not_determined():
    points, pixels = torch.zeros(21, 3), torch.full((21, 2), 7.0)
    scale, shift = fit_weak_perspective(points, pixels, min_scale=0.5)
    assert scale == 0.5
    np.testing.assert_allclose(shift, 7)
    scale, _ = fit_weak_perspective(points, pixels, torch.zeros(21))
    assert torch.isfinite(scale)
