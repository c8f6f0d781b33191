"""Files that this program did not write are neither replaced nor removed."""

import json

import numpy as np
import pytest
from factories import make_hand
from leftovers import leave_behind
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from amvur.cli import main
from amvur.cli.options import Reconstruct
from amvur.cli.reconstruct import run_reconstruct
from amvur.errors import OutputError
from amvur.export import report_bytes, write_glb, write_obj, write_ply
from amvur.export.ownership import check_replaceable, is_ours


@pytest.fixture
def folder(tmp_path):
    """A photograph, and things of the user's beside it whose names results would like to have."""
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(tmp_path / "a.jpg")
    return tmp_path


def engine(count):
    return lambda image, **options: [make_hand()] * count


def run(folder, count=1, formats=("glb",)):
    options = Reconstruct(paths=(folder / "a.jpg",), output=folder, format=formats)
    return run_reconstruct(options, engine(count))


@pytest.mark.parametrize("name", ["a_overlay.png", "a_0.glb", "a_1.glb", "a.json"])
def test_a_file_of_the_users_is_not_overwritten(folder, capsys, name):
    (folder / name).write_bytes(b"mine")
    assert run(folder, count=2) == 1
    assert (folder / name).read_bytes() == b"mine"
    assert f"{name} exists" in capsys.readouterr().err
    assert len(list(folder.iterdir())) == 2


def test_files_that_a_run_did_not_write_are_not_removed(folder):
    assert run(folder, count=3) == 0
    mine = folder / "a_7.obj"
    mine.write_text("o mine")
    write_obj(folder / "a_1.obj", [make_hand()])  # as `amvur export` does
    assert run(folder, count=1) == 0
    assert mine.read_text() == "o mine"
    assert (folder / "a_0.glb").exists()
    assert not (folder / "a_2.glb").exists()


def test_results_of_a_run_that_was_killed_before_its_report_are_replaced(folder):
    assert run(folder, count=2) == 0
    (folder / "a.json").unlink()
    assert run(folder, count=2) == 0
    assert json.loads((folder / "a.json").read_text())["hands"]


def test_export_overwrites_its_own_files_alone(folder, capsys):
    assert run(folder) == 0
    for expected in (0, 0):
        with pytest.raises(SystemExit) as ended:
            main(["export", str(folder / "a.json"), "--format", "obj"])
        assert ended.value.code == expected
    (folder / "a_0.obj").write_text("o mine")
    with pytest.raises(SystemExit) as ended:
        main(["export", str(folder / "a.json"), "--format", "obj"])
    assert ended.value.code == 2
    assert "a_0.obj exists" in capsys.readouterr().err


def test_marks_are_known_and_other_files_are_not(tmp_path):
    for name, write in (("a.glb", write_glb), ("a.obj", write_obj), ("a.ply", write_ply)):
        write(tmp_path / name, [make_hand()])
        assert is_ours(tmp_path / name)
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes().replace(b"amvur", b"other"))
        assert not is_ours(tmp_path / name)
    (tmp_path / "b.glb").mkdir()
    (tmp_path / "link.obj").symlink_to(tmp_path / "nothing")
    for name in ("b.glb", "link.obj"):
        with pytest.raises(OutputError, match=name):
            check_replaceable([tmp_path / name])
    check_replaceable([tmp_path / "new.glb"])


def test_what_export_wrote_stays_after_another_run(folder):
    assert run(folder, count=2) == 0
    write_obj(folder / "a_0.obj", [make_hand()])  # as `amvur export` does
    assert run(folder, count=2) == 0
    assert (folder / "a_0.obj").exists()


def test_a_result_saved_by_another_program_is_not_overwritten(folder, capsys):
    """The report still names it, but the file is no longer what was written."""
    assert run(folder, formats=("glb", "obj")) == 0
    for name, mine in (("a_0.obj", b"# Blender\n"), ("a_overlay.png", b"\x89PNG mine")):
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(mine)
        assert run(folder, formats=("glb", "obj")) == 1
        assert (folder / name).read_bytes() == mine
        assert f"{name} exists" in capsys.readouterr().err
        (folder / name).write_bytes(before)


