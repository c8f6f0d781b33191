"""The camera of a photograph: given in two ways, or assumed."""

import math

import numpy as np
import pytest

from amvur.errors import InputError
from amvur.geometry.camera_checks import check_fov
from amvur.inference.camera import ASSUMED_FOV_DEG, make_camera

GIVEN = np.array([[700.0, 0, 310], [0, 705, 250], [0, 0, 1]])


def fov_deg(camera, longer_side):
    return math.degrees(2 * math.atan(longer_side / 2 / camera.intrinsics[0, 0]))


@pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640), (300, 300)])
@pytest.mark.parametrize("degrees", [30.0, 60.0, 90.0])
def test_fov_spans_the_longer_side(width, height, degrees):
    k = make_camera(width, height, fov_deg=degrees).intrinsics
    edge = math.tan(math.radians(degrees) / 2)
    pixels = np.array([[edge, 0, 1.0], [0, edge, 1.0], [0, 0, 1.0]]) @ k.T
    longer = 0 if width >= height else 1
    np.testing.assert_allclose(pixels[longer, longer], max(width, height))
    np.testing.assert_allclose(pixels[2], [width / 2, height / 2, 1])


def test_given_intrinsics_are_used_as_they_are():
    camera = make_camera(640, 480, intrinsics=GIVEN)
    assert camera.source == "given"
    np.testing.assert_array_equal(camera.intrinsics, GIVEN)
    np.testing.assert_array_equal(
        make_camera(640, 480, intrinsics=GIVEN, hand_sizes_px=[600.0]).intrinsics, GIVEN
    )


@pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640), (300, 300)])
def test_a_field_of_view_spans_the_longer_side(width, height):
    camera = make_camera(width, height, fov_deg=70.0)
    assert camera.source == "given"
    assert fov_deg(camera, max(width, height)) == pytest.approx(70)
    np.testing.assert_allclose(camera.intrinsics[:2, 2], [width / 2, height / 2])
    assert camera.intrinsics[0, 0] == camera.intrinsics[1, 1]


@pytest.mark.parametrize("hand_sizes_px", [[], [0.0], [50.0], [30.0, 100.0]])
def test_without_anything_a_field_of_view_is_assumed(hand_sizes_px):
    camera = make_camera(640, 480, hand_sizes_px=hand_sizes_px)
    assert camera.source == "assumed"
    assert fov_deg(camera, 640) == pytest.approx(ASSUMED_FOV_DEG)


def test_a_picture_that_the_hand_fills_was_cropped_or_taken_with_a_longer_lens():
    focals = [
        make_camera(640, 480, hand_sizes_px=[size]).intrinsics[0, 0] for size in (100.0, 250.0, 350.0, 450.0)
    ]
    assert focals[0] < focals[1] < focals[2] < focals[3]
    # Between the usual focal length at a small distance and a long one at the usual distance.
    assert focals[3] * 0.17 / 450 < 0.5


def test_the_largest_hand_decides():
    one, two = (
        make_camera(640, 480, hand_sizes_px=sizes).intrinsics for sizes in ([400.0], [60.0, 400.0, 100.0])
    )
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    "wrong",
    [
        np.full((3, 3), np.nan),
        np.eye(4),
        np.zeros((3, 3)),
        GIVEN * [[-1, 1, 1], [1, 1, 1], [1, 1, 1]],
        np.array([[700.0, 0, np.inf], [0, 700, 240], [0, 0, 1]]),
        GIVEN.T,
    ],
)
def test_what_is_no_camera_is_refused(wrong):
    with pytest.raises((InputError, TypeError), match=r"Intrinsics must be a finite 3x3|intrinsics"):
        make_camera(640, 480, intrinsics=wrong)


@pytest.mark.parametrize(
    ("focals", "center", "says"),
    [
        ((0.9, 1.2), (0.5, 0.5), "fractions"),
        ((600.0, 600.0), (0.5, 0.5), "fractions"),
        ((600.0, 20.0), (320.0, 240.0), "no camera"),
        ((1e300, 1e300), (320.0, 240.0), "no camera"),
        ((1e6, 1e6), (320.0, 240.0), "field of view of 0.0367 degrees"),
        ((10.0, 10.0), (320.0, 240.0), "field of view of 176 degrees"),
        ((600.0, 600.0), (1e6, 240.0), "too far"),
    ],
)
def test_intrinsics_in_another_unit_or_of_another_picture_are_refused(focals, center, says):
    matrix = np.array([[focals[0], 0, center[0]], [0, focals[1], center[1]], [0, 0, 1.0]])
    with pytest.raises(InputError, match=says):
        make_camera(640, 480, matrix)


def test_a_matrix_with_more_than_a_small_skew_is_refused():
    for row, column in ((0, 1), (1, 0)):
        matrix = GIVEN.copy()
        matrix[row, column] = 1e4
        with pytest.raises(InputError, match="skew"):
            make_camera(640, 480, matrix)


def test_the_camera_of_a_small_part_of_a_photograph_is_taken():
    matrix = np.array([[4000.0, 0, -900.0], [0, 4000.0, 1500.0], [0, 0, 1]])
    np.testing.assert_array_equal(make_camera(64, 64, matrix).intrinsics, matrix)


@pytest.mark.parametrize("fov", ["60", True, 10**400])
def test_a_field_of_view_that_is_no_number_is_refused(fov):
    with pytest.raises(InputError, match="between 1 and 170"):
        check_fov(fov)


@pytest.mark.parametrize("fov", [0.0, -20.0, 180.0, math.nan])
def test_impossible_fields_of_view_are_refused(fov):
    with pytest.raises(InputError, match="between 1 and 170"):
        make_camera(640, 480, fov_deg=fov)


def test_two_cameras_are_refused():
    with pytest.raises(InputError, match="not both"):
        make_camera(640, 480, GIVEN, 60.0)
