from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from amvur.errors import InputError
from amvur.hand.model import HandModel
from amvur.hand.open_hand import load_open_hand
from amvur.render import (
    Lighting,
    interpolate,
    linear_to_srgb,
    rasterize,
    render_hand,
    shade,
    srgb_to_linear,
    vertex_normals,
    visible_vertices,
)

HEIGHT, WIDTH = 61, 83
CAMERA = torch.tensor([[[90.0, 0.7, 40.3], [0.0, 88.0, 31.2], [0.0, 0.0, 1.0]]], dtype=torch.float64)


def pixel_camera() -> torch.Tensor:
    """A camera for which a point (x, y, 1) lies at the pixel (x, y)."""
    return torch.eye(3, dtype=torch.float64)[None]


def sphere(subdivisions: int = 3, radius: float = 0.15) -> tuple[torch.Tensor, torch.Tensor]:
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    return torch.tensor(mesh.vertices + np.array([0.01, -0.02, 0.6]))[None], torch.tensor(
        np.array(mesh.faces)
    )


def made_hand() -> tuple[torch.Tensor, torch.Tensor]:
    """A box with five capsules that cross each other: parts in front of parts, and intersections."""
    parts = [trimesh.creation.box((0.08, 0.09, 0.03))]
    for index in range(5):
        finger = trimesh.creation.capsule(height=0.07, radius=0.009, count=[12, 12])
        turn = trimesh.transformations.euler_matrix(1.2, 0.5 * index - 1, 0.3 * index)
        parts.append(
            finger.apply_transform(turn).apply_translation([0.02 * index - 0.04, -0.05, -0.01 * index])
        )
    mesh = trimesh.util.concatenate(parts)
    return torch.tensor(mesh.vertices + np.array([0.0, 0.02, 0.35]))[None], torch.tensor(np.array(mesh.faces))


