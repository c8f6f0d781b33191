"""Losses of colors against torch.distributions and by hand; eq. 12's gradients through the renderer."""

import pytest
import torch
from torch.distributions import Normal

from amvur.losses import color_negative_log_likelihood, masked_color_error
from amvur.render import interpolate, rasterize


def test_likelihood_is_that_of_three_channels_with_one_scale():
    colors, target, scale = torch.rand(4, 6, 3), torch.rand(4, 6, 3), torch.rand(4, 6) + 0.1
    ours = color_negative_log_likelihood(colors, scale, target, beta=0.0)
    for channel in range(3):
        single = -Normal(colors[..., channel], scale).log_prob(target[..., channel]) / 3
        ours = ours - single
    assert ours.abs().max() < 1e-5


def test_only_pixels_inside_the_mask_count():
    rendered, image = torch.zeros(2, 2, 3), torch.ones(2, 2, 3)
    mask = torch.tensor([[1.0, 0.0], [0.0, 0.5]])
    torch.testing.assert_close(masked_color_error(rendered, image, mask), 3 * mask)


@pytest.fixture
def triangle():
    vertices = torch.tensor([[[-0.1, -0.1, 0.5], [0.12, -0.08, 0.55], [0.0, 0.13, 0.6]]], dtype=torch.float64)
    camera = torch.tensor([[[100.0, 0, 16], [0, 100.0, 16], [0, 0, 1]]], dtype=torch.float64)
    return vertices, torch.tensor([[0, 1, 2]]), camera


def test_gradients_reach_colors_and_vertices_through_barycentrics(triangle):
    vertices, faces, camera = triangle
    colors = torch.tensor([[[0.9, 0.1, 0.2], [0.2, 0.8, 0.3], [0.1, 0.3, 0.7]]], dtype=torch.float64)
    image = torch.rand(1, 32, 32, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    fixed = rasterize(vertices, faces, camera, 32, 32).mask

    def loss(vertices, colors):
        raster = rasterize(vertices, faces, camera, 32, 32)
        mask = (raster.mask & fixed).double()
        return masked_color_error(interpolate(raster, colors, faces), image, mask).sum()

    moved, painted = vertices.clone().requires_grad_(), colors.clone().requires_grad_()
    loss(moved, painted).backward()
    step = 1e-6
    for leaf, place in ((0, (0, 0, 1)), (0, (0, 2, 2)), (1, (0, 1, 0)), (1, (0, 2, 2))):
        values = [vertices.clone(), colors.clone()]
        values[leaf][place] += step
        high = loss(*values)
        values[leaf][place] -= 2 * step
        numeric = float(high - loss(*values)) / (2 * step)
        analytic = float((moved, painted)[leaf].grad[place])
        assert abs(numeric) > 1e-3
        assert analytic == pytest.approx(numeric, rel=1e-4)
