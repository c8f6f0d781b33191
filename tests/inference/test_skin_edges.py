"""Where a picture shows the outline of a hand: on renders whose outline is known."""

from functools import cache

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import norm

from amvur.hand.loading import load_hand_model
from amvur.hand.model import HandModel
from amvur.inference.outline import parts_of
from amvur.inference.silhouette.segmentation import shipped_segmentation
from amvur.inference.skin_edges import EdgeSettings, _locate, _without_thickness, find_edges
from amvur.inference.vertex_evidence import look_at_hand
from amvur.render import rasterize

CAMERA = np.array([[420.0, 0, 160], [0, 420.0, 120], [0, 0, 1]])
SKIN, TABLE = np.array([200, 140, 110]), np.array([70, 110, 150])
SETTINGS = EdgeSettings()
ALL = np.ones((SETTINGS.crop_px, SETTINGS.crop_px), bool)


@cache
def hand():
    model = HandModel(load_hand_model("open"))
    turn = torch.tensor([[0.3, 0.5, 1.2]])
    mesh = model(turn, torch.zeros(1, 45), torch.zeros(1, 10), torch.tensor([[-0.004, 0.076, 0.45]]))
    return model, mesh.vertices


def photograph(table=TABLE, noise=8.0):
    """The hand in one color before a table of another, with noise."""
    model, vertices = hand()
    camera = torch.as_tensor(CAMERA).float()[None]
    mask = rasterize(vertices, model.faces, camera, 240, 320).mask[0].numpy()
    picture = np.where(mask[..., None], SKIN, table).astype(float)
    picture = gaussian_filter(picture, (0.6, 0.6, 0))
    picture += noise * np.random.default_rng(0).normal(size=picture.shape)
    return picture.clip(0, 255).astype(np.uint8)


def edges_of(image, shift_m=(0.0, 0.0, 0.0), settings=SETTINGS, inside=ALL):
    """What is found from a mesh that lies `shift_m` beside the hand, and the view of it."""
    model, vertices = hand()
    points = vertices[0].numpy() + np.array(shift_m)
    view = look_at_hand(image, points, model.faces.numpy(), CAMERA, size_px=settings.crop_px)
    return find_edges(view, inside, parts_of(model), settings), view


def test_a_mesh_in_its_place_is_left_there():
    edges, _ = edges_of(photograph())
    assert len(edges.vertex) > 80
    assert abs(np.average(edges.beyond_px, weights=edges.std_px**-2)) < 0.3
    assert np.quantile(np.abs(edges.beyond_px), 0.8) < 1.0


@pytest.mark.parametrize("shift_m", [(0.004, 0.0, 0.0), (-0.003, 0.004, 0.0)])
def test_a_mesh_beside_the_hand_is_told_which_way_to_go(shift_m):
    """Least squares of the distances along the normals is the shift, in pixels of the crop, if nothing of it
    is taken for thickness."""
    edges, view = edges_of(photograph(), shift_m, EdgeSettings(thickness_std_px=0.01))
    weighted = edges.normal / edges.std_px[:, None]
    found, *_ = np.linalg.lstsq(weighted, edges.beyond_px / edges.std_px, rcond=None)
    wanted = -np.array(shift_m[:2]) * CAMERA[0, 0] / 0.45 / view.pixel_px
    np.testing.assert_allclose(found, wanted, atol=0.2 * np.linalg.norm(wanted))


def test_colors_alike_say_nothing():
    edges, _ = edges_of(photograph(table=SKIN))
    assert len(edges.vertex) < 20
    clear, _ = edges_of(photograph())
    assert (edges.std_px**-2).sum() < 0.05 * (clear.std_px**-2).sum()


def test_a_segmentation_finds_the_shift_too():
    image, shift_m = photograph(), (0.004, 0.0, 0.0)
    model, vertices = hand()
    points = vertices[0].numpy() + np.array(shift_m)
    view = look_at_hand(image, points, model.faces.numpy(), CAMERA)
    std_px = SETTINGS.mesh_std_px * view.crop.size_px / SETTINGS.crop_px
    pixels = shipped_segmentation()(view, std_px)
    inside = np.ones(pixels.depth_px.shape, bool)
    edges = find_edges(view, inside, parts_of(model), EdgeSettings(thickness_std_px=0.01), pixels)
    weighted = edges.normal / edges.std_px[:, None]
    found, *_ = np.linalg.lstsq(weighted, edges.beyond_px / edges.std_px, rcond=None)
    wanted = -shift_m[0] * CAMERA[0, 0] / 0.45 / view.pixel_px
    np.testing.assert_allclose(found, [wanted, 0], atol=0.3 * abs(wanted))


def test_beyond_the_photograph_nothing_is_known():
    inside = ALL.copy()
    inside[:, :64] = False
    edges, view = edges_of(photograph(), inside=inside)
    assert len(edges.vertex)
    assert (view.pixels[0].numpy()[edges.vertex, 0] > 62).all()


def test_the_arm_is_no_outline():
    model, _ = hand()
    parts = parts_of(model)
    assert set(np.unique(parts)) == {-1, 0, 1, 2, 3, 4, 5}
    assert (parts == -1).sum() > 20
    assert (parts[np.asarray(load_hand_model("open").tip_vertices)] > 0).all()
    edges, _ = edges_of(photograph())
    assert (parts[edges.vertex] >= 0).all()


def test_the_place_is_the_posteriors_less_the_prior():
    """Against a sum over all places by hand: Gaussian colors' log odds, prior N(0, mesh_std)."""
    settings = EdgeSettings(temper=1.0, mesh_std_px=2.0, search_px=8.0)
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
