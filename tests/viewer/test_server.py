"""The browser viewer, as far as it goes without a browser."""

import sys
import urllib.request

import numpy as np
import pytest
from factories import make_hand

from amvur.errors import AmvurError, InputError
from amvur.export import ImageRecord, write_glb, write_json
from amvur.viewer.server import load_scene, start_server


@pytest.fixture
def result(tmp_path):
    hands = [make_hand(0), make_hand(1, "left")]
    for index, hand in enumerate(hands):
        write_glb(tmp_path / f"wave_{index}.glb", [hand])
    image = ImageRecord("wave.jpg", 640, 480)
    write_json(tmp_path / "wave.json", image, hands[0].camera, hands, ["wave_0.glb", "wave_1.glb"])
    return tmp_path / "wave.json"


def test_a_report_brings_its_meshes_and_joints(result):
    scene = load_scene(result)
    assert list(scene.glb) == ["wave_0.glb", "wave_1.glb"]
    np.testing.assert_allclose(scene.joints[0], make_hand(0).joints * [1, -1, -1], atol=1e-6)
    np.testing.assert_allclose(scene.joints_std[1], make_hand(1).joints_std, atol=1e-6)


def test_a_single_mesh_is_enough(result):
    assert list(load_scene(result.with_name("wave_1.glb")).glb) == ["wave_1.glb"]


def test_a_report_with_a_lost_mesh_is_named_with_it(result):
    result.with_name("wave_1.glb").unlink()
    with pytest.raises(InputError, match=rf"wave_1\.glb.*{result.name} names it"):
        load_scene(result)


@pytest.mark.parametrize("name", ["missing.glb", "missing.json", "photo.jpg", "damaged.json"])
def test_other_files_are_refused_with_the_path(tmp_path, name):
    (tmp_path / "damaged.json").write_text('{"hands": [{}]}')
    with pytest.raises(InputError, match=name):
        load_scene(tmp_path / name)


def test_the_server_answers(result):
    pytest.importorskip("viser", reason="viser is optional: pip install amvur[view]")
    server = start_server(load_scene(result), "127.0.0.1", 18080)
    try:
        assert urllib.request.urlopen(f"http://127.0.0.1:{server.get_port()}").status == 200
    finally:
        server.stop()


def test_without_viser_the_message_says_how_to_get_it(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(AmvurError, match="pip install"):
        start_server(load_scene(result), "127.0.0.1", 18080)
