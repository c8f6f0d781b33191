"""`amvur train`: messages and exit statuses; the run itself is a stand-in."""

import sys
from pathlib import Path

import pytest

from amvur.checkpoint import load_checkpoint
from amvur.cli import main, train
from amvur.training import loop

sys.path.append(str(Path(__file__).parent))
import tiny_run


def amvur(*arguments):
    with pytest.raises(SystemExit) as exit_:
        main(["train", *(str(argument) for argument in arguments)])
    return exit_.value.code


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--preset", "none"), "--preset wants one of"),
        (("--steps", 0), "--steps wants at least 1, found 0"),
        (("--workers", -1), "--workers wants at least 0"),
        (("--max-seconds", 0), "--max-seconds wants seconds above 0"),
        (("--data", "/nowhere"), "found nothing at /nowhere. Check the path."),
    ],
)
def test_wrong_usage_is_told(tmp_path, capsys, arguments, message):
    assert amvur("--output", tmp_path / "out", *arguments) == 2
    assert message in capsys.readouterr().err


def test_options_reach_the_run(tmp_path, capsys, monkeypatch, exported):
    seen = {}

    def stand_in(parts, config, output, source, held_out, run):
        seen.update(config=config, run=run, network=parts.network_config, seeds=(source.seed, held_out.seed))
        return tiny_run.go(output)

    monkeypatch.setattr(loop, "train", stand_in)
    monkeypatch.setattr(train, "make_parts", lambda preset, pretrained: tiny_run.parts())
    options = ("--preset", "tiny", "--steps", 6, "--seed", 4, "--batch-size", 8, "--device", "cpu")
    assert amvur("--output", tmp_path / "out", *options, "--max-seconds", 90) == 0
    assert (seen["config"].steps, seen["config"].batch_size, seen["run"].max_seconds) == (6, 8, 90.0)
    assert seen["seeds"][0] == 4
    assert seen["seeds"][1] != 4
    assert seen["run"].card["preset"] == "tiny"
    assert "6 steps in" in capsys.readouterr().out
    assert load_checkpoint(tmp_path / "out" / "last").config["card"]["step"] == 6
    assert exported == [tmp_path / "out" / name for name in ("last", "best")]
