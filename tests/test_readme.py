"""The README's commands do what the README says, on the sample photographs."""

import re
import shlex
import shutil
import time
from pathlib import Path

import pytest

from amvur.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PHOTOGRAPHS = [
    path for path in (ROOT / "examples").glob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png")
]

needs_photographs = pytest.mark.skipif(not PHOTOGRAPHS, reason="examples/ holds no sample photographs yet")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with a copy of the sample photographs, so that results do not land in the repository."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check_shape(line, names, sizes):
    """Compare `hand.joints  # (21, 3) metres` with the value; letters stand for one size each."""
    expression, comment = (part.strip() for part in line.split("  #"))
    value = eval(expression.split(" = ")[0], names)
    stated = [
        part.strip() for part in re.match(r"\s*\(([^)]*)\)", comment).group(1).split(",") if part.strip()
    ]
    assert len(stated) == value.ndim, line
    for size, actual in zip(stated, value.shape, strict=True):
        assert actual == (int(size) if size.isdigit() else sizes.setdefault(size, actual)), line


@needs_photographs
def test_the_python_block_runs_and_its_shapes_are_true(workplace):
    (code,) = blocks("python")
    names, sizes = {}, {}
    exec(code, names)
    lines = [line for line in code.splitlines() if "  # (" in line]
    assert len(lines) >= 6
    for line in lines:
        check_shape(line, names, sizes)
    assert (workplace / "hand.glb").stat().st_size > 10_000


@needs_photographs
def test_the_command_lines_run(workplace, monkeypatch, capsys):
    commands = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("amvur ")]
    assert len(commands) >= 4
    for command in commands:
        arguments = shlex.split(command, comments=True)[1:]
        with monkeypatch.context() as patch:
            if arguments[0] == "view":
                pytest.importorskip("viser", reason="viser is optional: pip install amvur[view]")
                patch.setattr(time, "sleep", interrupt)  # as if the user pressed Ctrl-C at once
            with pytest.raises(SystemExit) as exit_:
                main(arguments)
        assert exit_.value.code == 0, f"{command}\n{capsys.readouterr().err}"


def interrupt(seconds):
    raise KeyboardInterrupt


def test_every_linked_file_exists():
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    missing = [target for target in targets if not (ROOT / target).exists()]
    assert not [target for target in missing if not target.startswith("docs/images/")], missing
