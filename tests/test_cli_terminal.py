"""Streams of any locale or none, control characters in names, and wrong usage told before the work."""

import subprocess
import sys

import pytest

from amvur.cli import main
from amvur.cli.terminal import printable


def cli(*arguments, code="", **options):
    program = f"import sys\n{code}\nfrom amvur.cli import main\nmain(sys.argv[1:])"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, **options)


def test_what_a_stream_cannot_show_is_escaped(tmp_path):
    import os

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
        (["reconstruct", ""], "empty"),
        (["reconstruct", "a.jpg", "--output", ""], "empty"),
        (["reconstruct", "a.jpg", "--fov", "175"], "between 1 and 170"),
        (["reconstruct", "a.jpg", "--box", "0.1", "0.1", "0.9", "0.9"], "fractions"),
    ],
)
def test_wrong_usage_is_told_before_anything_else(arguments, told, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_a_name_too_long_for_results_is_told_before_the_engine_is_loaded(tmp_path, capsys):
    from PIL import Image

    path = tmp_path / ("x" * 246 + ".jpg")
    Image.new("RGB", (64, 64)).save(path)
    with pytest.raises(SystemExit) as ended:
        main(["reconstruct", str(path), "--output", str(tmp_path / "out")])
    assert ended.value.code == 1
    assert "too long" in capsys.readouterr().err
