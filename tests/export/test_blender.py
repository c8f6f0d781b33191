"""GLB files in Blender itself, where its Python package (`pip install bpy`) is installed."""

import dataclasses
import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
from factories import make_hand

from amvur.export import write_glb
from amvur.structures import UvTexture

pytestmark = pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="bpy is not installed")

IMPORT = """
import json, sys, bpy, numpy as np
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.import_scene.gltf(filepath=sys.argv[1])
found = {"armatures": sorted(o.name for o in bpy.data.objects if o.type == "ARMATURE"), "meshes": {}}
for thing in bpy.data.objects:
    if thing.type != "MESH" or thing.parent is None or "_STD_MM" not in thing.data.attributes:
        continue  # the shapes that Blender draws bones with
    shown = thing.evaluated_get(bpy.context.evaluated_depsgraph_get())
    points = [list(thing.matrix_world @ vertex.co) for vertex in shown.data.vertices]
    texture = next(n for n in thing.data.materials[0].node_tree.nodes if n.type == "TEX_IMAGE")
    reds = [value.value for value in thing.data.attributes["_RED"].data]
    found["meshes"][thing.parent.name] = {
        "points": points, "reds": reds, "picture": list(texture.image.size), "used": bool(texture.outputs[0].links)
    }
print("FOUND" + json.dumps(found))
"""


def imported(path):
    done = subprocess.run([sys.executable, "-c", IMPORT, path], capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND")]
    assert lines, done.stdout + done.stderr
    return json.loads(lines[0].removeprefix("FOUND"))


def test_hands_their_colors_and_skeletons_are_there(tmp_path):
    hands = {"right_hand": make_hand(0), "left_hand": make_hand(2, "left")}
    write_glb(tmp_path / "a.glb", list(hands.values()))
    found = imported(tmp_path / "a.glb")
    assert found["armatures"] == sorted(hands)
    for name, hand in hands.items():
        mesh = found["meshes"][name]
        right, up, toward = (hand.vertices * [1, -1, -1]).T  # Blender's z points up
        np.testing.assert_allclose(mesh["points"], np.stack([right, -toward, up], 1), atol=1e-5)
        linear = ((hand.vertex_colors[:, 0] + 0.055) / 1.055) ** 2.4
        np.testing.assert_allclose(mesh["reds"], np.where(hand.vertex_colors[:, 0] < 0.041, mesh["reds"], linear),
                                   atol=1e-4)  # fmt: skip
        assert mesh["used"]


@pytest.mark.parametrize("start", range(3))
def test_a_textured_hand_is_imported_in_every_start(tmp_path, start):
    """Attributes of several types were mixed up in most starts."""
    hand = make_hand(start)
    count = len(hand.vertices)
    uv = np.random.default_rng(start).uniform(size=(count, 2)).astype(np.float32)
    texture = UvTexture(np.zeros((8, 8, 3), np.uint8), uv, hand.faces, np.arange(count))
    write_glb(tmp_path / "a.glb", [dataclasses.replace(hand, uv_texture=texture)])
    assert imported(tmp_path / "a.glb")["meshes"]["right_hand"]["picture"] == [8, 8]
