"""`amvur synthesize`: files, messages and exit statuses; rendering itself is a stand-in but for one run."""

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from amvur.cli import main, synthesize
from amvur.data.synthetic.shard_reader import read_shards
from amvur.data.synthetic.shards import ShardPlan

sys.path.append(str(Path(__file__).parent / "data"))
from drawn_source import DrawnSource


def amvur(*arguments):
    """Run the command line in this process and return its exit status."""
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    return exit_.value.code


def drawn(options):
    plan = ShardPlan(options.count, options.shard_size, options.image_format or "jpg", options.workers)
    return DrawnSource(options.seed or 0), plan


@pytest.fixture
def stand_in(monkeypatch):
    monkeypatch.setattr(synthesize, "_make_source", drawn)


@pytest.mark.usefixtures("stand_in")
def test_a_set_is_written_and_continued(tmp_path, capsys):
    out = tmp_path / "new" / "set"
    assert amvur("synthesize", "--count", 5, "--shard-size", 2, "--output", out) == 0
    output = capsys.readouterr()
    assert f"5 pictures in 3 shards in {out}" in output.out
    assert "%" not in output.err, "no progress bar where there is no terminal"
    assert amvur("synthesize", "--count", 9, "--shard-size", 2, "--output", out) == 0
    assert sum(map(len, read_shards(out))) == 9


@pytest.mark.usefixtures("stand_in")
def test_another_set_in_the_folder_is_kept(tmp_path, capsys):
    assert amvur("synthesize", "--count", 2, "--output", tmp_path) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert amvur("synthesize", "--count", 2, "--seed", 3, "--output", tmp_path) == 2
    assert "another configuration (seed: there 0, now 3)" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--count N"),
        (("--count", 0), "--count wants at least 1, found 0"),
        (("--count", 1, "--seed", -1), "--seed wants at least 0"),
        (("--count", 1, "--size", 8), "--size wants at least 32"),
        (("--count", 1, "--shard-size", 0), "--shard-size wants at least 1"),
        (("--count", 1, "--workers", -1), "--workers wants at least 0"),
        (("--count", 1, "--hand-model", "opne"), "found 'opne'"),
        (("--count", 1, "--backgrounds", "nowhere"), "found none at nowhere"),
        (("--benchmark", "synth-v1", "--seed", 4), "has its own --seed"),
        (("--count", 1, "--seed", 20_230_622), "reserved for a benchmark"),
    ],
)
def test_wrong_usage_is_told_and_nothing_written(tmp_path, capsys, arguments, message):
    out = tmp_path / "set"
    assert amvur("synthesize", *arguments, "--output", out) == 2
    assert message in capsys.readouterr().err
    assert not out.exists() or not list(out.iterdir())


def test_an_output_that_is_a_file(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert amvur("synthesize", "--count", 1, "--output", tmp_path / "file") == 2
    assert "Use --output DIR" in capsys.readouterr().err


def test_a_real_set_with_backgrounds(tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (200, 100), "green").save(photos / "green.png")
    (photos / "bad.jpg").write_bytes(b"nothing")
    out = tmp_path / "set"
    arguments = ("--count", 2, "--size", 64, "--seed", 5, "--backgrounds", photos, "--output", out)
    assert amvur("synthesize", *arguments) == 0
    told = capsys.readouterr().err
    assert "1 backgrounds from" in told
    assert "1 skipped" in told
    assert "bad.jpg" in told
    (batch,) = read_shards(out)
    assert batch.images.shape == (2, 64, 64, 3)
    statistics = json.loads((out / "statistics.json").read_text())
    assert statistics["seed"] == 5
    assert sum(statistics["pose_kinds"].values()) == 2
