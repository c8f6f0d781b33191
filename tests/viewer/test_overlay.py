"""The overlay picture: where things are drawn, and sizes."""

import dataclasses

import numpy as np
import pytest
from factories import make_hand
from PIL import ImageDraw

from amvur.viewer import draw_overlay
from amvur.viewer.overlay import uncertainty_colors


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


def test_joints_are_white_as_hues_tell_uncertainty():
    hand = make_hand(0)
    overlay = draw_overlay(gray(), [hand]).astype(int)
    for x, y in hand.joints_2d[[4, 8, 20]].astype(int):
        assert overlay[y, x].min() > 240


def test_nine_of_ten_joints_lie_in_their_circles(rng):
    """The circle's radius is that of 90 % of a Gaussian in the picture's plane, by counting."""
    hand = make_hand(0, position=(0.0, 0.07, 0.6), std_mm=8)
    tip, depth = hand.joints_2d[12], hand.joints[12, 2]
    focal = hand.camera.intrinsics[0, 0]
    drawn = np.linalg.norm(rng.normal(size=(100_000, 2)), axis=1) * hand.joints_std[12] * focal / depth
    radius = np.percentile(drawn, 90)
    overlay = draw_overlay(gray(), [hand]).astype(int)
    column = overlay[: int(tip[1]) - 6, int(tip[0])].sum(-1)  # up from the tip: nothing but its circle
    assert int(tip[1]) - column.argmax() == pytest.approx(radius, abs=2)


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
    assert np.abs(halved - small).mean() < 2.5  # the label is moved: boxes' margins are in pixels
    assert np.abs(small - 128).mean() > 5


def test_a_small_hand_is_not_hidden_by_what_is_drawn_about_it():
    hand = make_hand(0, size=(1200, 900), position=(0.0, 0.1, 4.0))
    extent = np.ptp(hand.joints_2d, axis=0).max()
    assert extent < 80
    changed = (draw_overlay(gray(1200, 900), [hand]) != 128).any(-1)
    changed[740:, :320] = False  # the legend
    rows, columns = np.nonzero(changed)
    low, high = hand.box_xyxy_px[:2], hand.box_xyxy_px[2:]
    assert columns.min() > low[0] - 5
    assert columns.max() < high[0] + 5
    assert rows.min() > low[1] - 30


def test_uncertainty_runs_from_violet_to_red():
    colors = uncertainty_colors(np.array([0.0, 0.016, 0.099]))
    np.testing.assert_array_equal(colors[1], colors[2])  # 2.5 times 16 mm are the scale's 40
    assert colors[0].argmax() == 2
    assert colors[1].argmax() == 0
    assert (uncertainty_colors(np.array([0.0155])) != colors[1]).any()


def test_a_color_means_the_same_in_every_picture():
    sure, unsure = make_hand(0, std_mm=3), make_hand(1, position=(0.2, 0.07, 0.6), std_mm=30)
    alone, beside = draw_overlay(gray(), [sure]), draw_overlay(gray(), [sure, unsure])
    x, y = (sure.joints_2d[0] + sure.joints_2d[9]).astype(int) // 2 + [0, 5]
    np.testing.assert_array_equal(alone[y - 20 : y, x - 8 : x], beside[y - 20 : y, x - 8 : x])


@pytest.mark.parametrize("size", [(240, 180), (180, 240), (640, 480), (4000, 3000)])
def test_the_legend_fits_and_its_letters_are_large_enough(size):
    written = _texts(size)
    height = min(size) * 640 / 240 if max(size) < 640 else min(size)
    assert "9 of 10" in " ".join(text for text, _, _ in written)
    assert {"0", "20", "40+ mm"} <= {text for text, _, _ in written}
    for text, (left, top, right, bottom), letters in written:
        assert letters >= 9, text
        assert left >= 0
        assert top >= 0
        assert right <= 1600
        assert bottom <= max(height, 1200)
    scale = [box for text, box, _ in written if text in ("0", "20", "40+ mm")]
    assert scale[0][2] < scale[1][0]
    assert scale[1][2] < scale[2][0]


def _texts(size):
    """What is written over a hand's picture: text, box and size of letters, in the overlay's pixels."""
    written, draw = [], ImageDraw.ImageDraw.text

    def spy(self, xy, text, fill=None, font=None, anchor=None, **rest):
        box = self.textbbox(xy, text, font, anchor)
        written.append((text, tuple(edge / 2 for edge in box), font.size / 2))
        draw(self, xy, text, fill, font, anchor, **rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageDraw.ImageDraw, "text", spy)
        draw_overlay(gray(*size), [make_hand(0, size=size)])
    return written


@pytest.mark.parametrize("position", [(0, 0, -0.5), (3, 0, 0.5), (0, 0, 0.02)])
def test_hands_that_cannot_be_seen_do_no_harm(position):
    draw_overlay(gray(), [make_hand(0, position=position)])


def test_numbers_that_are_not_finite_do_no_harm():
    hand = dataclasses.replace(make_hand(0), joints_2d=np.full((21, 2), np.nan, np.float32))
    draw_overlay(gray(), [hand])
