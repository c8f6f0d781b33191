"""Predictions exported, gone on with, refused and scored: against hands whose truth is known."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import chi

sys.path.append(str(Path(__file__).parent))
from leftovers import leave_behind
from told_network import STD, ToldNetwork, ToldSource, draw_hands

from amvur.errors import InputError, OutputError
from amvur.evaluation import export, prediction_files
from amvur.evaluation.export import ExportSettings, export_predictions
from amvur.evaluation.placement import fit_translation
from amvur.evaluation.results import results_of
from amvur.evaluation.scoring import ALIGNMENTS, gather_errors
from amvur.evaluation.subjects import NetworkSubject
from amvur.evaluation.table import table_of

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def hands():
    return draw_hands(11)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(prediction_files, "PART", 4)


def subject(hands, **options):
    return NetworkSubject(ToldNetwork(hands, **options), CPU, {"weights": "abc"}, 40)


def run(folder, hands, source=None, settings=None, **options):
    return export_predictions(
        subject(hands, **options),
        source or ToldSource(hands),
        folder,
        settings or ExportSettings(batch_size=3),
    )


def score(predictions):
    return results_of(gather_errors(predictions.read()), predictions.configuration)


def test_truth_comes_back_in_the_cameras_frame(hands, tmp_path):
    """Crop, mirror, view axes and place are undone exactly (float32 in the files)."""
    found = list(run(tmp_path, hands).read())
    assert [len(keys) for keys, _ in found] == [4, 4, 3]
    assert [key for keys, _ in found for key in keys] == [f"{n:04d}" for n in range(11)]
    for name in ("joints", "vertices"):
        wanted = np.stack([getattr(hand, name) for hand in hands])
        np.testing.assert_allclose(np.concatenate([getattr(e, name) for _, e in found]), wanted, atol=3e-6)
        np.testing.assert_array_equal(
            np.concatenate([getattr(e, f"true_{name}") for _, e in found]), wanted.astype(np.float32)
        )
    results = score(run(tmp_path, hands))
    for points in ("joints", "vertices"):
        assert max(results[points][name]["mean_mm"] for name in ALIGNMENTS) < 0.003
    assert results["vertices"]["unaligned"]["f_score_5"] == 1.0


def test_the_root_that_a_data_set_gives_is_taken(hands, tmp_path):
    found = list(run(tmp_path, hands, ToldSource(hands, roots=True)).read())
    joints = np.concatenate([estimates.joints for _, estimates in found])
    np.testing.assert_allclose(joints[:, 0], np.stack([hand.joints[0] for hand in hands]), atol=1e-7)


def test_without_a_camera_the_place_is_unknown(hands, tmp_path):
    results = score(run(tmp_path, hands, ToldSource(hands, cameras=False)))
    assert results["joints"]["unaligned"] is None
    assert results["camera_space"] is None
    assert results["joints"]["procrustes"]["mean_mm"] < 1e-3
    assert "Procrustes, official" in table_of(results)


def test_without_labels_nothing_is_scored(hands, tmp_path):
    results = score(run(tmp_path, hands, ToldSource(hands, labelled=False)))
    assert (results["samples"], results["scored"]) == (11, 0)
    assert "nothing can be scored" in table_of(results)


def test_an_export_goes_on_behind_the_last_part(hands, tmp_path, monkeypatch):
    whole = [p.read_bytes() for p in sorted(run(tmp_path / "a", hands, noise=0.01).folder.glob("part*"))]

    class Broken(ToldSource):
        def pictures(self, start, stop, size_px, crop_scale):
            if start == 4:
                raise KeyboardInterrupt
            yield from super().pictures(start, stop, size_px, crop_scale)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", hands, Broken(hands), noise=0.01)
    folder = tmp_path / "b" / "predictions"
    assert sorted(p.name for p in folder.iterdir()) == ["part-00000.safetensors", "record.json"]
    leave_behind(folder / "part-00001.safetensors")
    (folder / "part-00001.safetensors").write_bytes(whole[1][:-7])  # as after a power cut
    source, done = ToldSource(hands), []
    export_predictions(
        subject(hands, noise=0.01), source, tmp_path / "b", ExportSettings(batch_size=3), done.append
    )
    assert source.looked_at == list(range(4, 11))
    assert sum(done) == 11
    assert [p.read_bytes() for p in sorted(folder.glob("part*"))] == whole
    assert not list(folder.glob(".*"))


def test_a_part_that_cannot_be_written_leaves_nothing(hands, tmp_path, monkeypatch):
    def full(arrays, path, metadata):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(prediction_files, "save_file", full)
    with pytest.raises(OutputError, match=r"part-00000\.safetensors: No space left"):
        run(tmp_path, hands)
    assert [p.name for p in (tmp_path / "predictions").iterdir()] == ["record.json"]


def test_another_configuration_is_refused(hands, tmp_path):
    run(tmp_path, hands)
    cases = [
        ({"settings": ExportSettings(limit=5)}, r"count: there 11, now 5"),
        ({"settings": ExportSettings(with_vertices=False)}, r"with_vertices: there True, now False"),
        ({"source": ToldSource(hands, name="other")}, r"data.name: there told, now other"),
    ]
    for changed, message in cases:
        with pytest.raises(OutputError, match=message) as told:
            run(tmp_path, hands, **changed)
        assert "Choose another --output, or remove" in str(told.value)
    other = NetworkSubject(ToldNetwork(hands), CPU, {"weights": "abd"}, 40)
    with pytest.raises(OutputError, match=r"checkpoint.weights: there abc, now abd"):
        export_predictions(other, ToldSource(hands), tmp_path, ExportSettings())
    source = ToldSource(hands)
    run(tmp_path, hands, source, ExportSettings(batch_size=2))
    assert source.looked_at == [], "what is there is used; the batch size is no part of the configuration"


def test_predictions_of_nobody_knows_what_are_refused(hands, tmp_path):
    run(tmp_path, hands).folder.joinpath("record.json").unlink()
    with pytest.raises(OutputError, match=r"without a record\.json"):
        run(tmp_path, hands)
    (tmp_path / "predictions" / "record.json").write_text("{")
    with pytest.raises(InputError, match=r"record\.json is damaged"):
        run(tmp_path, hands)


def test_a_part_lost_before_scoring_is_told(hands, tmp_path):
    predictions = run(tmp_path, hands)
    (predictions.folder / "part-00001.safetensors").unlink()
    with pytest.raises(InputError, match=r"Cannot read .*part-00001\.safetensors.*predicts what is missing"):
        score(predictions)


def test_figures_against_a_plain_loop(hands, tmp_path):
    """MPJPE, MPVPE, F, likelihood and coverage, sample by sample with scipy and torch."""
    predictions = run(tmp_path, hands, noise=0.006)
    results = score(predictions)
    parts = [estimates for _, estimates in predictions.read()]
    joints, vertices = (
        np.concatenate([getattr(p, n) for p in parts]).astype(float) for n in ("joints", "vertices")
    )
    truth = [np.stack([getattr(hand, n) for hand in hands]) for n in ("joints", "vertices")]
    wrist = joints[:, :1], truth[0][:, :1]
    relative = [
        np.linalg.norm((p - wrist[0]) - (t - wrist[1]), axis=-1)
        for p, t in zip((joints, vertices), truth, strict=True)
    ]
    for points, errors in zip(("joints", "vertices"), relative, strict=True):
        assert results[points]["root_relative"]["mean_mm"] == pytest.approx(1000 * errors.mean(), rel=1e-4)
        low, high = results[points]["root_relative"]["mean_mm_interval_95"]
        assert low < 1000 * errors.mean() < high
    stated = results["uncertainty"]["root_relative"]
    for level in (0.5, 0.9):
        radius = chi.ppf(level, 3) * STD
        key = f"coverage_{round(100 * level)}"
        assert stated["joints"][key] == pytest.approx((relative[0][:, 1:] <= radius).mean(), abs=5e-3)
        assert stated["vertices"][key] == pytest.approx((relative[1] <= radius).mean(), abs=5e-3)
    # isotropic: the density does not depend on the axes
    residual = torch.tensor((joints - wrist[0] - truth[0] + wrist[1])[:, 1:])
    nll = -torch.distributions.Normal(0.0, STD).log_prob(residual).mean()
    assert results["uncertainty"]["nll_per_coordinate"] == pytest.approx(float(nll), rel=1e-4)
    unaligned = np.linalg.norm(vertices - truth[1], axis=-1)
    assert results["vertices"]["unaligned"]["mean_mm"] == pytest.approx(1000 * unaligned.mean(), rel=1e-4)
    depth = (joints[:, 0] - truth[0][:, 0])[:, 2]
    assert results["camera_space"]["root_depth_bias_mm"] == pytest.approx(
        1000 * depth.mean(), rel=1e-3, abs=1e-3
    )


def test_strata_and_joints_are_parts_of_the_whole(hands, tmp_path):
    results = score(run(tmp_path, hands, noise=0.006))
    strata = results["strata"]["procrustes_strict"]
    for group in ("occlusion", "skin", "hands"):
        counts = [s["count"] for name, s in strata.items() if group in name]
        total = sum(s["count"] * s.get("mean_mm", 0) for name, s in strata.items() if group in name)
        assert sum(counts) == 11
        assert total / 11 == pytest.approx(results["joints"]["procrustes_strict"]["mean_mm"])
    assert strata["left hands"]["count"] == 5, "every second is mirrored"
    assert strata["skin light"]["vertices_mean_mm"] == pytest.approx(
        results["vertices"]["procrustes_strict"]["mean_mm"]
    )
    means = [joint["mean_mm"] for joint in results["per_joint"]["root_relative"].values()]
    assert np.mean(means) == pytest.approx(results["joints"]["root_relative"]["mean_mm"])
    assert results["per_joint"]["root_relative"]["wrist"]["mean_mm"] < 1e-6
    json.dumps(results, allow_nan=False)


def test_mirrored_hands_are_forgiven_by_the_official_alignment_only(hands, tmp_path):
    class Mirrored(ToldNetwork):
        def say(self, number):
            joints, vertices, flat = super().say(number)
            return joints * [-1, 1, 1], vertices * [-1, 1, 1], flat

    mirrored = NetworkSubject(Mirrored(hands), CPU, {}, 40)
    results = score(export_predictions(mirrored, ToldSource(hands), tmp_path, ExportSettings()))
    assert results["joints"]["procrustes"]["mean_mm"] < 0.01
    assert results["joints"]["procrustes_strict"]["mean_mm"] > 5
    assert results["vertices"]["procrustes"]["f_score_5"] == 1
    assert results["vertices"]["procrustes_strict"]["f_score_5"] < 0.9


def test_meshes_of_another_hand_model_are_not_compared(hands, tmp_path):
    class Finer(ToldNetwork):
        def say(self, number):
            joints, vertices, flat = super().say(number)
            return joints, np.concatenate([vertices, vertices]), flat

    finer = NetworkSubject(Finer(hands), CPU, {}, 80)
    results = score(export_predictions(finer, ToldSource(hands), tmp_path, ExportSettings()))
    assert results["vertices"]["procrustes"] is None
    assert results["joints"]["procrustes"]["mean_mm"] < 1e-3
    assert "another hand model" in table_of(results)


def test_ho3d_has_its_own_fingertips(hands, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "VERTICES", 40)
    monkeypatch.setattr(export, "TIP_VERTICES", {"ho3d": (3, 7, 11, 13, 39)})
    source = ToldSource(hands)
    source.protocol = "ho3d"
    found = list(run(tmp_path, hands, source, noise=0.003).read())
    joints, vertices = (np.concatenate([getattr(e, n) for _, e in found]) for n in ("joints", "vertices"))
    np.testing.assert_array_equal(joints[:, (4, 8, 12, 16, 20)], vertices[:, (3, 7, 11, 13, 39)])


def test_a_network_that_diverged_is_told(hands, tmp_path):
    with pytest.raises(InputError, match="not finite"):
        run(tmp_path, hands, noise=float("nan"))


def test_translation_of_noisy_pixels_is_the_least_squares_one(rng):
    """Against scipy's general solver."""
    from scipy.optimize import least_squares

    relative = (rng.random((2, 21, 3)) - 0.5) * 0.15
    intrinsics = np.tile(np.array([[600.0, 2.0, 320], [0, 610, 240], [0, 0, 1]]), (2, 1, 1))
    place = np.array([[0.1, -0.05, 0.5], [-0.2, 0.1, 1.1]])
    flat = (relative + place[:, None]) @ intrinsics.transpose(0, 2, 1)
    pixels = flat[..., :2] / flat[..., 2:] + 2 * rng.standard_normal((2, 21, 2))
    std = rng.uniform(1, 4, (2, 21, 2))
    found = fit_translation(relative, pixels, std, intrinsics)
    for i in range(2):

        def residual(t, i=i):
            seen = (relative[i] + t) @ intrinsics[i].T
            return ((seen[:, :2] / seen[:, 2:] - pixels[i]) / std[i]).ravel()

        best = least_squares(residual, place[i]).x
        np.testing.assert_allclose(found[i], best, atol=1e-3)