def soup(seed: int, count: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """Random triangles: both windings, partly off the image and behind the camera, some degenerate."""
    rng = np.random.default_rng(seed)
    vertices = rng.normal(size=(count, 3)) * [0.3, 0.3, 0.3] + [0, 0, 0.6]
    return torch.tensor(vertices)[None], torch.tensor(rng.integers(0, count, (2 * count, 3)))


def open_hand() -> tuple[torch.Tensor, torch.Tensor]:
    """The open hand, fingers half bent, turned so that some of them hide behind others."""
    model = HandModel(load_open_hand(), dtype=torch.float64)
    generator = torch.Generator().manual_seed(3)
    pose = 0.4 * torch.randn(1, 45, generator=generator).double()
    orient, place = torch.tensor([[0.3, 1.9, 0.4]]).double(), torch.tensor([[0.0, 0.05, 0.4]]).double()
    mesh = model(orient, pose, torch.zeros(1, 10).double(), place)
    return mesh.vertices, model.faces


MESHES = {"sphere": sphere, "crossing": made_hand, "soup": lambda: soup(0), "open hand": open_hand}


def cast_rays(
    vertices: np.ndarray, faces: np.ndarray, directions: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Intersect rays from the origin with all triangles in 3D (Möller & Trumbore 1997).

    Returns the nearest triangle (-1: none), its z for directions with z = 1, and the least absolute
    barycentric over all triangles near the ray, which is small where rounding may decide.
    """
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    with np.errstate(all="ignore"):
        p = np.cross(directions[:, None], c - a)
        determinant = ((b - a) * p).sum(-1)
        u = (-a * p).sum(-1) / determinant
        q = np.cross(-a, b - a)
        v = (directions[:, None] * q).sum(-1) / determinant
        distance = ((c - a) * q).sum(-1) / determinant
    coordinates = np.nan_to_num(np.stack([u, v, 1 - u - v], -1), nan=-np.inf)
    drawn = (vertices[faces][..., 2] > 1e-3).all(1)
    hit = (coordinates >= 0).all(-1) & drawn
    distance = np.where(hit, distance, np.inf)
    margin = np.where((coordinates > -1e-6).all(-1), np.abs(coordinates).min(-1), np.inf).min(1)
    nearest = np.where(hit.any(1), distance.argmin(1), -1)
    return nearest, distance.min(1), margin


def pixel_directions(camera: torch.Tensor, height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width] + 0.5
    return np.stack([x, y, np.ones_like(x)], -1).reshape(-1, 3) @ np.linalg.inv(camera[0].numpy()).T


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("cull_backfaces", [False, True])
@pytest.mark.parametrize("name", MESHES)
def test_backends_agree(name: str, cull_backfaces: bool, dtype: torch.dtype) -> None:
    vertices, faces = MESHES[name]()
    vertices = torch.cat([vertices, vertices * 1.1 + 0.01]).to(dtype)
    arguments = (vertices, faces, CAMERA.expand(2, 3, 3).to(dtype), HEIGHT, WIDTH)
    reference = rasterize(*arguments, backend="torch", cull_backfaces=cull_backfaces)
    fast = rasterize(*arguments, backend="numba", cull_backfaces=cull_backfaces)
    assert reference.mask.any()
    assert torch.equal(reference.pix_to_face, fast.pix_to_face)
    assert torch.equal(reference.mask, fast.pix_to_face >= 0)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-9
    torch.testing.assert_close(reference.bary_coords, fast.bary_coords, atol=tolerance, rtol=0)
    torch.testing.assert_close(reference.zbuf, fast.zbuf, atol=tolerance, rtol=0)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), snap=st.booleans())
def test_backends_agree_on_any_soup(seed: int, snap: bool) -> None:
    vertices, faces = soup(seed, count=15)
    camera = CAMERA
    if snap:  # corners at pixel centres and few depths: edges through centres, and many ties
        vertices = (vertices * 20).round() + torch.tensor([10.5, 10.5, 0.0])
        vertices[..., 2] = vertices[..., 2].clamp_min(1) % 2 + 1
        vertices[..., :2] *= vertices[..., 2:]
        camera = pixel_camera()
    reference = rasterize(vertices, faces, camera, 24, 24, backend="torch")
    fast = rasterize(vertices, faces, camera, 24, 24, backend="numba")
    assert torch.equal(reference.pix_to_face, fast.pix_to_face)


def test_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    vertices, faces = made_hand()
    whole = rasterize(vertices, faces, CAMERA, HEIGHT, WIDTH, backend="torch")
    monkeypatch.setattr("amvur._raster_torch._CHUNK", 137)
    pieces = rasterize(vertices, faces, CAMERA, HEIGHT, WIDTH, backend="torch")
    assert torch.equal(whole.pix_to_face, pieces.pix_to_face)


@pytest.mark.parametrize("name", MESHES)
def test_agrees_with_rays(name: str) -> None:
    vertices, faces = MESHES[name]()
    height, width = 31, 42
    camera = CAMERA * torch.tensor([[0.5], [0.5], [1.0]], dtype=torch.float64)
    raster = rasterize(vertices, faces, camera, height, width)
    ids, depth, margin = cast_rays(
        vertices[0].numpy(), faces.numpy(), pixel_directions(camera, height, width)
    )
    clear = margin > 1e-9
    assert clear.mean() > 0.95
    assert (raster.pix_to_face.flatten().numpy() == ids)[clear].all()
    hit = clear & (ids >= 0)
    np.testing.assert_allclose(raster.zbuf.flatten().numpy()[hit], depth[hit], rtol=1e-9)


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_barycentrics_lead_back_to_the_pixel(backend: str) -> None:
    vertices, faces = made_hand()
    raster = rasterize(vertices, faces, CAMERA, HEIGHT, WIDTH, backend=backend)
    points = interpolate(raster, vertices, faces)[raster.mask]
    pixels = points @ CAMERA[0].T
    _, y, x = raster.mask.nonzero(as_tuple=True)
    torch.testing.assert_close(raster.bary_coords[raster.mask].sum(-1), torch.ones(len(x)).double())
    torch.testing.assert_close(pixels[:, 0] / pixels[:, 2], x.double() + 0.5, atol=1e-9, rtol=0)
    torch.testing.assert_close(pixels[:, 1] / pixels[:, 2], y.double() + 0.5, atol=1e-9, rtol=0)
    torch.testing.assert_close(raster.zbuf[raster.mask], points[:, 2])
    assert (raster.zbuf[~raster.mask] == -1).all()
    assert (raster.bary_coords[~raster.mask] == 0).all()


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_shared_edges_belong_to_the_lowest_id(backend: str) -> None:
    square = torch.tensor([[[0.5, 0.5, 1.0], [5.5, 0.5, 1.0], [5.5, 5.5, 1.0], [0.5, 5.5, 1.0]]]).double()
    for faces in ([[0, 1, 2], [0, 2, 3]], [[0, 2, 3], [0, 1, 2]], [[2, 0, 3], [1, 0, 2]]):
        raster = rasterize(square, torch.tensor(faces), pixel_camera(), 6, 6, backend=backend)
        assert raster.mask.all()
        assert (raster.pix_to_face[0].diagonal() == 0).all()
    tilted = square * torch.tensor([1.0, 1.1, 1.3, 1.2]).double()[:, None]
    raster = rasterize(tilted, torch.tensor([[0, 2, 3], [0, 1, 2]]), pixel_camera(), 6, 6, backend=backend)
    assert (raster.pix_to_face[0].diagonal() == 0).all()


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_nearest_wins_and_ties_go_to_the_lowest_id(backend: str) -> None:
    triangle = torch.tensor([[0.0, 0.0, 1.0], [8.0, 0.0, 1.0], [0.0, 8.0, 1.0]]).double()
    vertices = torch.cat([triangle * 2, triangle, triangle * 3])[None]
    faces = torch.tensor([[0, 1, 2], [6, 7, 8], [3, 4, 5], [3, 4, 5]])
    raster = rasterize(vertices, faces, pixel_camera(), 8, 8, backend=backend)
    assert set(raster.pix_to_face.unique().tolist()) == {-1, 2}
    torch.testing.assert_close(raster.zbuf[raster.mask], torch.ones_like(raster.zbuf[raster.mask]))


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_faces_that_cannot_be_drawn_are_skipped(backend: str) -> None:
    triangle = torch.tensor([[0.0, 0.0, 1.0], [8.0, 0.0, 1.0], [0.0, 8.0, 1.0]]).double()
    near = torch.tensor([[2.0, 2.0, 1.0], [2.0, 2.0, 0.0], [2.0, 2.0, torch.nan]]).double()
    vertices = torch.cat([triangle, -triangle, near])[None]
    faces = torch.tensor([[3, 4, 5], [0, 1, 7], [0, 1, 8], [0, 0, 1], [0, 1, 4], [0, 1, 2]])
    raster = rasterize(vertices, faces, pixel_camera(), 8, 8, backend=backend)
    assert set(raster.pix_to_face.unique().tolist()) == {-1, 5}
    for nothing in (faces[:5], faces[:0]):
        empty = rasterize(vertices, nothing, pixel_camera(), 8, 8, backend=backend)
        assert not empty.mask.any()
        assert interpolate(empty, vertices, nothing).abs().sum() == 0
        assert not visible_vertices(empty, nothing, 9).any()
    away = rasterize(
        vertices + torch.tensor([1e9, 0, 0]).double(), faces, pixel_camera(), 8, 8, backend=backend
    )
    assert not away.mask.any()


def test_backfaces() -> None:
    vertices, faces = sphere()
    whole = rasterize(vertices, faces, CAMERA, HEIGHT, WIDTH)
    front = rasterize(vertices, faces, CAMERA, HEIGHT, WIDTH, cull_backfaces=True)
    back = rasterize(vertices, faces.flip(1), CAMERA, HEIGHT, WIDTH, cull_backfaces=True)
    assert torch.equal(whole.pix_to_face, front.pix_to_face)
    assert (back.zbuf[back.mask & whole.mask] >= whole.zbuf[back.mask & whole.mask]).all()
    assert back.zbuf.max() > 0.7 > whole.zbuf.max()


def test_a_batch_is_its_images() -> None:
    vertices, faces = made_hand()
    batch = torch.cat([vertices, vertices + 0.02, vertices - torch.tensor([0, 0, 0.1])])
    cameras = torch.cat([CAMERA, CAMERA * 1.1, CAMERA])
    cameras[:, 2, 2] = 1
    together = rasterize(batch, faces, cameras, HEIGHT, WIDTH, backend="torch")
    colors = shade(together, batch, faces, batch.clamp(0, 1))
    for index in range(3):
        one = slice(index, index + 1)
        alone = rasterize(batch[one], faces, cameras[one], HEIGHT, WIDTH)
        assert torch.equal(alone.pix_to_face, together.pix_to_face[one])
        torch.testing.assert_close(shade(alone, batch[one], faces, batch[one].clamp(0, 1)), colors[one])


def test_gradients_reach_vertices_camera_and_attributes() -> None:
    vertices = torch.tensor([[[0.4, 0.3, 1.0], [5.9, 0.8, 1.2], [4.9, 6.2, 1.1], [0.8, 5.3, 0.9]]]).double()
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    attributes = torch.rand(1, 4, 2, generator=torch.Generator().manual_seed(0)).double()

    def buffers(vertices: torch.Tensor, camera: torch.Tensor, attributes: torch.Tensor) -> tuple:
        raster = rasterize(vertices, faces, camera, 6, 6)
        assert raster.mask.sum() > 10
        return raster.bary_coords, raster.zbuf, interpolate(raster, attributes, faces)

    inputs = [tensor.requires_grad_() for tensor in (vertices, pixel_camera(), attributes)]
    assert torch.autograd.gradcheck(buffers, inputs, eps=1e-7, atol=1e-6)


def test_gradient_of_shading_against_finite_differences() -> None:
    vertices, faces = sphere(subdivisions=1)
    colors = torch.full_like(vertices, 0.5)
    camera = CAMERA * torch.tensor([[0.3], [0.3], [1.0]])

    def total(vertices: torch.Tensor, colors: torch.Tensor) -> torch.Tensor:
        raster = rasterize(vertices, faces, camera, 20, 30)
        return shade(raster, vertices, faces, colors).square().sum()

    vertices.requires_grad_()
    colors.requires_grad_()
    assert torch.autograd.gradcheck(total, (vertices, colors), eps=1e-7, fast_mode=True)


def test_gradients_stay_finite_beside_impossible_vertices() -> None:
    vertices, faces = sphere(subdivisions=1)
    vertices = torch.cat([vertices, torch.zeros(1, 1, 3)], 1).requires_grad_()
    faces = torch.cat([faces, torch.tensor([[0, 1, vertices.shape[1] - 1]])])
    black = torch.zeros_like(vertices).requires_grad_()
    raster = rasterize(vertices, faces, CAMERA, HEIGHT, WIDTH)
    (shade(raster, vertices, faces, black).sum() + raster.zbuf.sum()).backward()
    for leaf in (vertices, black):
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()


@pytest.mark.parametrize("name", ["sphere", "crossing", "open hand"])
def test_visible_vertices_against_rays(name: str) -> None:
    vertices, faces = MESHES[name]()
    camera = torch.tensor([[[900.0, 0, 400], [0, 900, 400], [0, 0, 1]]]).double()
    raster = rasterize(vertices, faces, camera, 800, 800)
    visible = visible_vertices(raster, faces, vertices.shape[1])[0].numpy()
    points = vertices[0].numpy()
    directions = points / points[:, 2:]
    _, depth, _ = cast_rays(points, faces.numpy(), directions)
    seen = depth > points[:, 2] * (1 - 1e-6)
    for offset in np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]]) / 900:
        # beside what lies before it, less than a pixel of a vertex's faces may show
        seen &= cast_rays(points, faces.numpy(), directions + offset)[1] > points[:, 2] - 0.01
    facing = (vertex_normals(vertices, faces)[0] * vertices[0]).sum(-1).numpy() < -0.1 * points[:, 2]
    assert (visible | ~seen | ~facing).all()
    if name == "sphere":
        # Only neighbours of visible vertices are visible beyond the horizon.
        horizon = (points - [0.01, -0.02, 0.6]) @ np.array([0.01, -0.02, 0.6]) / (0.15 * 0.6)
        assert horizon[visible].max() < 0.05


def test_vertex_normals_of_a_sphere_point_outward() -> None:
    vertices, faces = sphere(subdivisions=4)
    outward = (vertices - torch.tensor([0.01, -0.02, 0.6])) / 0.15
    assert (vertex_normals(vertices.float(), faces) - outward).norm(dim=-1).max() < 0.01
    lonely = torch.cat([vertices, torch.zeros(1, 1, 3)], 1)
    assert (vertex_normals(lonely, faces)[0, -1] == 0).all()


def test_srgb_known_values_and_inverse() -> None:
    torch.testing.assert_close(
        srgb_to_linear(torch.tensor([0.0, 0.04045, 0.5, 1.0])),
        torch.tensor([0.0, 0.0031308, 0.21404114, 1.0]),
        atol=1e-6,
        rtol=0,
    )
    x = torch.linspace(0, 1, 101).double()
    torch.testing.assert_close(linear_to_srgb(srgb_to_linear(x)), x, atol=1e-6, rtol=0)


def test_shading_of_a_facing_square() -> None:
    square = torch.tensor([[[0.0, 0.0, 1.0], [6.0, 0.0, 1.0], [6.0, 6.0, 1.0], [0.0, 6.0, 1.0]]])
    faces = torch.tensor([[0, 2, 1], [0, 3, 2]])
    colors = torch.tensor([0.8, 0.6, 0.5]).expand(1, 4, 3)
    light = Lighting(
        directions=torch.tensor([[[0.0, 3.0**0.5, -1.0]]]),
        intensities=torch.ones(1, 1, 3),
        ambient=torch.full((1, 3), 0.25),
        specular=0.0,
    )
    for order in (faces, faces.flip(1)):  # the inside is lit like the outside
        raster = rasterize(square, order, pixel_camera().float(), 6, 6)
        image = shade(raster, square, order, colors, lighting=light)
        expected = linear_to_srgb(srgb_to_linear(colors[0, 0]) * 0.75)  # 0.25 + cos 60°
        torch.testing.assert_close(image, expected.expand(1, 6, 6, 3))


def test_render_hand_is_antialiased_and_not_premultiplied() -> None:
    square = torch.tensor([[[0.0, 0.0, 1.0], [2.5, 0.0, 1.0], [2.5, 4.0, 1.0], [0.0, 4.0, 1.0]]])
    faces = torch.tensor([[0, 2, 1], [0, 3, 2]])
    colors = torch.full((1, 4, 3), 0.5)
    light = Lighting(torch.ones(1, 1, 3), torch.zeros(1, 1, 3), torch.ones(1, 3))
    image, alpha = render_hand(square, faces, pixel_camera().float(), colors, 4, 4, lighting=light)
    torch.testing.assert_close(alpha[0, 0], torch.tensor([1.0, 1.0, 0.5, 0.0]))
    torch.testing.assert_close(image[0, 0, :3], torch.full((3, 3), 0.5))
    assert image[0, :, 3].abs().sum() == 0


def test_numba_refuses_other_devices() -> None:
    vertices, faces = sphere(subdivisions=0)
    with pytest.raises(InputError, match="backend='auto'"):
        rasterize(vertices.to("meta"), faces, CAMERA, 4, 4, backend="numba")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", MESHES)
def test_cuda_agrees_with_cpu(name: str) -> None:
    vertices, faces = MESHES[name]()
    cpu = rasterize(vertices, faces, CAMERA, HEIGHT, WIDTH)
    cuda = rasterize(vertices.cuda(), faces.cuda(), CAMERA.cuda(), HEIGHT, WIDTH)
    assert torch.equal(cpu.pix_to_face, cuda.pix_to_face.cpu())


def test_importing_does_not_import_numba() -> None:
    code = "import sys, amvur.render; sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
