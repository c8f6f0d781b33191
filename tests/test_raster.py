"""The numpy rasteriser against the torch reference, mesh by mesh, and what imports torch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from test_render import CAMERA, HEIGHT, MESHES, WIDTH, soup

from amvur import raster, render


def both(vertices: torch.Tensor, faces: torch.Tensor, cull: bool) -> tuple[raster.Raster, render.Raster]:
    size = (HEIGHT, WIDTH)
    ours = raster.rasterize(vertices[0].numpy(), faces.numpy(), CAMERA[0].numpy(), *size, cull_backfaces=cull)
    theirs = render.rasterize(vertices, faces, CAMERA, *size, backend="torch", cull_backfaces=cull)
    return ours, theirs


@pytest.mark.parametrize("cull", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", MESHES)
def test_a_raster_is_that_of_the_torch_reference(name: str, dtype: torch.dtype, cull: bool) -> None:
    vertices, faces = MESHES[name]()
    vertices = vertices.to(dtype)
    ours, theirs = both(vertices, faces, cull)
    np.testing.assert_array_equal(ours.pix_to_face, theirs.pix_to_face[0])
    np.testing.assert_array_equal(ours.mask, theirs.mask[0])
    assert ours.bary_coords.dtype == ours.zbuf.dtype == vertices.numpy().dtype
    np.testing.assert_allclose(ours.bary_coords, theirs.bary_coords[0], atol=1e-6)
    np.testing.assert_allclose(ours.zbuf, theirs.zbuf[0], atol=1e-6)


@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_ids_agree_for_any_triangles(seed: int) -> None:
    ours, theirs = both(*soup(seed), False)
    np.testing.assert_array_equal(ours.pix_to_face, theirs.pix_to_face[0])


def test_vertices_that_are_not_finite_draw_nothing() -> None:
    vertices, faces = soup(3)
    for value in (np.nan, np.inf, -np.inf, 0.0, 1e300):
        changed = vertices.clone()
        changed[0, ::3] = value
        ours, theirs = both(changed, faces, False)
        np.testing.assert_array_equal(ours.pix_to_face, theirs.pix_to_face[0])
        assert np.isfinite(ours.zbuf).all()


def test_a_left_hands_turned_faces_of_another_type_may_be_views() -> None:
    vertices, faces = MESHES["open hand"]()
    turned = np.asarray(faces, dtype=np.int32)[:, ::-1]
    turned.setflags(write=False)
    ours = raster.rasterize(vertices[0].numpy(), turned, CAMERA[0].numpy(), HEIGHT, WIDTH)
    theirs = render.rasterize(vertices, faces, CAMERA, HEIGHT, WIDTH)
    np.testing.assert_array_equal(ours.mask, theirs.mask[0])


@pytest.mark.parametrize("name", MESHES)
def test_what_follows_from_a_raster_is_torchs(name: str) -> None:
    vertices, faces = MESHES[name]()
    mesh, triangles, count = vertices[0].numpy(), faces.numpy(), vertices.shape[1]
    ours, theirs = both(vertices, faces, False)
    seen = raster.visible_vertices(ours, triangles, count)
    np.testing.assert_array_equal(seen, render.visible_vertices(theirs, faces, count)[0])
    attributes = np.random.default_rng(1).normal(size=(count, 4))
    picture = raster.interpolate(ours, attributes, triangles)
    wanted = render.interpolate(theirs, torch.from_numpy(attributes)[None], faces)[0]
    np.testing.assert_allclose(picture, wanted, atol=1e-9)
    normals = raster.vertex_normals(mesh, triangles)
    np.testing.assert_allclose(normals, render.vertex_normals(vertices, faces)[0], atol=1e-12)
    culled = both(vertices, faces, True)[0]
    outside = raster.seen_from_outside(mesh, triangles)
    assert outside[culled.pix_to_face[culled.mask]].all()
