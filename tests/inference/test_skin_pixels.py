"""Which pixels show the hand: by color, by what is beside it, and by how well the mesh is known to lie."""

from functools import cache

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.stats import norm

from amvur.hand.loading import load_hand_model
from amvur.hand.model import HandModel
from amvur.inference.regressed_texture import pixel_equations
from amvur.inference.skin_pixels import (
    FitSettings,
    Surroundings,
    depth_inside,
    skin_pixels,
    skin_probability,
)
from amvur.inference.vertex_evidence import look_at_hand

CAMERA = np.array([[420.0, 0, 160], [0, 420.0, 120], [0, 0, 1]])


@cache
def view_of(color):
    """An open hand before a picture of one color."""
    model = HandModel(load_hand_model("open"))
    turn = torch.tensor([[0.3, 0.5, 1.2]])
    mesh = model(turn, torch.zeros(1, 45), torch.zeros(1, 10), torch.tensor([[-0.004, 0.076, 0.45]]))
    image = np.full((240, 320, 3), color, dtype=np.uint8)
    return look_at_hand(image, mesh.vertices[0].numpy(), model.faces.numpy(), CAMERA)


@pytest.mark.parametrize("corner", [(0, 0), (30, 11), (48, 52)])  # two of them at the picture's end
def test_depth_inside_of_a_mask_is_that_in_the_whole_picture(corner):
    blob = gaussian_filter(np.random.default_rng(4).normal(size=(32, 28)), 3.0) > -0.02
    mask = np.zeros((80, 80), dtype=bool)
    mask[corner[0] : corner[0] + 32, corner[1] : corner[1] + 28] = blob
    np.testing.assert_array_equal(depth_inside(mask), distance_transform_edt(mask)[mask] - 0.5)
    assert depth_inside(np.zeros_like(mask)).shape == (0,)


def test_pixels_that_differ_from_the_skin_are_told_from_it():
    mean, std = np.full((4, 3), 0.6), np.full(4, 0.05)
    pixels = np.array([[0.6] * 3, [0.7, 0.55, 0.6], [0.1, 0.9, 0.3], [0.6] * 3])
    skin = skin_probability(pixels, mean, std, np.array([0.9, 0.9, 0.9, 0.0]))
    assert skin[0] > 0.98
    assert skin[0] > skin[1] > 0.9
    assert skin[2] < 0.05
    assert skin[3] == 0
    fewer = skin_probability(pixels[:1], mean[:1], std[:1], np.array([0.3]))
    assert fewer < skin[0]


def test_the_probability_is_bayes_rule_within_the_limits_of_evidence():
    pixels, mean = np.array([[0.62, 0.58, 0.6]]), np.full((1, 3), 0.6)
    settings = FitSettings(detail=0.03, evidence=50.0)
    density = norm(mean, np.hypot(0.05, 0.03)).pdf(pixels).prod(1)
    wanted = 0.4 * density / (0.4 * density + 0.6 * 7.0)
    found = skin_probability(pixels, mean, np.array([0.05]), np.array([0.4]), np.array([7.0]), settings)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    limited = FitSettings(evidence=1.0)
    found = skin_probability(pixels + 0.4, mean, np.array([0.05]), np.array([0.5]), 1.0, limited)
    np.testing.assert_allclose(found, 1 / (1 + np.e), rtol=1e-9)


def test_colors_beside_the_hand_are_gathered_near_by():
    """Left of the covered square the picture is red, right of it blue: against weighted means, pixel by pixel."""
    rng = np.random.default_rng(0)
    image = np.full((224, 224, 3), 0.1)
    image[:, :112, 0], image[:, 112:, 2] = 0.9, 0.9
    image += rng.normal(size=image.shape) * 0.02
    mask = np.zeros((224, 224), dtype=bool)
    mask[80:144, 80:144] = True
    settings = FitSettings(reach_px=(12.0,), any_color=0.25, least_std=0.05)
    surroundings = Surroundings(torch.from_numpy(image).permute(2, 0, 1).float(), torch.from_numpy(mask))
    found = surroundings.density(np.ones(mask.sum()), settings)

    def near(values):
        return gaussian_filter(values * ~mask, 12.0, mode="constant") / gaussian_filter(
            1.0 * ~mask, 12.0, mode="constant"
        )

    mean = np.stack([near(image[..., c]) for c in range(3)], -1)
    variance = near(np.square(image).sum(-1)) - np.square(mean).sum(-1)
    std = np.sqrt(variance / 3 + 0.05**2)
    wanted = 0.25 + 0.75 * norm(mean, std[..., None]).pdf(image).prod(-1)[mask]
    assert np.abs(np.log(found / wanted)).mean() < 0.25  # gathered in cells of 4 px
    y, x = mask.nonzero()
    assert found[x < 90].mean() > 3 * settings.any_color
    # a green thing before the hand: what is judged to be no skin is part of what lies beside it
    image[100:124, 100:124] = 0.1, 0.9, 0.1
    surroundings = Surroundings(torch.from_numpy(image).permute(2, 0, 1).float(), torch.from_numpy(mask))
    thing = (abs(y - 111.5) < 12) & (abs(x - 111.5) < 12)
    before, after = surroundings.density(np.ones(len(x))), surroundings.density(1.0 - thing)
    assert before[thing].max() < 0.5
    assert after[thing].min() > 10


@pytest.mark.parametrize("std_px", [0.0, 2.0, 6.0])
def test_where_colors_say_nothing_it_is_the_chance_to_lie_inside_of_the_outline(std_px):
    view = view_of((150, 150, 150))
    matrix, _ = pixel_equations(view)
    count = view.vertices.shape[1]
    settings = FitSettings(evidence=0.0, least_px=0.5)
    full = np.ones(count)
    found = skin_pixels(view, matrix, np.full((count, 3), 0.5), full, 0.9 * full, std_px * full, settings)
    # brute force: how far every pixel is from what the mesh does not cover
    mask = view.raster.mask[0].numpy()
    y, x = mask.nonzero()
    open_y, open_x = (~mask).nonzero()
    gap = np.hypot(np.subtract.outer(y[::37], open_y), np.subtract.outer(x[::37], open_x)).min(1) - 0.5
    wanted = 0.9 * norm.cdf(gap / np.hypot(std_px, 0.5))
    np.testing.assert_allclose(found[::37], wanted, atol=2e-3)


def test_outlines_are_mixtures_where_a_sure_mesh_decides():
    """Pixels unlike the skin: none is taken for it, but at the outline of a mesh that is known to lie well."""
    view = view_of((20, 200, 40))
    matrix, _ = pixel_equations(view)
    count = view.vertices.shape[1]
    full = np.ones(count)
    mean = np.tile([0.8, 0.6, 0.5], (count, 1))
    sure, unsure = (
        skin_pixels(view, matrix, mean, 0.05 * full, 0.9 * full, std * full) for std in (0.0, 6.0)
    )
    mask = view.raster.mask[0].numpy()
    inner = torch.nn.functional.avg_pool2d(torch.from_numpy(mask)[None].float(), 9, 1, 4)[0].numpy() > 0.999
    assert max(sure[inner[mask]].max(), unsure[inner[mask]].max()) < 0.1
    edge = torch.nn.functional.avg_pool2d(torch.from_numpy(mask)[None].float(), 3, 1, 1)[0].numpy() < 0.999
    assert sure[edge[mask]].mean() > 0.5
    assert unsure[edge[mask]].mean() < 0.2
