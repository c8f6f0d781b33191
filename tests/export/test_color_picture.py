"""Vertex colors as a texture picture."""

import numpy as np
import pytest
from factories import make_hand
from scipy.ndimage import map_coordinates

from amvur.export.color_picture import color_picture

FACES = make_hand(0).faces
COUNT = len(make_hand(0).vertices)


def sample(texture, uv):
    """Colors at points of the unit square, bilinearly, as programs sample pictures."""
    x, y = uv.T * len(texture.pixels) - 0.5
    channels = np.moveaxis(texture.pixels / 255.0, -1, 0)
    return np.stack([map_coordinates(c, [y, x], order=1, mode="nearest") for c in channels], -1)


def colors_of(kind, rng):
    along = rng.uniform(size=(COUNT, 1))
    return {
        "one color": np.full((COUNT, 3), 0.6),
        "two colors": np.where(along < 0.5, [0.9, 0.1, 0.1], [0.1, 0.2, 0.9]),
        "gray": np.repeat(along, 3, 1),
        "any": rng.uniform(size=(COUNT, 3)),
        "black and white": np.round(rng.uniform(size=(COUNT, 3))),
        "one stands out": np.vstack([[[1, 1, 1]], 0.5 + 0.01 * rng.normal(size=(COUNT - 1, 3))]),
    }[kind]


@pytest.mark.parametrize(
    "kind", ["one color", "two colors", "gray", "any", "black and white", "one stands out"]
)
def test_every_vertex_has_its_color_exactly(kind, rng):
    colors = colors_of(kind, rng)
    texture = color_picture(colors, FACES)
    assert texture.uv.min() > 0
    assert texture.uv.max() < 1
    np.testing.assert_allclose(sample(texture, texture.uv), colors, atol=0.5001 / 255)
    np.testing.assert_array_equal(texture.vertices, np.arange(COUNT))


def test_colors_change_evenly_from_corner_to_corner(rng):
    """Skin: its colors differ in two directions, hardly in the third."""
    directions = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    colors = 0.6 + rng.normal(size=(COUNT, 3)) * [0.12, 0.02, 0.002] @ directions
    texture = color_picture(colors, FACES)
    middles = sample(texture, texture.uv[FACES].mean(1))
    errors = np.abs(middles - colors[FACES].mean(1)).max(1)
    assert np.percentile(errors, 95) < 0.015
