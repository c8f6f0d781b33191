"""Streams of any locale or none, control characters in names, and wrong usage told before the work."""

import os
import subprocess
import sys

import pytest
from PIL import Image

from amvur.cli import main
from amvur.cli.terminal import escaped, printable, say, tell, told_warnings
from amvur.errors import InputError


def cli(*arguments, code="", **options):
    program = f"import sys\n{code}\nfrom amvur.cli import main\nmain(sys.argv[1:])"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, **options)


def test_what_a_stream_cannot_show_is_escaped(tmp_path):
    missing = tmp_path / "Hände_手.jpg"
    done = cli("reconstruct", missing, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 1
    assert rb"H\xe4nde_\u624b.jpg" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_program_without_streams_works(tmp_path):
    done = cli("reconstruct", tmp_path / "none.jpg", code="sys.stderr = sys.stdout = None")
    assert done.returncode == 1


def test_a_reader_that_has_gone_is_no_error():
    command = f"{sys.executable} -c 'from amvur.cli import main; main([\"info\"])' | true"
    done = subprocess.run(command, shell=True, capture_output=True, check=False)
    assert done.stderr == b""


def test_a_command_called_from_python_without_streams_works(tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.jpg")
    code = (
        "import sys; from pathlib import Path; folder = Path(sys.argv[1])\n"
        "from amvur.cli.options import Reconstruct; from amvur.cli.reconstruct import run_reconstruct\n"
        "sys.stderr = sys.stdout = None\n"
        "options = Reconstruct(paths=(folder,), output=folder / 'out')\n"
        "sys.exit(10 + run_reconstruct(options, lambda image, **others: []))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == 10
    assert (tmp_path / "out" / "a.json").exists()


def test_control_characters_of_names_do_not_reach_the_terminal(tmp_path, capsys):
    name = tmp_path / "a\x1b[31m\nb\x07\u202e.jpg"
    with pytest.raises(SystemExit):
        main(["reconstruct", str(name)])
    told = capsys.readouterr()
    assert "\\x1b[31m" in told.err
    assert not {"\x1b", "\x07", "\u202e"} & set(told.err + told.out)


def test_printable_keeps_what_can_be_read():
    assert printable("Hände, 手 (1)") == "Hände, 手 (1)"
    assert printable("a\r\n\udcff") == r"a\r\n\udcff"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["reconstruct", ""], "is empty"),
        (["reconstruct", "a.jpg", "--output", ""], "is empty"),
        (["reconstruct", "a.jpg", "--output="], "empty ('--output='"),
        (["evaluate", "--checkpoint=", "--data", "synth-v1"], "is empty"),
        (["synthesize", "--output", "s", "--count", "1", "--backgrounds", ""], "is empty"),
        (["train", "--output", "t", "--data=", "--steps", "1"], "is empty"),
        (["label", ".", "--output", "x" * 300], "too long"),
        (["label", ".", "--output", "a\0b"], "Cannot write"),
        (["reconstruct", "a.jpg", "--checkpoint", "x" * 300], "neither"),
        (["reconstruct", "a.jpg", "--side", "l\x1b[31m"], r"l\x1b[31m"),
        (["reconstruct", "a.jpg", "--fo\x1b[31m", "1"], r"--fo\x1b[31m"),
        (["reconstruct", "a.jpg", "--detector="], "is empty"),
        (["reconstruct", "a.jpg", "--fov", "175"], "between 1 and 170"),
        (["reconstruct", "a.jpg", "--box", "0.1", "0.1", "0.9", "0.9"], "fractions"),
    ],
)
def test_wrong_usage_is_told_before_anything_else(arguments, told, capsys, tmp_path, monkeypatch):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.jpg")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert told in said
    assert "\x1b[31m" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]


def test_a_name_too_long_for_results_is_told_before_the_engine_is_loaded(tmp_path, capsys):
    path = tmp_path / ("x" * 246 + ".jpg")
    Image.new("RGB", (64, 64)).save(path)
    with pytest.raises(SystemExit) as ended:
        main(["reconstruct", str(path), "--output", str(tmp_path / "out")])
    assert ended.value.code == 1
    assert "too long" in capsys.readouterr().err


def test_the_lines_of_a_message_stay_lines_and_a_names_newline_does_not(tmp_path, capsys, monkeypatch):
    pytest.importorskip("torch")
    folder = tmp_path / "no\ndata"
    folder.mkdir()
    with pytest.raises(SystemExit):
        main(["train", "--output", str(tmp_path / "t"), "--data", str(folder), "--steps", "1"])
    lines = capsys.readouterr().err.splitlines()
    assert any(line.endswith("Expected is") and r"no\ndata" in line for line in lines)
    assert "or a folder of your own photographs with the labels.json of `amvur label`." in lines
    assert not any(line.startswith("data") for line in lines)
    error = InputError("first", "second")
    assert str(error) == "first\nsecond"


def test_warnings_are_told_in_a_line_without_control_characters(capsys):
    import warnings

    with told_warnings():
        warnings.warn("of a\x1b[31m\nb.jpg", stacklevel=1)
    assert capsys.readouterr().err == "amvur: of a\\x1b[31m b.jpg\n"


def test_messages_without_a_place_to_tell_them_are_lost(monkeypatch):
    monkeypatch.setattr(sys, "stderr", open("/dev/full", "w"))  # noqa: SIM115
    say("this")


def test_a_stdout_that_takes_nothing_is_told():
    stdout = os.open("/dev/full", os.O_WRONLY)
    command = [sys.executable, "-c", "from amvur.cli import main\nmain(['--version'])"]
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, check=False, text=True)
    os.close(stdout)
    assert done.returncode == 1
    assert done.stderr.startswith("amvur: Cannot write to stdout: ")
    assert done.stderr.count("\n") == 1


def test_what_other_libraries_say_is_escaped_where_it_may_quote_a_name(capsys):
    with escaped("plain"):
        print("\x1b[1mcolored\x1b[0m", file=sys.stderr)
    with pytest.raises(SystemExit), escaped("a\x1b[31m"):
        sys.exit(print("a\x1b[31m\nb", file=sys.stderr))
    assert capsys.readouterr().err == "\x1b[1mcolored\x1b[0m\na\\x1b[31m\nb\n\n"


def test_lines_are_told_one_by_one(capsys):
    tell("a\nb", "c")
    assert capsys.readouterr().out == "a\\nb\nc\n"
