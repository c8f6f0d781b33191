from __future__ import annotations

import numpy as np
import pytest
import trimesh

torch = pytest.importorskip("torch")

from amvur.inference.texture.sampling import SKIN_COLOR, sample_vertex_colors
from amvur.render import Lighting, render_hand

SKIN = np.array([0.75, 0.55, 0.45])
BLUE = np.array([0.1, 0.3, 0.9])
UNLIT = Lighting(torch.ones(1, 1, 3), torch.zeros(1, 1, 3), torch.ones(1, 3))
CENTER = np.array([0.01, 0.0, 0.5])


def camera(width: int, height: int, focal: float) -> np.ndarray:
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])


def sphere() -> tuple[np.ndarray, np.ndarray]:
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=0.08)
    return (mesh.vertices + CENTER).astype(np.float32), np.array(mesh.faces)


def finger() -> tuple[np.ndarray, np.ndarray]:
    """An upright capsule 8 cm long and 1.6 cm thick."""
    mesh = trimesh.creation.capsule(height=0.064, radius=0.008, count=[16, 16])
    mesh = mesh.apply_transform(trimesh.transformations.euler_matrix(np.pi / 2, 0, 0)).subdivide()
    mesh.apply_translation([0, 0, 0.4] - mesh.bounds.mean(0))
    return mesh.vertices.astype(np.float32), np.array(mesh.faces)


def photograph(
    mesh: tuple[np.ndarray, np.ndarray], colors: np.ndarray, intrinsics: np.ndarray, width: int, height: int
) -> np.ndarray:
    """An unlit picture of the painted mesh on a blue background."""
    vertices, faces = mesh
    image, alpha = render_hand(
        torch.from_numpy(vertices)[None],
        torch.from_numpy(faces),
        torch.from_numpy(intrinsics).float()[None],
        torch.from_numpy(colors.astype(np.float32))[None],
        height,
        width,
        lighting=UNLIT,
    )
    alpha = alpha[0, ..., None].numpy()
    return np.round(255 * (alpha * image[0].numpy() + (1 - alpha) * BLUE)).astype(np.uint8)


def gradual_skin(vertices: np.ndarray) -> np.ndarray:
    return SKIN + 0.1 * np.sin((vertices - vertices.mean(0)) / 0.08 * 1.5)


@pytest.mark.parametrize(("width", "height", "focal"), [(320, 240, 500.0), (1600, 1200, 2800.0)])
def test_colors_of_a_painted_sphere(width: int, height: int, focal: float) -> None:
    mesh = sphere()
    painted = gradual_skin(mesh[0])
    intrinsics = camera(width, height, focal)
    colors, visible = sample_vertex_colors(
        photograph(mesh, painted, intrinsics, width, height), *mesh, intrinsics
    )
    assert colors.dtype == np.float32
    # The cosine between the outward normal and the ray, but for the sphere's extent.
    facing = ((mesh[0] - CENTER) * mesh[0]).sum(1) / (0.08 * 0.5)
    assert visible[facing < -0.03].all()
    assert not visible[facing > 0.1].any()
    sampled = visible & (facing < -0.45)
    assert np.abs(colors - painted)[sampled].max() <= 0.02
    assert np.abs(colors - painted)[visible].mean() <= 0.02
    hidden = colors[~visible]
    assert np.isfinite(hidden).all()
    assert np.abs(hidden.mean(0) - painted[visible].mean(0)).max() < 0.03
    assert (hidden[:, 2] < 0.6).all(), "the blue background reached the far side"


def test_a_mesh_that_is_a_few_pixels_off_does_not_pick_up_the_background() -> None:
    mesh = sphere()
    intrinsics = camera(320, 240, 500.0)
    image = photograph(mesh, gradual_skin(mesh[0]), intrinsics, 320, 240)
    off = intrinsics.copy()
    off[0, 2] += 4
    colors, _ = sample_vertex_colors(image, *mesh, off)
    assert np.abs(colors - gradual_skin(mesh[0])).mean() < 0.05
    assert colors[:, 2].max() < 0.65


def test_a_ring_in_the_middle_of_the_hand_is_kept() -> None:
    mesh = sphere()
    painted = gradual_skin(mesh[0])
    ring = np.linalg.norm(mesh[0] - (CENTER - [0, 0, 0.08]), axis=1) < 0.02
    painted[ring] = BLUE
    intrinsics = camera(320, 240, 500.0)
    colors, _ = sample_vertex_colors(photograph(mesh, painted, intrinsics, 320, 240), *mesh, intrinsics)
    core = np.linalg.norm(mesh[0] - (CENTER - [0, 0, 0.08]), axis=1) < 0.012
    assert np.abs(colors[core] - BLUE).max() < 0.05


def test_the_far_side_of_a_finger_takes_the_color_of_its_near_side() -> None:
    mesh = finger()
    vertices = mesh[0]
    along = vertices[:, 1] / 0.08
    painted = SKIN + 0.3 * np.stack([along, 0 * along, -along], -1)
    intrinsics = camera(320, 240, 900.0)
    colors, visible = sample_vertex_colors(photograph(mesh, painted, intrinsics, 320, 240), *mesh, intrinsics)
    assert 0.3 < visible.mean() < 0.7
    assert np.abs(colors - painted)[~visible].mean() < 0.03


def test_vertices_outside_the_image_are_not_visible() -> None:
    mesh = sphere()
    intrinsics = camera(320, 240, 500.0)
    image = photograph(mesh, gradual_skin(mesh[0]), intrinsics, 320, 240)[:, :165]
    colors, visible = sample_vertex_colors(image, *mesh, intrinsics)
    x = 500 * mesh[0][:, 0] / mesh[0][:, 2] + 160
    assert visible.any()
    assert (x[visible] <= 165).all()
    assert np.isfinite(colors).all()
    assert (colors[:, 2] < 0.65).all()


@pytest.mark.parametrize("offset", [[5.0, 0, 0], [0, 0, -1.0], [0, 0, -0.5]])
def test_nothing_visible_gives_skin(offset: list[float]) -> None:
    vertices, faces = sphere()
    vertices = vertices + np.array(offset, dtype=np.float32)
    if offset == [0, 0, -0.5]:  # around the camera, which sees the inside only
        vertices = vertices + np.array([0, 0, 0.01], dtype=np.float32)
    image = np.zeros((240, 320, 3), dtype=np.uint8)
    colors, visible = sample_vertex_colors(image, vertices, faces, camera(320, 240, 500.0))
    assert not visible.any()
    assert (colors == np.array(SKIN_COLOR, dtype=np.float32)).all()


def test_a_hand_of_a_few_pixels_gets_colors() -> None:
    mesh = sphere()
    intrinsics = camera(320, 240, 12.0)
    image = photograph(mesh, gradual_skin(mesh[0]), intrinsics, 320, 240)
    colors, visible = sample_vertex_colors(image, *mesh, intrinsics)
    assert visible.any()
    assert np.isfinite(colors).all()
    assert colors.min() >= 0
    assert colors.max() <= 1


def test_a_part_that_nothing_reaches_gets_the_mean() -> None:
    vertices, faces = sphere()
    lonely = np.vstack([vertices, [[0, 0, 3.0]]]).astype(np.float32)
    intrinsics = camera(320, 240, 500.0)
    image = photograph((vertices, faces), np.tile(SKIN, (len(vertices), 1)), intrinsics, 320, 240)
    colors, visible = sample_vertex_colors(image, lonely, faces, intrinsics)
    assert not visible[-1]
    np.testing.assert_allclose(colors[-1], SKIN, atol=0.02)
