"""The overlay picture: where things are drawn, and sizes."""

import dataclasses

import numpy as np
import pytest
from factories import make_hand

from amvur.viewer import draw_overlay
from amvur.viewer.overlay import color_limit_mm, uncertainty_colors


def gray(width=640, height=480):
    return np.full((height, width, 3), 128, np.uint8)


def test_input_is_left_alone_and_output_is_rgb():
    image = gray()
    overlay = draw_overlay(image, [make_hand(0)])
    assert overlay.shape == (480, 640, 3)
    assert overlay.dtype == np.uint8
    assert (image == 128).all()


def test_the_mesh_is_drawn_where_it_projects_and_nowhere_else():
    hand = make_hand(0)
    changed = (draw_overlay(gray(), [hand]) != 128).any(-1)
    corners = hand.vertices[hand.faces]
    toward = np.einsum(
        "fi,fi->f", np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), corners[:, 0]
    )
    pixels = corners[toward < 0].mean(1) @ hand.camera.intrinsics.T  # always inside the outline
    pixels = (pixels[:, :2] / pixels[:, 2:]).astype(int)
    inside = ((pixels >= 0) & (pixels < [640, 480])).all(1)
    assert inside.sum() > 300
    assert changed[pixels[inside, 1], pixels[inside, 0]].mean() > 0.98
    low, high = pixels.min(0) - 40, pixels.max(0) + 40
    right = changed[:400, high[0] :]
    assert not right.any()
    assert low[0] < high[0]


def test_joints_have_their_fingers_colour():
    hand = make_hand(0)
    overlay = draw_overlay(gray(), [hand]).astype(int)
    x, y = hand.joints_2d[20].astype(int)
    assert np.abs(overlay[y, x] - [205, 112, 255]).max() < 12


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((4032, 3024), (1600, 1200)),
        ((3024, 4032), (1200, 1600)),
        ((224, 224), (640, 640)),
        ((1600, 900), (1600, 900)),
        ((1, 1), (4, 4)),
        ((5000, 2), (1600, 1)),
    ],
)
def test_overlays_have_a_handy_size(size, expected):
    overlay = draw_overlay(gray(*size), [make_hand(0, size=size)] if max(size) < 1000 else [])
    assert overlay.shape[1::-1] == expected


def test_a_large_photograph_is_drawn_like_a_small_one():
    small = draw_overlay(gray(800, 600), [make_hand(0, size=(800, 600))]).astype(float)
    large = draw_overlay(gray(3200, 2400), [make_hand(0, size=(3200, 2400))]).astype(float)
    halved = large.reshape(600, 2, 800, 2, 3).mean((1, 3))
    assert np.abs(halved - small).mean() < 1.5
    assert np.abs(small - 128).mean() > 5


def test_a_small_hand_is_not_hidden_by_what_is_drawn_about_it():
    hand = make_hand(0, size=(1200, 900), position=(0.0, 0.1, 4.0))
    extent = np.ptp(hand.joints_2d, axis=0).max()
    assert extent < 80
    changed = (draw_overlay(gray(1200, 900), [hand]) != 128).any(-1)
    changed[750:, :320] = False  # the legend
    rows, columns = np.nonzero(changed)
    low, high = hand.box_xyxy_px[:2], hand.box_xyxy_px[2:]
    assert columns.min() > low[0] - 5
    assert columns.max() < high[0] + 5
    assert rows.min() > low[1] - 30
    joints = np.round(hand.joints_2d).astype(int)
    colors = {tuple(draw_overlay(gray(1200, 900), [hand])[y, x] // 32) for x, y in joints}
    assert len(colors) > 6  # fingers can be told apart


def test_uncertainty_runs_from_violet_to_red():
    colors = uncertainty_colors(np.array([0.0, 10.0, 99.0]), 10.0)
    np.testing.assert_array_equal(colors[1], colors[2])
    assert colors[0].argmax() == 2
    assert colors[1].argmax() == 0


@pytest.mark.parametrize(("std_mm", "limit"), [(1, 5), (6, 10), (9, 15), (5000, 1000)])
def test_the_scale_ends_at_a_round_number(std_mm, limit):
    assert color_limit_mm([make_hand(0, std_mm=std_mm)]) == limit


@pytest.mark.parametrize("position", [(0, 0, -0.5), (3, 0, 0.5), (0, 0, 0.02)])
def test_hands_that_cannot_be_seen_do_no_harm(position):
    draw_overlay(gray(), [make_hand(0, position=position)])


def test_numbers_that_are_not_finite_do_no_harm():
    hand = dataclasses.replace(make_hand(0), joints_2d=np.full((21, 2), np.nan, np.float32))
    draw_overlay(gray(), [hand])
