"""OBJ and PLY files, read back by trimesh."""

import numpy as np
import pytest
import trimesh
from factories import make_hand

from amvur.errors import OutputError
from amvur.export import write_obj, write_ply
from amvur.export.mesh import linear_from_srgb, srgb_from_linear

HALF_TURN = np.array([1.0, -1.0, -1.0])


def test_ply_keeps_mesh_colours_and_uncertainty(tmp_path):
    hand = make_hand(1)
    write_ply(tmp_path / "hand.ply", [hand])
    mesh = trimesh.load(tmp_path / "hand.ply", process=False)
    np.testing.assert_allclose(mesh.vertices, hand.vertices * HALF_TURN, atol=1e-6)
    np.testing.assert_array_equal(mesh.faces, hand.faces)
    np.testing.assert_allclose(mesh.visual.vertex_colors[:, :3], 255 * hand.vertex_colors, atol=0.5 + 1e-4)
    properties = mesh.metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_allclose(properties["std_mm"].ravel(), 1000 * hand.vertices_std, rtol=1e-6)
    np.testing.assert_array_equal(properties["visible"].ravel().astype(bool), hand.visible)
    np.testing.assert_allclose(
        mesh.vertex_normals, np.c_[properties["nx"], properties["ny"], properties["nz"]]
    )


def test_obj_keeps_mesh_and_colours(tmp_path):
    hand = make_hand(2, "left")
    write_obj(tmp_path / "hand.obj", [hand])
    mesh = trimesh.load(tmp_path / "hand.obj", process=False, maintain_order=True)
    np.testing.assert_allclose(mesh.vertices, hand.vertices * HALF_TURN, atol=1e-6)
    np.testing.assert_array_equal(mesh.faces, hand.faces)
    np.testing.assert_allclose(mesh.visual.vertex_colors[:, :3], 255 * hand.vertex_colors, atol=1.01)
    assert mesh.volume > 0


def test_two_hands_are_joined_in_one_file(tmp_path):
    hands = [make_hand(0), make_hand(1, "left")]
    write_ply(tmp_path / "hands.ply", hands)
    mesh = trimesh.load(tmp_path / "hands.ply", process=False)
    assert len(mesh.vertices) == sum(len(hand.vertices) for hand in hands)
    np.testing.assert_allclose(
        mesh.triangles[-len(hands[1].faces) :], (hands[1].vertices * HALF_TURN)[hands[1].faces], atol=1e-6
    )


def test_no_hand_is_an_error(tmp_path):
    with pytest.raises(OutputError, match="no hand"):
        write_obj(tmp_path / "hand.obj", [])


def test_transfer_curve_has_known_values_and_an_inverse():
    assert linear_from_srgb(np.array([0.0, 0.5, 1.0])) == pytest.approx([0, 0.2140411, 1], abs=1e-6)
    grid = np.linspace(0, 1, 1001)
    np.testing.assert_allclose(srgb_from_linear(linear_from_srgb(grid)), grid, atol=1e-6)
