"""The command line with a stand-in for the engine: files, messages and exit statuses."""

import errno
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from factories import make_hand
from PIL import Image

from amvur.cli import main, reconstruct
from amvur.cli.naming import output_stems
from amvur.cli.options import Reconstruct
from amvur.cli.reconstruct import run_reconstruct
from amvur.errors import ImageError, OutputError


class FakeEngine:
    """Finds a fixed number of hands and remembers how it was called."""

    def __init__(self, hands=1):
        self.hands = hands
        self.calls = []

    def __call__(self, image, **options):
        height, width = image.shape[:2]
        self.calls.append({"size": (width, height), **options})
        return [make_hand(index, size=(width, height)) for index in range(self.hands)]


@pytest.fixture
def engine(monkeypatch):
    """Replace the engine behind `amvur reconstruct`."""
    fake = FakeEngine()
    monkeypatch.setattr(reconstruct, "_make_engine", lambda options: fake)
    return fake


@pytest.fixture
def photo(tmp_path):
    return save(tmp_path / "photos" / "wave.jpg")


def save(path, size=(160, 120)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0], 3), 90, np.uint8)).save(path)
    return path


def amvur(*arguments):
    """Run the command line in this process and return its exit status."""
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    return exit_.value.code


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_one_photograph_makes_a_report_an_overlay_and_a_mesh(photo, tmp_path, engine, capsys):
    engine.hands = 2
    out = tmp_path / "out"
    assert amvur("reconstruct", photo, "--output", out) == 0
    assert names(out) == ["wave.json", "wave_0.glb", "wave_1.glb", "wave_overlay.png"]
    report = json.loads((out / "wave.json").read_text())
    assert [hand["mesh"] for hand in report["hands"]] == ["wave_0.glb", "wave_1.glb"]
    assert report["image"] == {"path": str(photo), "width": 160, "height": 120}
    output = capsys.readouterr()
    assert output.out.count("\n") == 1
    assert "1 of 1 photographs processed, 2 hands" in output.out
    assert "%" not in output.err, "no progress bar where there is no terminal"


