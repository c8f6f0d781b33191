"""`amvur train` on photographs: what is skipped is counted and told, Ctrl-C saves and says how to go on."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parent))
import small_cli
from tiny_photos import write_photos

from amvur.checkpoint import load_checkpoint
from amvur.cli import main, train
from amvur.training.presets import PRESETS


@pytest.fixture
def amvur_train(monkeypatch):
    monkeypatch.setitem(PRESETS, "small", small_cli.SMALL)

    def run(output, *arguments):
        command = ["train", "--preset", "small", "--device", "cpu", "--output", output, *arguments]
        with pytest.raises(SystemExit) as exit_:
            main([str(word) for word in command])
        return exit_.value.code

    return run


def rows(folder):
    path = folder / "log.csv"
    if not path.exists():
        return []
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_skipped_samples_are_counted_by_data_set_and_told(tmp_path, capsys, amvur_train):
    good, bad = (write_photos(tmp_path / name, 8, size=64) for name in ("good", "bad"))
    (bad / "002.png").write_text("no picture")
    (bad / "005.png").write_bytes((bad / "005.png").read_bytes()[:300])
    data = ("--data", good, "--data", f"{bad}=3", "--pool-size", 64)
    assert amvur_train(tmp_path / "run", *data, "--steps", 2) == 0
    told = capsys.readouterr().err
    end = told[told.rindex(f"amvur: {bad}") :]
    assert end.startswith(f"amvur: {bad}: 2 samples were skipped in training:\n")
    assert "002.png" in end
    assert "005.png" in end
    assert told.count("amvur: skipped: ") == 2, "each is told once when it is met"
    card = load_checkpoint(tmp_path / "run" / "last").config["card"]
    assert card["skipped_samples"] == {str(bad): 2}
    assert rows(tmp_path / "run")[-1]["skipped_samples"] == "2"
    assert amvur_train(tmp_path / "run", *data, "--steps", 3, "--resume") == 0
    assert load_checkpoint(tmp_path / "run" / "last").config["card"]["skipped_samples"] == {str(bad): 2}


def test_a_worker_tells_what_cannot_be_used_without_a_traceback(tmp_path, capsys, amvur_train):
    photos = write_photos(tmp_path / "photos", 4, size=64)
    for path in photos.glob("*.png"):
        path.write_text("no picture")
    assert amvur_train(tmp_path / "run", "--data", photos, "--workers", 1) == 2
    told = capsys.readouterr().err
    assert f"amvur: {photos}: 50 samples in a row cannot be used. The last: " in told
    assert "Traceback" not in told


def test_ctrl_c_in_a_terminal_saves_and_says_how_to_go_on(tmp_path, amvur_train):
    photos, output = write_photos(tmp_path / "photos", 6, size=64), tmp_path / "run"
    command = [sys.executable, small_cli.__file__, "train", "--preset", "small", "--device", "cpu"]
    command += ["--data", photos, "--output", output, "--steps", "100000", "--workers", "1"]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while len(rows(output)) < 2 and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(run.pid, signal.SIGINT)  # a terminal's Ctrl-C reaches the workers too
        told = run.communicate(timeout=60)[1].decode()
    finally:
        run.kill()
    steps = torch.load(output / "state.pt", weights_only=True)["progress"]["step"]
    assert steps >= 2
    assert run.returncode == 130
    assert told.splitlines()[-1] == (
        f"amvur: stopped and saved after step {steps}. Go on with the same command and --resume."
    )
    assert "Traceback" not in told
    assert load_checkpoint(output / "last").config["card"]["step"] == steps
    assert amvur_train(output, "--data", photos, "--steps", steps + 1, "--resume") == 0
    assert [int(row["step"]) for row in rows(output)] == list(range(1, steps + 2))


def test_ctrl_c_before_the_first_step(tmp_path, capsys, amvur_train, monkeypatch):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "_train", interrupted)
    assert amvur_train(tmp_path / "run") == 130
    assert capsys.readouterr().err == (
        "amvur: stopped; no step was saved. Go on with the same command and --resume.\n"
    )


@pytest.mark.parametrize("name", ["pool.safetensors", "held_out.safetensors", "log.csv", "last/config.json"])
def test_files_of_the_users_are_told_before_anything_is_prepared(
    tmp_path, capsys, amvur_train, monkeypatch, name
):
    def prepared(*_):
        raise AssertionError("prepared in vain")

    monkeypatch.setattr(train, "make_parts", prepared)
    photos = write_photos(tmp_path / "photos", 6, size=64)
    mine = tmp_path / "run" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    for more in ((), ("--resume",)):
        assert amvur_train(tmp_path / "run", "--data", photos, "--keep-pool", *more) == 2
        assert str(mine) in capsys.readouterr().err
        assert mine.read_text() == "mine"
