"""Laws of the crop, and its pixels against exact pictures."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amvur.crop import CropTransform
from amvur.errors import InputError

crops = st.builds(
    CropTransform,
    center_x_px=st.floats(-500, 5000),
    center_y_px=st.floats(-500, 5000),
    side_px=st.floats(1, 5000),
    size_px=st.integers(1, 512),
    rotation_rad=st.floats(-7, 7),
    mirrored=st.booleans(),
)
points = st.lists(st.tuples(st.floats(-5000, 5000), st.floats(-5000, 5000)), min_size=1, max_size=5)


@given(crops, points)
def test_inverse_undoes_the_map(crop, xy):
    xy = np.array(xy)
    np.testing.assert_allclose(crop.invert_points(crop.apply_points(xy)), xy, atol=1e-8)


@given(crops, points)
def test_matrices_say_the_same_as_the_functions(crop, xy):
    xy = np.array(xy)
    for matrix, function in ((crop.matrix, crop.apply_points), (crop.inverse_matrix, crop.invert_points)):
        expected = xy @ matrix[:, :2].T + matrix[:, 2]
        tolerance = 1e-12 * (np.abs(matrix).max() * 5000 + 5000)
        np.testing.assert_allclose(function(xy), expected, rtol=1e-9, atol=tolerance)


@given(crops)
def test_the_square_becomes_the_crop(crop):
    center = np.array([crop.center_x_px, crop.center_y_px])
    np.testing.assert_allclose(crop.apply_points(center), [crop.size_px / 2] * 2, atol=1e-8)
    corners = crop.invert_points(np.array([[0.0, 0.0], [crop.size_px, crop.size_px]]))
    np.testing.assert_allclose(
        np.linalg.norm(corners[1] - corners[0]), math.sqrt(2) * crop.side_px, rtol=1e-6
    )


@given(crops)
def test_mirroring_twice_is_the_identity(crop):
    flipped = CropTransform(
        crop.center_x_px, crop.center_y_px, crop.side_px, crop.size_px, crop.rotation_rad, not crop.mirrored
    )
    xy = np.array([[3.0, 7.0], [100.0, -20.0]])
    once, other = crop.apply_points(xy), flipped.apply_points(xy)
    np.testing.assert_allclose(other, np.stack([crop.size_px - once[:, 0], once[:, 1]], axis=1), atol=1e-8)
    np.testing.assert_allclose(np.linalg.det(crop.R_crop_camera), -1 if crop.mirrored else 1)


@given(crops, st.floats(100, 3000), st.floats(100, 3000))
def test_projecting_in_the_crop_is_cropping_the_projection(crop, fx, fy):
    intrinsics = np.array([[fx, 0, 300.0], [0, fy, 200.0], [0, 0, 1]])
    world = np.array([[0.1, -0.05, 0.4], [-0.2, 0.1, 0.7], [0, 0, 1.0]])

    def project(matrix, xyz):
        homogeneous = xyz @ matrix.T
        return homogeneous[:, :2] / homogeneous[:, 2:]

    inside = project(crop.crop_intrinsics(intrinsics), world @ crop.R_crop_camera.T)
    np.testing.assert_allclose(inside, crop.apply_points(project(intrinsics, world)), rtol=1e-7, atol=1e-6)


@given(crops, st.floats(100, 3000))
def test_the_crops_camera_of_square_pixels_has_the_usual_form(crop, focal):
    intrinsics = np.array([[focal, 0, 300.0], [0, focal, 200.0], [0, 0, 1]])
    found = crop.crop_intrinsics(intrinsics)
    usual = [[crop.scale * focal, 0], [0, crop.scale * focal]]
    np.testing.assert_allclose(found[:2, :2], usual, atol=1e-9 * crop.scale * focal)


def test_the_whole_image_is_copied_exactly(rng):
    image = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    np.testing.assert_array_equal(CropTransform(20.0, 20.0, 40.0, 40).warp(image), image)
    np.testing.assert_array_equal(
        CropTransform(20.0, 20.0, 40.0, 40, mirrored=True).warp(image), image[:, ::-1]
    )
    turned = CropTransform(20.0, 20.0, 40.0, 40, rotation_rad=math.pi / 2).warp(image)
    np.testing.assert_allclose(turned.astype(int), np.rot90(image).astype(int), atol=1)


def test_shrinking_averages(rng):
    """No pixel is skipped: the mean over 4×4 blocks, at which a bilinear look alone would see a quarter."""
    image = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    blocks = image.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(CropTransform(32.0, 32.0, 64.0, 16).warp(image), blocks, atol=0.51)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("side", [60, 200, 900])
def test_pixels_land_where_points_do(side, mirrored):
    """A blob's centre of mass moves like its centre."""
    center = np.array([310.3, 205.7])
    y, x = np.mgrid[:480, :640] + 0.5
    width = side / 20
    blob = 250 * np.exp(-((x - center[0]) ** 2 + (y - center[1]) ** 2) / (2 * width**2))
    image = np.repeat(blob[..., None], 3, axis=2).round().astype(np.uint8)
    crop = CropTransform(300.0, 210.0, float(side), 128, 0.7, mirrored)
    weights = crop.warp(image)[..., 0].astype(float)
    j, i = np.mgrid[:128, :128] + 0.5
    found = np.array([(weights * i).sum(), (weights * j).sum()]) / weights.sum()
    np.testing.assert_allclose(found, crop.apply_points(center), atol=0.1)


def test_outside_is_black_or_the_border_again():
    image = np.full((50, 50, 3), 200, np.uint8)
    crop = CropTransform(0.0, 25.0, 40.0, 40)
    assert (crop.warp(image, border="black")[:, :19] == 0).all()
    assert (crop.warp(image, border="black")[:, 21:] == 200).all()
    assert (crop.warp(image) == 200).all()


def test_a_crop_far_larger_than_the_image_costs_little():
    image = np.full((10, 10, 3), 9, np.uint8)
    assert (CropTransform(-4000.0, 5.0, 1e5, 64).warp(image) == 9).all()


def test_scaling_the_image_scales_the_crop():
    crop = CropTransform(100.0, 60.0, 80.0, 64, 0.3, True)
    xy = np.array([[90.0, 70.0]])
    np.testing.assert_allclose(crop.scaled(0.25).apply_points(xy * 0.25), crop.apply_points(xy))


@pytest.mark.parametrize(
    "numbers", [(0, 0, 0, 8), (0, 0, -3, 8), (math.nan, 0, 5, 8), (0, math.inf, 5, 8), (0, 0, 5, 0)]
)
def test_impossible_crops_are_refused(numbers):
    with pytest.raises(InputError, match="finite"):
        CropTransform(*map(float, numbers[:3]), size_px=numbers[3])


def test_a_crop_beside_the_image_is_refused():
    with pytest.raises(InputError, match="misses the image"):
        CropTransform(100.0, 5.0, 20.0, 8).warp(np.zeros((10, 10, 3), np.uint8))
