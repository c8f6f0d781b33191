"""Sampling and pooling at vertices against torch's, and that none of it needs torch."""

import os
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F
from test_hand_view import look

from amvur.hand.loading import load_hand_model
from amvur.inference.texture.evidence import sample_map, vertex_evidence
from amvur.render import vertex_normals


@pytest.mark.parametrize("shape", [(3, 224, 224), (5, 28, 14), (2, 1, 7)])
def test_a_map_is_sampled_as_torch_does_also_beyond_its_edge(shape, rng):
    values = rng.normal(size=shape).astype(np.float32)
    places = rng.uniform(-0.3, 1.3, (500, 2)).astype(np.float32)
    places[:4] = [[0, 0], [1, 1], [0, 1], [0.5, 0.5]]
    grid = torch.from_numpy(places * 2 - 1)[None, :, None]
    wanted = F.grid_sample(torch.from_numpy(values)[None], grid, padding_mode="border", align_corners=False)
    np.testing.assert_allclose(sample_map(values, places), wanted[0, ..., 0].T, atol=2e-4)
    backwards = np.ascontiguousarray(values[:, ::-1])[:, ::-1]
    np.testing.assert_array_equal(sample_map(backwards, places), sample_map(values, places))


def in_torch(view, template, maps):
    """The evidence by torch's own pooling and sampling."""
    image = torch.tensor(view.picture).permute(2, 0, 1)[None] / 255
    vertices, pixels = torch.from_numpy(view.vertices)[None], torch.from_numpy(view.pixels)[None]
    grid = (pixels / view.crop.size_px * 2 - 1)[:, :, None]

    def sampled(values):
        found = F.grid_sample(values.float(), grid, padding_mode="border", align_corners=False)
        return found[0, ..., 0].T

    mask, depth = torch.from_numpy(view.raster.mask), torch.from_numpy(view.raster.zbuf)
    near = F.avg_pool2d(mask[None, None].float(), 8, 4, 2)
    front = -F.max_pool2d(-torch.where(mask, depth, torch.inf)[None, None], 8, 4, 2)
    ahead = sampled(front.clamp_max(vertices[..., 2].amax()))
    normals = vertex_normals(vertices, torch.from_numpy(view.faces))
    told = [
        *(sampled(torch.from_numpy(m)[None]) for m in maps),
        *(sampled(F.avg_pool2d(image, k)) for k in (8, 32)),
        torch.from_numpy((template - template.mean(0)) / 0.1),
        (vertices - vertices.mean(1, keepdim=True))[0] / 0.1,
        normals[0],
        -(normals * F.normalize(vertices, dim=-1)).sum(-1)[0, :, None],
        sampled(near),
        sampled(F.avg_pool2d(near, 7, 1, 3)),
        ((vertices[0, :, 2:] - ahead) / 0.01).clamp(-1, 5),
        torch.from_numpy(view.visible)[:, None],
    ]
    return torch.cat(told, 1).float().numpy(), sampled(image).numpy()


def test_evidence_is_what_torch_makes_of_the_same_view(rng):
    view, template = look(), load_hand_model("open").v_template.astype(np.float32)
    maps = tuple(rng.normal(size=(c, s, s)).astype(np.float32) for c, s in ((4, 112), (6, 56), (9, 14)))
    found = vertex_evidence(view, template, maps)
    features, colors = in_torch(view, template, maps)
    np.testing.assert_allclose(found.features, features, atol=2e-4)
    np.testing.assert_allclose(found.colors, colors, atol=2e-5)
    np.testing.assert_allclose(found.pooled, maps[-1].mean((1, 2)), atol=1e-6)


WITHOUT_TORCH = """
import sys
import numpy as np
import amvur.inference.assemble, amvur.inference.silhouette.finder, amvur.inference.texture.texturing
from amvur.hand.loading import load_hand_model
from amvur.hand.texture_coordinates import load_texture_coordinates
from amvur.inference.texture.regression import Texture
from amvur.inference.silhouette.segmentation import outline_hints
from amvur.inference.texture.sampling import sample_vertex_colors
from amvur.inference.texture.atlas import bake
from amvur.inference.texture.evidence import vertex_evidence
from amvur.inference.view import look_at_hand
from amvur.viewer import draw_overlay
from factories import make_hand

hand = make_hand(3)
arrays = load_hand_model("open")
vertices = (arrays.v_template + [0, 0, 0.5]).astype(np.float32)
camera = np.array([[420.0, 0, 160], [0, 420.0, 120], [0, 0, 1]])
picture = np.full((240, 320, 3), 120, dtype=np.uint8)
seen = (picture, vertices, arrays.faces, camera)
texture = Texture(*sample_vertex_colors(*seen))
assert texture.visible.any()
bake(*seen, texture, load_texture_coordinates("open"), 64)
view = look_at_hand(*seen)
vertex_evidence(view, arrays.v_template, (np.zeros((2, 14, 14), np.float32),))
outline_hints(view, 2.0)
draw_overlay(picture, [hand])
sys.exit("torch" in sys.modules)
"""


def test_textures_outlines_and_overlays_need_no_torch():
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}  # `factories` too
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH], env=os.environ | paths, check=True)
