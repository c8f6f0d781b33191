"""What a reconstructor returns for crops of a data set, back in the camera's frame; and from the command line."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from factories import make_hand

sys.path.append(str(Path(__file__).parent))
from test_cli_evaluate import amvur
from told_network import SIZE, ToldSource, draw_hands

from amvur.data.synthetic.generator import SyntheticHands
from amvur.data.synthetic.shards import ShardPlan, write_shards
from amvur.evaluation.export import ExportSettings, export_predictions
from amvur.evaluation.results import results_of
from amvur.evaluation.scoring import gather_errors
from amvur.evaluation.subjects import ReconstructionSubject

STD = 0.004


class ToldReconstructor:
    """Knows every hand: as a right hand in the crop's camera, from the picture's number."""

    def __init__(self, hands, noise=0.0):
        self.hands, self.noise, self.boxes = hands, noise, []

    def __call__(self, image, *, intrinsics=None, boxes=None, side="auto"):
        assert side == "right"
        assert image.shape == (SIZE, SIZE, 3)
        number = int(image[0, 0, 0])
        hand, rng = self.hands[number], np.random.default_rng(number)
        if intrinsics is not None:
            np.testing.assert_allclose(intrinsics, hand.crop.crop_intrinsics(hand.intrinsics))
        self.boxes.append(boxes)
        joints, vertices = (
            x @ hand.crop.R_crop_camera.T + self.noise * rng.standard_normal(x.shape)
            for x in (hand.joints, hand.vertices)
        )
        told, n = make_hand(), len(vertices)
        return [
            replace(
                told,
                skeleton=replace(
                    told.skeleton,
                    rest_vertices=told.skeleton.rest_vertices[:n],
                    lbs_weights=told.skeleton.lbs_weights[:n],
                ),
                vertex_colors=told.vertex_colors[:n],
                visible=told.visible[:n],
                vertex_colors_std=None,
                joints=joints.astype(np.float32),
                vertices=vertices.astype(np.float32),
                joints_std=np.full(21, STD, np.float32),
                vertices_std=np.full(len(vertices), STD, np.float32),
            )
        ]


class BoxedSource(ToldSource):
    def pictures(self, start, stop, size_px, crop_scale):
        assert crop_scale == 2.0
        for picture in super().pictures(start, stop, size_px, crop_scale):
            yield replace(picture, box_xyxy_px=np.array([4.0, 5, 20, 21]))


@pytest.fixture(scope="module")
def hands():
    return draw_hands(11)


def export(folder, reconstruct, source, **settings):
    subject = ReconstructionSubject(reconstruct, {"told": True}, 40, image_px=SIZE)
    return export_predictions(subject, source, folder, ExportSettings(batch_size=3, **settings))


def test_hands_come_back_in_the_cameras_frame_left_ones_too(hands, tmp_path):
    reconstruct = ToldReconstructor(hands)
    found = [e for _, e in export(tmp_path, reconstruct, BoxedSource(hands)).read()]
    for name in ("joints", "vertices"):
        wanted = np.stack([getattr(hand, name) for hand in hands])
        np.testing.assert_allclose(np.concatenate([getattr(e, name) for e in found]), wanted, atol=1e-6)
    assert np.concatenate([e.placed for e in found]).all()
    assert all((boxes == [[4, 5, 20, 21]]).all() for boxes in reconstruct.boxes)


def test_without_a_box_the_whole_crop_is_given(hands, tmp_path):
    reconstruct = ToldReconstructor(hands)
    export(tmp_path, reconstruct, ToldSource(hands))
    assert all((boxes == [[0, 0, SIZE, SIZE]]).all() for boxes in reconstruct.boxes)


def test_roots_that_a_data_set_gives_are_taken_and_no_camera_means_no_place(hands, tmp_path):
    noisy = ToldReconstructor(hands, noise=0.003)
    rooted = [e for _, e in export(tmp_path / "a", noisy, BoxedSource(hands, roots=True)).read()]
    wrists = np.concatenate([e.joints[:, 0] for e in rooted])
    np.testing.assert_allclose(wrists, np.stack([hand.joints[0] for hand in hands]), atol=1e-6)
    loose = [e for _, e in export(tmp_path / "b", noisy, BoxedSource(hands, cameras=False)).read()]
    assert not np.concatenate([e.placed for e in loose]).any()
    np.testing.assert_allclose(np.concatenate([e.joints[:, 0] for e in loose]), 0, atol=1e-7)


def test_stated_deviations_are_scored(hands, tmp_path):
    predictions = export(
        tmp_path, ToldReconstructor(hands, noise=STD), BoxedSource(hands), with_vertices=False
    )
    results = results_of(gather_errors(predictions.read()), predictions.configuration)
    stated = results["uncertainty"]["procrustes_strict"]["joints"]
    assert 0.8 < stated["coverage_90"] <= 1
    assert results["vertices"] is None or results["vertices"]["procrustes"] is None


def test_the_whole_of_reconstruct_from_the_command_line(tmp_path, capsys):
    write_shards(SyntheticHands(3, size_px=128), tmp_path / "shards", ShardPlan(2, 2, "png"))
    arguments = ("--reconstruct", "--data", tmp_path / "shards", "--device", "cpu", "--json")
    found = {}
    for checkpoint in ("none", "default"):
        output = tmp_path / checkpoint
        assert amvur("--checkpoint", checkpoint, *arguments, "--output", output) == 0
        found[checkpoint] = json.loads(capsys.readouterr().out)
        assert found[checkpoint]["configuration"]["checkpoint"]["reconstruct"] is True
        assert found[checkpoint]["configuration"]["settings"]["crop_scale"] == 2.0
        assert found[checkpoint]["joints"]["procrustes_strict"]["mean_mm"] < 60
    assert found["none"]["configuration"]["checkpoint"]["network"] is None
    assert "segmentation" not in found["none"]["configuration"]["checkpoint"]
    identity = found["default"]["configuration"]["checkpoint"]
    for part in ("network", "segmentation"):
        assert all(len(sha256) == 64 for sha256 in identity[part]["weights"].values())
    assert set(identity["calibration"]) == {"network", "box"}
    assert amvur("--checkpoint", "none", *arguments[1:], "--output", tmp_path / "new") == 2
    assert "--reconstruct" in capsys.readouterr().err
