"""Where a picture shows the contour of a hand: on renders whose outline is known, with the shipped segmentation."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from posed import covered, posed
from scipy.ndimage import gaussian_filter
from scipy.stats import norm

from amvur.hand.loading import load_hand_model
from amvur.inference.estimator.config import ContourSettings
from amvur.inference.silhouette.contour import _locate, _without_thickness, find_contour, scale_of
from amvur.inference.silhouette.finder import parts_of
from amvur.inference.silhouette.segmentation import shipped_segmentation
from amvur.inference.view import look_at_hand

CAMERA = np.array([[420.0, 0, 160], [0, 420.0, 120], [0, 0, 1]])
SKIN, TABLE = np.array([200, 140, 110]), np.array([70, 110, 150])
SETTINGS = ContourSettings()


@cache
def hand():
    return load_hand_model("open"), posed([0.3, 0.5, 1.2], transl=(-0.004, 0.076, 0.45))[0]


@cache
def photograph(noise=8.0):
    """The hand in one color before a table of another, with noise."""
    arrays, vertices = hand()
    mask = covered(vertices, arrays.faces, CAMERA, 240, 320)
    picture = np.where(mask[..., None], SKIN, TABLE).astype(float)
    picture = gaussian_filter(picture, (0.6, 0.6, 0))
    picture += noise * np.random.default_rng(0).normal(size=picture.shape)
    return picture.clip(0, 255).astype(np.uint8)


@cache
def look(shift_m=(0.0, 0.0)):
    """What a segmentation sees about a mesh that lies `shift_m` beside the hand."""
    arrays, vertices = hand()
    points = vertices + np.array([*shift_m, 0.0])
    view = look_at_hand(photograph(), points, arrays.faces, CAMERA)
    return shipped_segmentation()([view], [SETTINGS.mesh_std_px * scale_of(view, SETTINGS)])[0]


def contour_of(seen, settings=SETTINGS, inside=None):
    inside = np.ones(seen.pixels.depth_px.shape, bool) if inside is None else inside
    return find_contour(seen.view, seen.pixels, inside, parts_of(hand()[0]), settings)


def test_a_mesh_in_its_place_is_left_there():
    found, scale = contour_of(look()), scale_of(look().view, SETTINGS)
    assert len(found.vertex) > 80
    assert abs(np.average(found.beyond_px, weights=found.std_px**-2)) < 0.4 * scale
    assert np.quantile(np.abs(found.beyond_px), 0.8) < 1.2 * scale
    assert (parts_of(hand()[0])[found.vertex] >= 0).all()


@pytest.mark.parametrize("shift_m", [(0.004, 0.0), (-0.003, 0.004)])
def test_a_mesh_beside_the_hand_is_told_which_way_to_go(shift_m):
    """Least squares of the distances along the normals is the shift, in pixels of the view, if nothing of it
    is taken for thickness."""
    found = contour_of(look(shift_m), ContourSettings(thickness_std_px=0.01))
    weighted = found.normal / found.std_px[:, None]
    off, *_ = np.linalg.lstsq(weighted, found.beyond_px / found.std_px, rcond=None)
    wanted = -np.array(shift_m) * CAMERA[0, 0] / 0.45 / look(shift_m).view.pixel_px
    np.testing.assert_allclose(off, wanted, atol=0.3 * np.linalg.norm(wanted))


def test_pixels_that_tell_no_more_than_the_mesh_say_nothing():
    seen = look()
    inside, outside = (norm.logcdf(sign * seen.pixels.depth_px / seen.pixels.std_px) for sign in (1, -1))
    empty = replace(seen.pixels, logits=np.stack([inside - outside] * 2).astype(np.float32))
    assert len(contour_of(replace(seen, pixels=empty)).vertex) == 0


def test_beyond_the_photograph_nothing_is_known():
    inside = np.ones(look().pixels.depth_px.shape, bool)
    inside[:, :112] = False
    found = contour_of(look(), inside=inside)
    assert len(found.vertex)
    assert (look().view.pixels[found.vertex, 0] > 110).all()


def test_parts_are_palm_and_fingers_and_what_goes_on_as_an_arm():
    arrays = hand()[0]
    parts = parts_of(arrays)
    assert set(np.unique(parts)) == {-1, 0, 1, 2, 3, 4, 5}
    assert (parts == -1).sum() > 20
    assert (parts[arrays.tip_vertices] > 0).all()


def test_the_place_is_the_posteriors_less_the_prior():
    """Against a sum over all places by hand: Gaussian colors' log odds, prior N(0, mesh_std)."""
    settings = ContourSettings(temper=1.0, mesh_std_px=2.0, search_px=8.0)
    steps = np.arange(-8, 8.01, 0.5)
    odds = np.where(steps < 1.9, 0.8, -0.8)[None]
    place, precision = _locate(odds, steps, settings)
    ln = [0.5 * (odds[0][:k].sum() + 0.5 * odds[0][k]) for k in range(len(steps))]
    posterior = np.exp(ln) * norm(0, 2.0).pdf(steps)
    posterior /= posterior.sum()
    mean = (posterior * steps).sum()
    variance = (posterior * steps**2).sum() - mean**2
    prior = norm(0, 2.0).pdf(steps)
    before = (prior / prior.sum() * steps**2).sum()
    np.testing.assert_allclose(precision, 1 / variance - 1 / before, rtol=1e-9)
    np.testing.assert_allclose(place, mean / variance / precision, rtol=1e-9)
    assert 1.4 < place[0] < 2.4
    nothing, unknown = _locate(np.zeros_like(odds), steps, settings)
    assert nothing == 0
    assert unknown == 0


def test_a_thicker_finger_moves_nobody():
    """All around, skin goes on for 1.5 px more: with many points nothing is left of that, with a shift all."""
    std, parts = np.full(200, 0.5), np.repeat([0, 1], 100)
    angle = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    shifted = np.tile(0.9 * np.cos(angle), 2)
    left = _without_thickness(shifted + 1.5, std, parts, SETTINGS)
    np.testing.assert_allclose(left, shifted, atol=0.01)