def test_what_is_no_picture_is_told_before_the_engine_is_loaded(photo, tmp_path, monkeypatch, capsys):
    def load(options):
        raise AssertionError("loaded in vain")

    monkeypatch.setattr(reconstruct, "_make_engine", load)
    clip, document = photo.with_name("clip.mp4"), photo.with_name("scan.jpg")
    clip.write_bytes(b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41")
    document.write_bytes(b"%PDF-1.7")
    assert amvur("reconstruct", clip, document, "--output", tmp_path / "o") == 1
    told = capsys.readouterr().err
    assert f"{clip} is a clip (MP4 or QuickTime), not a photograph" in told
    assert f"ffmpeg -i {clip} frames/%06d.png" in told
    assert "is a PDF document" in told
    assert amvur("label", clip) == 2
    assert "is a clip" in capsys.readouterr().err


def test_options_reach_the_engine(photo, tmp_path, engine):
    camera = ("--intrinsics", 500, 501, 80, 60)
    box = ("--box", 10, 20, 100, 110)
    assert amvur("reconstruct", photo, "--output", tmp_path / "o", *camera, *box, "--side", "left") == 0
    (call,) = engine.calls
    np.testing.assert_array_equal(call["intrinsics"], [[500, 0, 80], [0, 501, 60], [0, 0, 1]])
    np.testing.assert_array_equal(call["boxes"], [[10, 20, 100, 110]])
    assert (call["side"], call["fov_deg"]) == ("left", None)
    assert amvur("reconstruct", photo, "--output", tmp_path / "o", "--fov", 70) == 0
    assert engine.calls[1]["fov_deg"] == 70
    assert engine.calls[1]["intrinsics"] is None
    assert engine.calls[1]["boxes"] is None


def test_formats_are_chosen_together(photo, tmp_path, engine):
    assert amvur("reconstruct", photo, "--output", tmp_path / "o", "--format", "ply", "obj", "glb") == 0
    assert names(tmp_path / "o") == [
        "wave.json",
        "wave_0.glb",
        "wave_0.obj",
        "wave_0.ply",
        "wave_overlay.png",
    ]
    assert json.loads((tmp_path / "o" / "wave.json").read_text())["hands"][0]["mesh"] == "wave_0.ply"


def test_no_hand_is_no_failure(photo, tmp_path, engine, capsys):
    engine.hands = 0
    assert amvur("reconstruct", photo, "--output", tmp_path / "o") == 0
    assert names(tmp_path / "o") == ["wave.json", "wave_overlay.png"]
    report = json.loads((tmp_path / "o" / "wave.json").read_text())
    assert report["hands"] == []
    assert "No hand was found" in report["warnings"][0]
    assert report["camera"]["source"] == "assumed"
    assert "--box" in capsys.readouterr().err


def test_a_run_with_fewer_hands_removes_what_is_stale_and_nothing_else(photo, tmp_path, engine):
    out = tmp_path / "o"
    engine.hands = 3
    assert amvur("reconstruct", photo, "--output", out, "--format", "glb", "obj") == 0
    mine = ["wave_notes.txt", "wave_2.png", "other_2.glb", "wave_2b.glb"]
    for other in mine:
        (out / other).write_text("mine")
    engine.hands = 1
    assert amvur("reconstruct", photo, "--output", out) == 0
    assert names(out) == sorted(["wave.json", "wave_0.glb", "wave_overlay.png", *mine])


def test_equal_names_from_different_folders_do_not_overwrite_each_other(tmp_path, engine, capsys):
    for name in ("a/x.jpg", "b/x.jpg", "b/y.jpg", "b/y.png"):
        save(tmp_path / name)
    assert amvur("reconstruct", tmp_path / "a", tmp_path / "b", "--output", tmp_path / "o") == 0
    reports = [name for name in names(tmp_path / "o") if name.endswith(".json")]
    assert reports == ["a_x.json", "b_x.json", "y_jpg.json", "y_png.json"]
    told = capsys.readouterr().err
    assert "a_x" in told
    assert "y_png" in told


def test_equal_names_in_a_later_run_are_told(tmp_path, engine, capsys):
    first, second = save(tmp_path / "a" / "x.jpg"), save(tmp_path / "b" / "x.jpg")
    for path in (first, first):
        assert amvur("reconstruct", path, "--output", tmp_path / "o") == 0
    assert capsys.readouterr().err == ""
    assert amvur("reconstruct", second, "--output", tmp_path / "o") == 0
    assert "replace those of" in capsys.readouterr().err


def test_a_json_file_of_somebody_else_is_not_overwritten(photo, tmp_path, engine, capsys):
    mine = photo.with_suffix(".json")
    mine.write_text('{"my": "labels"}')
    assert amvur("reconstruct", photo, "--output", photo.parent) == 1
    assert mine.read_text() == '{"my": "labels"}'
    assert names(photo.parent) == ["wave.jpg", "wave.json"]
    assert "not overwritten" in capsys.readouterr().err


def test_overlays_beside_the_photographs_are_not_photographs(photo, engine):
    for _ in range(2):
        assert amvur("reconstruct", photo.parent, "--output", photo.parent) == 0
    assert names(photo.parent) == ["wave.jpg", "wave.json", "wave_0.glb", "wave_overlay.png"]


def test_the_same_file_twice_is_processed_once(photo, tmp_path, engine):
    assert amvur("reconstruct", photo, photo, photo.parent, "--output", tmp_path / "o") == 0
    assert len(engine.calls) == 1


@pytest.mark.parametrize(
    ("inputs", "stems"),
    [
        (["x.jpg"], ["x"]),
        (["a/x.jpg", "b/x.jpg"], ["a_x", "b_x"]),
        (["a/x.jpg", "a/X.jpg"], ["x_jpg", "X_jpg-2"]),
        (["a/c/x.jpg", "b/c/x.jpg"], ["a_c_x", "b_c_x"]),
        (["a/x.jpg", "b/x.jpg", "c/a_x.jpg"], ["a_x-2", "b_x", "a_x"]),
    ],
)
def test_stems(inputs, stems):
    found, notes = output_stems([Path("/data") / name for name in inputs])
    assert len({stem.casefold() for stem in found.values()}) == len(inputs)
    if "X_jpg-2" not in stems:
        assert list(found.values()) == stems
    assert len(notes) == sum(stem != path.stem for path, stem in found.items())


def bad_photo(kind, path):
    """Make a file that is no usable photograph."""
    good = save(path.with_name("good.jpg"), (640, 480)).read_bytes()
    path.with_name("good.jpg").unlink()
    if kind == "zero bytes":
        path.write_bytes(b"")
    elif kind == "truncated":
        noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path, quality=90)
        path.write_bytes(path.read_bytes()[:3000])
    elif kind == "text":
        path.write_text("I am not a photograph.")
    elif kind == "header only":
        path.write_bytes(good[:20])


