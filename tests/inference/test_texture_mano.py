"""Regressed texture on a MANO hand: another mesh than the one the head was trained for, from end to end."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from posed import posed
from truth import INTRINSICS, project_numpy

from amvur.cli import main
from amvur.export import glb_bytes, read_glb
from amvur.inference.reconstructor import Reconstructor
from amvur.inference.texture.regression import default_texture
from amvur.structures import HandDetection

HEIGHT, WIDTH = 480, 640
SKIN = np.array([200, 150, 125])

pytestmark = pytest.mark.skipif(default_texture() is None, reason="no texture head ships with this version")


def detection_of(mano, side):
    """What a perfect detector says of a hand of this model half a metre away."""
    _, joints = posed([1.4, 0.5, -0.6], transl=(0.06, 0.02, 0.5), hand_model=str(mano))
    pixels = project_numpy(joints)
    depth = INTRINSICS[0, 0] * (joints[:, 2] - joints[0, 2]) / joints[0, 2]
    marks = joints - joints.mean(0)
    box = np.concatenate([pixels.min(0), pixels.max(0)])
    right = HandDetection("right", 0.9, box, pixels[None], np.ones(21), depth[None], marks[None])
    if side == "right":
        return right
    return replace(
        right,
        side="left",
        box_xyxy_px=np.array([WIDTH - box[2], box[1], WIDTH - box[0], box[3]]),
        joints_2d_px=right.joints_2d_px * [-1, 1] + [WIDTH, 0],
        landmarks_3d_m=right.landmarks_3d_m * [-1, 1, 1],
    )


@pytest.fixture(scope="module")
def reconstructor(mano):
    return Reconstructor(hand_model=str(mano), detector="none", texture="regressed")


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_mano_hand_gets_regressed_colors_and_a_glb(reconstructor, mano, side, tmp_path):
    image = np.tile(SKIN.astype(np.uint8), (HEIGHT, WIDTH, 1))
    (hand,) = reconstructor(image, intrinsics=INTRINSICS, detections=[detection_of(mano, side)])
    assert hand.side == side
    assert hand.vertex_colors.shape == (778, 3)
    assert np.isfinite(hand.vertex_colors).all()
    assert ((hand.vertex_colors >= 0) & (hand.vertex_colors <= 1)).all()
    assert hand.vertex_colors_std.shape == (778,)
    assert np.isfinite(hand.vertex_colors_std).all()
    assert (hand.vertex_colors_std > 0).all()
    # all that the picture has is this color, so about that is the hand's, in sight and out of it (the made-up
    # mesh is a cloud of triangles, of which the head knows little)
    assert hand.visible.any()
    error = np.abs(255 * hand.vertex_colors - SKIN).mean(1)
    assert error[hand.visible].mean() < 30
    assert error[~hand.visible].mean() < 30
    path = tmp_path / "hand.glb"
    path.write_bytes(glb_bytes([hand]))
    (mesh,) = read_glb(path)
    assert len(mesh.vertices) == 778
    np.testing.assert_allclose(mesh.colors, hand.vertex_colors, atol=1 / 254)


def test_the_command_line_writes_it(mano, tmp_path):
    photo = tmp_path / "photo.png"
    Image.fromarray(np.tile(SKIN.astype(np.uint8), (120, 160, 1))).save(photo)
    arguments = ["reconstruct", photo, "--hand-model", mano, "--texture", "regressed", "--detector", "none"]
    arguments += ["--box", 40, 20, 120, 100, "--side", "right", "--output", tmp_path / "out"]
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in arguments])
    assert exit_.value.code == 0
    (told,) = json.loads((tmp_path / "out" / "photo.json").read_text())["hands"]
    (mesh,) = read_glb(tmp_path / "out" / told["mesh"])
    assert len(mesh.vertices) == len(told["vertex_colors_std"]) == 778
    assert mesh.colors.min() >= 0
    assert mesh.colors.max() <= 1
