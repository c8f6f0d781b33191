"""Views of a hand: what is kept of an earlier one, and where the photograph ends in them."""

from dataclasses import replace
from functools import cache

import numpy as np
from posed import posed

from amvur.hand.loading import load_hand_model
from amvur.inference.silhouette.finder import inside_image
from amvur.inference.view import look_at_hand
from amvur.structures import Camera, RgbImage

CAMERA = np.array([[420.0, 0, 160], [0, 420.0, 120], [0, 0, 1]])
DEPTH_M = 0.45
PX = DEPTH_M / 420
"""Metres that are a pixel of the picture."""


@cache
def hand():
    return posed([0.3, 0.5, 1.2], np.full(45, 0.05), transl=(-0.004, 0.076, DEPTH_M))[0]


def picture() -> RgbImage:
    return np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)


def look(shift_px=0.0, larger=1.0, before=None):
    """The view of a hand moved to the right, and nearer."""
    vertices = (hand() + np.array([shift_px * PX, 0, 0])) * np.array([1, 1, 1 / larger])
    return look_at_hand(picture(), vertices, load_hand_model("open").faces, CAMERA, before=before)


def test_a_second_look_keeps_crop_picture_and_maps():
    first = replace(look(), maps=(np.zeros((1, 2, 2), dtype=np.float32),))
    again, fresh = look(3.0, 1.01, first), look(3.0, 1.01)
    assert again.crop is first.crop
    assert again.picture is first.picture
    assert again.maps is first.maps
    assert fresh.maps is None
    places = [view.crop.invert_points(view.pixels.astype(float)) for view in (again, fresh)]
    np.testing.assert_allclose(*places, atol=1e-3)
    assert (again.raster.mask != first.raster.mask).any()


def test_what_fits_move_a_hand_by_is_less_than_the_margin_of_its_crop():
    """8 px of 120: as far as contours are searched for (`ContourSettings.search_px`)."""
    first = look()
    for shift_px in (-8.0, 0.0, 8.0):
        view = look(shift_px, before=first)
        assert view.pixels.min() > 0
        assert view.pixels.max() < view.crop.size_px


def test_the_photograph_ends_where_it_does_in_a_view():
    camera = Camera(CAMERA, "given", 320, 240)
    for shift_px in (-120.0, 60.0):
        view = look(shift_px)
        middles = np.arange(view.crop.size_px) + 0.5
        places = view.crop.invert_points(np.stack(np.meshgrid(middles, middles), -1))
        wanted = ((places > 0.5) & (places < np.array([320, 240]) - 0.5)).all(-1)
        np.testing.assert_array_equal(inside_image(view, camera), wanted)
        assert 0 < wanted.mean() < 1