@pytest.mark.parametrize("kind", ["missing", "zero bytes", "truncated", "text", "header only"])
def test_a_bad_file_is_told_and_the_others_are_written(kind, photo, tmp_path, engine, capsys):
    bad = photo.with_name("bad.jpg")
    bad_photo(kind, bad)
    assert amvur("reconstruct", bad, photo, "--output", tmp_path / "o") == 1
    assert names(tmp_path / "o") == ["wave.json", "wave_0.glb", "wave_overlay.png"]
    output = capsys.readouterr()
    (line,) = output.err.splitlines()
    assert "FAILED" in line
    assert "bad.jpg" in line
    assert "Traceback" not in output.err
    assert "1 of 2 photographs processed" in output.out
    assert "1 failed" in output.out


def test_a_folder_without_photographs_is_told(tmp_path, engine, capsys):
    (tmp_path / "empty").mkdir()
    assert amvur("reconstruct", tmp_path / "empty", "--output", tmp_path / "o") == 1
    assert "empty" in capsys.readouterr().err
    assert engine.calls == []


def test_a_photograph_of_one_pixel_is_told(tmp_path, engine, capsys):
    tiny = save(tmp_path / "tiny.png", (1, 1))
    assert amvur("reconstruct", tiny, "--output", tmp_path / "o") == 1
    assert "tiny.png" in capsys.readouterr().err


def test_of_an_animated_gif_the_first_frame_is_used_and_that_is_told(tmp_path, engine, capsys):
    frames = [Image.new("RGB", (64, 48), color) for color in ("red", "green")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert amvur("reconstruct", tmp_path / "moving.gif", "--output", tmp_path / "o") == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "moving.gif" in line
    assert "first" in line
    assert "first" in json.loads((tmp_path / "o" / "moving.json").read_text())["warnings"][0]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--fov", "60", "--intrinsics", "500", "500", "80", "60"],
        ["--fov", "0"],
        ["--fov", "nan"],
        ["--fov", "180"],
        ["--intrinsics", "nan", "500", "80", "60"],
        ["--intrinsics", "500", "-500", "80", "60"],
        ["--intrinsics", "500", "500", "inf", "60"],
        ["--intrinsics", "0.9", "1.2", "0.5", "0.5"],
        ["--intrinsics", "500", "500", "0.5", "0.5"],
        ["--intrinsics", "500", "500"],
        ["--box", "0.1", "0.1", "0.9", "0.9"],
        ["--box", "10", "10", "12", "12"],
        ["--output="],
        ["--box", "10", "10", "5", "50"],
        ["--box", "10", "10", "10", "50"],
        ["--box", "nan", "10", "20", "50"],
        ["--box", "1", "2", "3"],
        ["--detector", "none"],
        ["--detector", "none", "--box", "10", "10", "50", "50"],
        ["--detector", "missing.task"],
        ["--hand-model", "mano"],
        ["--checkpoint", "missing_folder"],
        ["--side", "both"],
        ["--device", "abacus"],
        ["--format", "fbx"],
        ["--format"],
        ["--unknown"],
    ],
)
def test_wrong_usage_is_told_before_anything_is_done(arguments, photo, tmp_path, engine, capsys):
    paths = [photo] if arguments else []
    assert amvur("reconstruct", *paths, *arguments, "--output", tmp_path / "o") == 2
    assert not (tmp_path / "o").exists()
    error = capsys.readouterr().err
    assert error
    assert "Traceback" not in error


def test_an_output_folder_that_cannot_be_made_is_wrong_usage(photo, tmp_path, engine, capsys):
    (tmp_path / "file").write_text("in the way")
    assert amvur("reconstruct", photo, "--output", tmp_path / "file" / "o") == 2
    assert "--output" in capsys.readouterr().err
    assert engine.calls == []