def test_a_link_is_not_overwritten(folder, tmp_path):
    assert run(folder) == 0
    kept = folder / "kept.glb"
    (folder / "a_0.glb").rename(kept)
    (folder / "a_0.glb").symlink_to(kept)
    assert run(folder) == 1
    assert (folder / "a_0.glb").is_symlink()


def edited(path):
    """Change a result as its user would, so that its mark stays."""
    if path.suffix == ".png":
        picture = Image.open(path)
        info = PngInfo()
        info.add_text("Software", picture.info["Software"])
        picture.convert("L").save(path, pnginfo=info)
    elif path.suffix == ".json":
        content = json.loads(path.read_text())
        path.write_text(json.dumps(content | {"note": "the left one is better"}, indent=1))
    elif path.suffix == ".obj":
        path.write_text(path.read_text() + "# checked by hand\n")
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    return path.read_bytes()


@pytest.mark.parametrize("name", ["a_overlay.png", "a_0.glb", "a_0.obj", "a_0.ply", "a.json"])
def test_a_result_that_was_edited_is_the_users(folder, capsys, name):
    kinds = ("glb", "obj", "ply")
    assert run(folder, formats=kinds) == 0
    assert run(folder, formats=kinds) == 0, "untouched ones are replaced"
    mine = edited(folder / name)
    assert run(folder, formats=kinds) == 1
    assert (folder / name).read_bytes() == mine
    assert (
        f"{name} exists and was not written by this version of amvur, or was changed"
        in capsys.readouterr().err
    )


def test_a_stale_result_that_was_edited_stays(folder):
    assert run(folder, count=2, formats=("glb", "obj")) == 0
    mine = edited(folder / "a_1.obj")
    assert run(folder, count=1, formats=("glb", "obj")) == 0
    assert (folder / "a_1.obj").read_bytes() == mine
    assert not (folder / "a_1.glb").exists()


def test_results_without_a_seal_are_kept(folder):
    """Those of earlier versions, an overlay without even a mark: nobody can say whether they were edited."""
    assert run(folder) == 0
    for name in ("a.json", "a_overlay.png"):
        before = (folder / name).read_bytes()
        if name == "a.json":
            content = json.loads(before)
            del content["seal"]
            (folder / name).write_text(json.dumps(content))
        else:
            Image.open(folder / name).convert("RGB").save(folder / name)
        kept = (folder / name).read_bytes()
        assert run(folder) == 1
        assert (folder / name).read_bytes() == kept
        (folder / name).write_bytes(before)


def test_a_report_from_elsewhere_reaches_for_no_other_photographs_files(folder):
    assert run(folder) == 0
    others = [folder / "b_0.glb", folder / "a.glb"]
    for other in others:
        write_glb(other, [make_hand()])
    content = json.loads((folder / "a.json").read_text())
    content["files"] += ["b_0.glb", "a.glb", "../a_9.glb", ""]
    (folder / "a.json").write_bytes(report_bytes(content))
    assert run(folder) == 0
    assert all(other.exists() for other in others)


def test_files_of_the_users_are_told_before_the_engine_is_loaded(folder, monkeypatch):
    def load(options):
        raise AssertionError("loaded in vain")

    monkeypatch.setattr("amvur.cli.reconstruct._make_engine", load)
    (folder / "a_0.glb").write_bytes(b"mine")
    assert run_reconstruct(Reconstruct(paths=(folder / "a.jpg",), output=folder)) == 1


def test_what_a_killed_run_left_is_removed_and_what_is_the_users_stays(folder):
    leave_behind(folder / "a_0.glb")
    mine = folder / ".amvur-notes.tmp"
    mine.write_text("mine")
    assert run(folder) == 0
    assert [path.name for path in folder.glob(".*")] == [mine.name]
    leave_behind(folder / "a_0.obj")
    with pytest.raises(SystemExit):
        main(["export", str(folder / "a.json"), "--format", "obj"])
    assert [path.name for path in folder.glob(".*")] == [mine.name]
