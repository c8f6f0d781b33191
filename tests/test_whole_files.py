"""Writing is all or nothing."""

import errno
import os
import time
from pathlib import Path

import pytest
from leftovers import leave_behind

from amvur.errors import InputError, OutputError
from amvur.export import read_glb
from amvur.whole_files import remove_leftovers, whole_file, write_file, write_files


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_full_disk_half_way_leaves_everything_as_it_was(tmp_path, monkeypatch):
    write_files({tmp_path / "a.json": b"old a", tmp_path / "b.glb": b"old b"})
    original = Path.write_bytes

    def full(self, data):
        if data == b"new b":
            original(self, data[:2])
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return original(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"b\.glb.*No space.*free some space"):
        write_files({tmp_path / "a.json": b"new a", tmp_path / "b.glb": b"new b"})
    assert contents(tmp_path) == {"a.json": b"old a", "b.glb": b"old b"}


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, MemoryError])
def test_an_interruption_leaves_no_temporary_file(tmp_path, monkeypatch, interruption):
    write_file(tmp_path / "a.json", b"old")

    def interrupt(*_):
        raise interruption

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(interruption):
        write_file(tmp_path / "a.json", b"new")
    assert contents(tmp_path) == {"a.json": b"old"}


def test_a_file_in_the_way_of_a_folder_is_explained(tmp_path):
    (tmp_path / "output").write_text("a file")
    with pytest.raises(OutputError, match=r"output.*choose another folder"):
        write_file(tmp_path / "output" / "a.json", b"x")


def test_a_folder_in_the_way_of_a_file_is_explained(tmp_path):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(OutputError, match=r"a\.json"):
        write_file(tmp_path / "a.json", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_name_that_is_too_long_is_explained(tmp_path):
    with pytest.raises(OutputError, match="rename"):
        write_file(tmp_path / ("x" * 300 + ".json"), b"x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "data", [b"", b"glTF", b"glTF" + bytes(40), b"not a mesh, but long enough to be one"]
)
def test_damaged_glb_is_refused_with_the_path(tmp_path, data):
    path = tmp_path / "bad.glb"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"bad\.glb"):
        read_glb(path)


@pytest.mark.parametrize("path", ["", "/", "a\0b.json", "x" * 300])
def test_what_can_be_no_file_is_told_by_every_writer(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match="Cannot write"):
        write_file(path, b"x")
    with pytest.raises(OutputError, match="Cannot write"), whole_file(Path(path)) as place:
        place.write_bytes(b"x")
    assert list(tmp_path.iterdir()) == []


def test_the_longest_name_that_a_disk_takes_can_be_written(tmp_path):
    path = tmp_path / ("x" * 250 + ".json")
    write_file(path, b"1")
    with whole_file(path) as place:
        place.write_bytes(b"2")
    assert contents(tmp_path) == {path.name: b"2"}


def test_leftovers_of_a_file_are_removed_and_nothing_else(tmp_path):
    left, other = leave_behind(tmp_path / "a.json"), leave_behind(tmp_path / "b.json")
    mine = [".a.json.backup.tmp", ".amvur-notes.tmp", ".amvur-00000000-0123456789ab.tmp", f"{left.name}.bak"]
    for name in mine:
        (tmp_path / name).touch()
    link = tmp_path / f"{left.name[:-12]}01234567.tmp"
    link.symlink_to(tmp_path / mine[0])
    kept = [*mine, link.name]
    remove_leftovers(tmp_path, "a.json")
    assert sorted(contents(tmp_path)) == sorted([*kept, other.name])
    remove_leftovers(tmp_path)
    assert sorted(contents(tmp_path)) == sorted(kept)


def test_what_is_still_being_written_is_left_alone(tmp_path):
    with whole_file(tmp_path / "a.json") as place:
        place.write_bytes(b"1")
        remove_leftovers(tmp_path)
        assert place.exists()
    assert contents(tmp_path) == {"a.json": b"1"}


def test_what_another_machine_left_is_removed_after_a_day(tmp_path):
    left = leave_behind(tmp_path / "a.json")
    parts = left.name.split("-")
    other = left.rename(left.with_name("-".join([*parts[:2], "0" * 8, *parts[3:]])))
    remove_leftovers(tmp_path)
    assert other.exists()
    before = time.time() - 25 * 3600
    os.utime(other, (before, before))
    remove_leftovers(tmp_path)
    assert not other.exists()


def test_a_folder_that_was_being_written_is_removed(tmp_path):
    left = leave_behind(tmp_path / "last")
    left.unlink()
    left.mkdir()
    (left / "config.json").touch()
    remove_leftovers(tmp_path, "last")
    assert list(tmp_path.iterdir()) == []