def test_an_output_folder_that_cannot_be_written_to_is_wrong_usage(photo, tmp_path, engine, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(
        "tempfile.TemporaryFile", refuse
    )  # root may write anywhere, so permissions do not help
    with pytest.raises(OutputError, match="Permission denied"):
        run_reconstruct(Reconstruct(paths=(photo,), output=tmp_path / "o"), engine)


def test_a_disk_that_fills_up_half_way_fails_that_photograph_only(tmp_path, engine, monkeypatch, capsys):
    for name in ("a", "b", "c"):
        save(tmp_path / "photos" / f"{name}.jpg")
    original = Path.write_bytes
    written = []

    def full(self, data):
        written.append(self)
        if len(written) == 5:  # the second file of the second photograph
            original(self, data[:100])
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    assert amvur("reconstruct", tmp_path / "photos", "--output", tmp_path / "o") == 1
    assert {name[0] for name in names(tmp_path / "o")} == {"a", "c"}
    assert not [name for name in names(tmp_path / "o") if "tmp" in name]
    error = capsys.readouterr().err
    assert "b.jpg" in error
    assert "free some space" in error


def test_a_bug_in_the_engine_fails_that_photograph_only(photo, tmp_path, engine, monkeypatch, capsys):
    save(photo.with_name("bug.jpg"), (30, 30))

    def engine_with_bug(image, **options):
        if image.shape[0] == 30:
            raise IndexError("list index out of range")
        return engine(image, **options)

    monkeypatch.setattr(reconstruct, "_make_engine", lambda options: engine_with_bug)
    assert amvur("reconstruct", photo.parent, "--output", tmp_path / "o") == 1
    error = capsys.readouterr().err
    assert "bug.jpg" in error
    assert "Traceback" not in error
    monkeypatch.setenv("AMVUR_DEBUG", "1")
    with pytest.raises(IndexError):
        main(["reconstruct", str(photo.parent), "--output", str(tmp_path / "o")])


def test_an_error_of_the_engine_fails_that_photograph_only(photo, tmp_path, capsys):
    def refuse(image, **options):
        raise ImageError("The photograph is too small. Use a larger one.")

    options = Reconstruct(paths=(photo,), output=tmp_path / "o")
    assert run_reconstruct(options, refuse) == 1
    assert "wave.jpg: The photograph is too small" in capsys.readouterr().err


def test_ctrl_c_leaves_no_half_written_file(photo, tmp_path, engine, monkeypatch, capsys):
    def interrupt(self, data):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupt)
    assert amvur("reconstruct", photo, "--output", tmp_path / "o") == 130
    assert names(tmp_path / "o") == []
    assert "stopped" in capsys.readouterr().err


def test_export_converts_a_report_and_a_mesh(photo, tmp_path, engine, capsys):
    engine.hands = 2
    out = tmp_path / "o"
    assert amvur("reconstruct", photo, "--output", out) == 0
    assert amvur("export", out / "wave.json", "--format", "obj", "ply") == 0
    assert {"wave_0.obj", "wave_1.obj", "wave_0.ply", "wave_1.ply"} <= set(names(out))
    assert amvur("export", out / "wave_1.glb", "--output", tmp_path / "elsewhere") == 0
    assert names(tmp_path / "elsewhere") == ["wave_1.obj"]
    assert (tmp_path / "elsewhere" / "wave_1.obj").read_bytes() == (out / "wave_1.obj").read_bytes()


def test_export_and_reconstruct_write_the_same_mesh(photo, tmp_path, engine):
    assert amvur("reconstruct", photo, "--output", tmp_path / "o", "--format", "glb", "ply") == 0
    direct = (tmp_path / "o" / "wave_0.ply").read_bytes()
    assert amvur("export", tmp_path / "o" / "wave.json", "--format", "ply") == 0
    assert (tmp_path / "o" / "wave_0.ply").read_bytes() == direct


@pytest.mark.parametrize("name", ["missing.json", "missing.glb", "wave.jpg"])
def test_export_of_something_else_is_refused(photo, name, capsys):
    assert amvur("export", photo.with_name(name)) == 2
    assert name in capsys.readouterr().err


def test_view_of_something_else_is_refused(photo, capsys):
    assert amvur("view", photo) == 2
    assert "wave.jpg" in capsys.readouterr().err


def test_info_names_versions_devices_and_licences(capsys):
    assert amvur("info") == 0
    text = capsys.readouterr().out
    for word in ("torch", "mediapipe", "cpu", "open", "CC0", "MANO"):
        assert word in text


def test_help_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys, amvur, amvur.cli\n"
        "heavy = {'torch', 'numpy', 'mediapipe', 'numba', 'PIL', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "amvur.cli.main(['--help'])"
    )
    start = time.perf_counter()
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "reconstruct" in result.stdout
    assert time.perf_counter() - start < 5, "0.3 s on an idle machine; the bound is for busy ones"
