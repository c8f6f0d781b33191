"""Views of a hand: what is kept of an earlier one, and where the photograph ends in them."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from amvur.hand.loading import load_hand_model
from amvur.hand.model import HandModel
from amvur.inference.silhouette.finder import inside_image
from amvur.inference.vertex_evidence import look_at_hand
from amvur.structures import RgbImage

CAMERA = np.array([[420.0, 0, 160], [0, 420.0, 120], [0, 0, 1]])
DEPTH_M = 0.45
PX = DEPTH_M / 420
"""Metres that are a pixel of the picture."""


@cache
def hand():
    model = HandModel(load_hand_model("open"), torch.float64)
    turn, pose = torch.tensor([[0.3, 0.5, 1.2]]).double(), torch.full((1, 45), 0.05).double()
    mesh = model(turn, pose, torch.zeros(1, 10).double(), torch.tensor([[-0.004, 0.076, DEPTH_M]]).double())
    return mesh.vertices[0].numpy(), model


def picture() -> RgbImage:
    return np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)


def look(shift_px=0.0, larger=1.0, left=False, before=None):
    """The view of a hand moved to the right, and nearer."""
    vertices, model = hand()
    vertices = (vertices + np.array([shift_px * PX, 0, 0])) * np.array([-1 if left else 1, 1, 1 / larger])
    faces = model.faces.numpy()
    return look_at_hand(picture(), vertices, faces[:, ::-1] if left else faces, CAMERA, left, before=before)


def with_maps(view):
    return replace(view, maps=(np.zeros((1, 2, 2), dtype=np.float32),))


@pytest.mark.parametrize("left", [False, True])
def test_a_mesh_that_hardly_moved_keeps_crop_picture_and_maps(left):
    first = with_maps(look(left=left))
    again = look(3.0, 1.01, left, first)
    assert again.crop is first.crop
    assert again.picture is first.picture
    assert again.maps is first.maps
    fresh = look(3.0, 1.01, left)
    assert fresh.maps is None
    places = [view.crop.invert_points(view.pixels.astype(float)) for view in (again, fresh)]
    np.testing.assert_allclose(*places, atol=1e-3)
    assert (again.raster.mask != first.raster.mask).any()


@pytest.mark.parametrize(("shift_px", "larger"), [(-8.0, 1.0), (0.0, 1.06), (0.0, 0.94)])
def test_a_mesh_that_moved_or_grew_gets_a_crop_of_its_own(shift_px, larger):
    first = with_maps(look())
    again, fresh = look(shift_px, larger, before=first), look(shift_px, larger)
    assert again.crop == fresh.crop
    assert again.maps is None
    np.testing.assert_array_equal(again.picture, fresh.picture)


def test_a_crop_of_another_size_or_side_is_not_kept():
    first = with_maps(look())
    small = replace(first, crop=replace(first.crop, size_px=128))
    mirrored = replace(first, crop=replace(first.crop, mirrored=True))
    for other in (small, mirrored):
        again = look(before=other)
        assert again.crop == first.crop
        assert again.maps is None


def test_whatever_keeps_its_crop_lies_inside_of_it():
    first = with_maps(look())
    kept = 0
    for shift_px in np.linspace(-8, 8, 17):
        for larger in (0.96, 1.0, 1.04):
            view = look(shift_px, larger, before=first)
            kept += view.crop is first.crop
            assert view.pixels.min() > 0
            assert view.pixels.max() < view.crop.size_px
    assert 20 < kept < 51


def test_the_photograph_ends_where_it_does_in_a_view():
    for shift_px, left in ((-120.0, False), (-120.0, True), (60.0, False)):
        view = look(shift_px, left=left)
        middles = np.arange(view.crop.size_px) + 0.5
        places = view.crop.invert_points(np.stack(np.meshgrid(middles, middles), -1))
        wanted = ((places > 0.5) & (places < np.array([320, 240]) - 0.5)).all(-1)
        np.testing.assert_array_equal(inside_image(view, picture()), wanted)
        assert 0 < wanted.mean() < 1
