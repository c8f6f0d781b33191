"""`amvur evaluate --checkpoint`: an untrained network on rendered hands, from the command line."""

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
from tiny_checkpoint import write_checkpoint

from amvur.cli import main
from amvur.data.synthetic.generator import SyntheticHands
from amvur.data.synthetic.shards import ShardPlan, write_shards


def amvur(*arguments):
    with pytest.raises(SystemExit) as exit_:
        main(["evaluate", *(str(argument) for argument in arguments)])
    return exit_.value.code


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "last")


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    write_shards(SyntheticHands(3, size_px=64), folder, ShardPlan(5, 3, "png"))
    return folder


def test_two_loops_from_the_command_line(checkpoint, shards, tmp_path, capsys):
    out = tmp_path / "new" / "run"
    arguments = ("--checkpoint", checkpoint, "--data", shards, "--output", out, "--device", "cpu")
    assert amvur(*arguments) == 0
    printed = capsys.readouterr().out
    assert "5 of 5 samples scored" in printed
    assert "Procrustes, official" in printed
    assert printed.rstrip().endswith(f"results in {out / 'results.json'}")
    written = (out / "results.json").read_text()
    results = json.loads(written)
    assert results.pop("seal").startswith("sha256:")
    assert results["configuration"]["data"]["name"] == "synthetic"
    assert results["vertices"]["unaligned"]["count"] == 5
    parts = [path.stat().st_mtime_ns for path in (out / "predictions").iterdir()]
    assert amvur(*arguments, "--json", "--batch-size", 2) == 0
    assert json.loads(capsys.readouterr().out) == results, "the same predictions, scored anew"
    assert [path.stat().st_mtime_ns for path in (out / "predictions").iterdir()] == parts
    assert amvur(*arguments, "--limit", 3) == 2
    told = capsys.readouterr()
    assert "count: there 5, now 3" in told.err
    assert told.out == ""
    edited = written.replace('"unaligned"', '"unaligned (see notes)"', 1)
    (out / "results.json").write_text(edited)
    assert amvur(*arguments) == 2
    assert "was changed since" in capsys.readouterr().err
    assert (out / "results.json").read_text() == edited


def test_another_checkpoint_is_refused(checkpoint, shards, tmp_path, capsys):
    arguments = ("--data", shards, "--output", tmp_path, "--limit", 2, "--joints-only")
    assert amvur("--checkpoint", checkpoint, *arguments) == 0
    assert "vertices: not scored" in capsys.readouterr().out
    other = write_checkpoint(tmp_path / "other", seed=1)
    assert amvur("--checkpoint", other, *arguments) == 2
    told = capsys.readouterr().err
    assert "checkpoint.weights.model.safetensors: there" in told
    assert f"remove {tmp_path / 'predictions'}" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--checkpoint, --data, --output missing"),
        (("--data", "synth-v1", "--output", "x"), "--checkpoint missing"),
        (("--checkpoint", "none-there", "--data", "synth-v1", "--output", "x"), "found none at none-there"),
        (("--protocol", "ho3d", "--predictions", "p"), "--ground-truth missing"),
        (
            ("--protocol", "ho3d", "--predictions", "p", "--ground-truth", "g", "--limit", 3),
            "--limit of no use",
        ),
        (
            ("--checkpoint", "c", "--data", "d", "--output", "o", "--predictions", "p"),
            "--predictions of no use",
        ),
        (("--checkpoint", "c", "--data", "d", "--output", "o", "--limit", 0), "--limit wants at least 1"),
        (
            ("--checkpoint", "c", "--data", "d", "--output", "o", "--cache", "x"),
            "--cache is for --data synth-v1",
        ),
        (
            ("--checkpoint", "c", "--data", "d", "--output", "o", "--submission", "s", "--limit", 2),
            "--submission needs all samples",
        ),
    ],
)
def test_wrong_usage_is_told(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert amvur(*arguments) == 2
    assert message in capsys.readouterr().err


def test_data_that_is_not_there(checkpoint, tmp_path, capsys):
    assert amvur("--checkpoint", checkpoint, "--data", tmp_path / "no", "--output", tmp_path / "out") == 2
    assert f"found nothing at {tmp_path / 'no'}" in capsys.readouterr().err
    (tmp_path / "labels.json").write_text('{"images": [], "annotations": []}')
    assert amvur("--checkpoint", checkpoint, "--data", tmp_path, "--output", tmp_path / "out") == 2
    assert f"{tmp_path} has no labelled hand to evaluate on" in capsys.readouterr().err


def test_a_submission_wants_mano_and_an_online_evaluation(checkpoint, shards, tmp_path, capsys):
    assert (
        amvur(
            "--checkpoint",
            checkpoint,
            "--data",
            shards,
            "--output",
            tmp_path,
            "--submission",
            tmp_path / "p.zip",
        )
        == 2
    )
    assert "wants a data set with an online evaluation" in capsys.readouterr().err
    assert not (tmp_path / "predictions").exists()


def test_files_of_the_users_are_not_overwritten(checkpoint, shards, tmp_path, capsys):
    """Told before anything is loaded: neither checkpoint nor data are there."""
    mine = b'{"of": "another program"}'
    for name in ("results.json", "scores.json", "pred.zip"):
        (tmp_path / name).write_bytes(mine)
    network = ("--checkpoint", "none-there", "--data", "none-there")
    files = ("--protocol", "freihand", "--predictions", "none-there", "--ground-truth", tmp_path)
    for name, arguments in (
        ("results.json", (*network, "--output", tmp_path)),
        ("scores.json", (*files, "--output", tmp_path / "scores.json")),
        ("pred.zip", (*network, "--output", tmp_path / "o", "--submission", tmp_path / "pred.zip")),
    ):
        assert amvur(*arguments) == 2
        assert f"{name} exists and is not what this command writes" in capsys.readouterr().err
        assert (tmp_path / name).read_bytes() == mine


@pytest.mark.parametrize("option", ["--output", "--submission"])
def test_a_name_that_is_too_long_is_told_before_the_work(tmp_path, option, capsys):
    name = tmp_path / ("x" * 300)
    if option == "--output":
        files = ("--protocol", "freihand", "--predictions", "none-there", "--ground-truth", tmp_path)
        assert amvur(*files, "--output", name) == 2
    else:
        assert amvur("--checkpoint", "c", "--data", "d", "--output", tmp_path, "--submission", name) == 2
    assert "too long" in capsys.readouterr().err
