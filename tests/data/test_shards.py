"""Shards: exact round trip, the same bytes after a kill, nothing foreign overwritten, clear messages."""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_source import KINDS, DrawnSource
from PIL import Image

from amvur.data.samples import HandBatch, JointState, concatenate
from amvur.data.synthetic import shards
from amvur.data.synthetic.records import decode_sample, encode_sample
from amvur.data.synthetic.shard_reader import check_shards, read_manifest, read_shards
from amvur.data.synthetic.shards import ShardPlan, write_shards
from amvur.data.synthetic.statistics import add_counts, count_batch
from amvur.errors import InputError, OutputError

HALF = ("vertex_albedo", "vertex_colors")
NAMES = [field.name for field in dataclasses.fields(HandBatch)]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_same_batches(found, wanted):
    for name in NAMES:
        a, b = getattr(found, name), getattr(wanted, name)
        assert a.dtype == b.dtype, name
        torch.testing.assert_close(a, b, rtol=0, atol=2.5e-4 if name in HALF else 0, msg=name)


@pytest.mark.parametrize("image_format", ["png", "jpg"])
def test_a_sample_survives_its_files(image_format):
    batch, kinds = DrawnSource(size=48).named_samples([3])
    files = encode_sample(batch, 0, kinds[0], image_format)
    assert set(files) == {image_format, "mask.png", "json", "npz"}
    found = decode_sample(files, "x")
    if image_format == "jpg":  # noise is the worst that a JPEG can meet
        difference = (found.images.int() - batch.images.int()).abs()
        assert difference.float().mean() < 8
        found = dataclasses.replace(found, images=batch.images)
    assert_same_batches(found, batch)


def test_labels_can_be_read_without_amvur():
    batch, kinds = DrawnSource().named_samples([1])
    labels = json.loads(encode_sample(batch, 0, kinds[0], "png")["json"])
    np.testing.assert_array_equal(np.float32(labels["joints"]), batch.joints[0].numpy())
    assert labels["side"] == ("left" if batch.is_left[0] else "right")
    assert labels["kind"] == "prior"
    assert labels["joint_state_names"] == [state.name.lower() for state in JointState]


def test_round_trip_over_shards(tmp_path):
    source = DrawnSource()
    told = []
    write_shards(source, tmp_path, ShardPlan(25, 10, "png", chunk=4), told.append)
    assert sum(told) == 25
    assert sorted(contents(tmp_path)) == [
        "contact_sheet.png",
        "manifest.json",
        "shard-000000.tar",
        "shard-000001.tar",
        "shard-000002.tar",
        "statistics.json",
    ]
    batches = list(read_shards(tmp_path, batch_size=8))
    assert [len(batch) for batch in batches] == [8, 8, 8, 1]
    assert_same_batches(concatenate(batches), source.named_samples(range(25))[0])
    assert check_shards(tmp_path) == 25


def test_members_are_a_webdataset_with_bare_headers(tmp_path):
    write_shards(DrawnSource(), tmp_path, ShardPlan(3))
    with tarfile.open(tmp_path / "shard-000000.tar") as archive:
        members = archive.getmembers()
    assert [m.name for m in members[:4]] == [f"000000000.{s}" for s in ("jpg", "mask.png", "json", "npz")]
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}
    assert len({m.name for m in members}) == len(members) == 12


def test_statistics_are_those_of_the_samples(tmp_path):
    write_shards(DrawnSource(), tmp_path, ShardPlan(70, 30))
    batch, _ = DrawnSource().named_samples(range(70))
    found = json.loads((tmp_path / "statistics.json").read_text())
    assert found["samples"] == 70
    assert found["seed"] == 0
    assert found["hand_model_sha256"] == "0" * 64
    assert found["left"] == int(batch.is_left.sum())
    assert found["pose_kinds"] == dict.fromkeys(sorted(KINDS), 35)
    histogram, _ = np.histogram(batch.occlusion.numpy(), bins=10, range=(0, 1))
    assert found["occlusion_histogram"] == histogram.tolist()
    assert found["joints"]["outside"] == int((batch.joint_states == JointState.OUTSIDE).sum())
    pixels = batch.images.reshape(-1, 3).double()
    np.testing.assert_allclose(found["color_mean"], pixels.mean(0), atol=1e-3)
    np.testing.assert_allclose(found["color_std"], pixels.std(0, correction=0), atol=1e-3)
    with Image.open(tmp_path / "contact_sheet.png") as sheet:
        assert sheet.size == (8 * 32, 8 * 32)


def test_counts_add_up_in_any_parts():
    source = DrawnSource()
    whole = count_batch(*source.named_samples(range(10)))
    parts = [count_batch(*source.named_samples(part)) for part in ([0], range(1, 4), range(4, 10))]
    assert add_counts(parts) == whole
    assert add_counts([{"k": {"a": 1}}, {"k": {"b": 2}}]) == {"k": {"a": 1, "b": 2}}


def test_workers_and_chunks_do_not_change_a_byte(tmp_path):
    for name, plan in {
        "one": ShardPlan(23, 10, chunk=7),
        "two": ShardPlan(23, 10, chunk=3, workers=2),
    }.items():
        write_shards(DrawnSource(), tmp_path / name, plan)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


KILLED = """
import sys
from pathlib import Path
from drawn_source import DrawnSource
from amvur.data.synthetic.shards import ShardPlan, write_shards
write_shards(DrawnSource(pause_s=0.02), Path(sys.argv[1]), ShardPlan(60, 10, workers=int(sys.argv[2]), chunk=1))
"""


def runs(text):
    """Whether a process has this text in its command (Linux; elsewhere none is found)."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if text.encode() in path.read_bytes():
                return True
    return False


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_run_continues_without_a_broken_or_double_sample(tmp_path, workers):
    write_shards(DrawnSource(), tmp_path / "whole", ShardPlan(60, 10, chunk=1))
    folder = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder), str(workers)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
    )
    deadline = time.monotonic() + 60
    while not (folder / "shard-000001.tar").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    while time.monotonic() < deadline:
        process.send_signal(signal.SIGSTOP)  # held, it cannot finish the shard that it is seen to write
        os.waitpid(process.pid, os.WUNTRACED)
        if list(folder.glob(".amvur-*.tmp")):
            break
        process.send_signal(signal.SIGCONT)
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    while runs(str(folder)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not runs(str(folder)), "workers outlive it"
    left = contents(folder)
    finished = [name for name in left if name.endswith(".tar")]
    assert 2 <= len(finished) < 6
    assert any(name.endswith(".tmp") for name in left), "it was killed in the middle of a shard"
    for name in finished:  # whole and right already
        assert left[name] == (tmp_path / "whole" / name).read_bytes()
    with pytest.raises(InputError, match="unfinished"):
        list(read_shards(folder))
    write_shards(DrawnSource(), folder, ShardPlan(60, 10, chunk=1))
    assert contents(folder) == contents(tmp_path / "whole")


def test_only_missing_shards_are_rendered(tmp_path, monkeypatch):
    write_shards(DrawnSource(), tmp_path, ShardPlan(30, 10))
    before = contents(tmp_path)
    (tmp_path / "shard-000001.tar").unlink()
    data = before["shard-000002.tar"]
    (tmp_path / "shard-000002.tar").write_bytes(data[: len(data) // 2])
    source, asked = DrawnSource(), []
    draw = source.named_samples
    monkeypatch.setattr(source, "named_samples", lambda places: (asked.extend(places), draw(places))[1])
    write_shards(source, tmp_path, ShardPlan(30, 10))
    assert asked == list(range(10, 30))
    assert contents(tmp_path) == before


def test_a_set_can_grow_but_not_shrink(tmp_path):
    write_shards(DrawnSource(), tmp_path / "a", ShardPlan(15, 10))
    write_shards(DrawnSource(), tmp_path / "a", ShardPlan(32, 10))
    write_shards(DrawnSource(), tmp_path / "b", ShardPlan(32, 10))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    with pytest.raises(OutputError, match=r"set of 32 samples, found a count of 15"):
        write_shards(DrawnSource(), tmp_path / "a", ShardPlan(15, 10))


def test_another_configuration_is_never_overwritten(tmp_path):
    write_shards(DrawnSource(), tmp_path, ShardPlan(10, 10))
    before = contents(tmp_path)
    for source, plan in [
        (DrawnSource(seed=1), ShardPlan(10, 10)),
        (DrawnSource(), ShardPlan(10, 5)),
        (DrawnSource(), ShardPlan(10, 10, "png")),
    ]:
        with pytest.raises(OutputError, match="another configuration"):
            write_shards(source, tmp_path, plan)
    with pytest.raises(OutputError, match=r"seed: there 0, now 1"):
        write_shards(DrawnSource(seed=1), tmp_path, ShardPlan(10, 10))
    assert contents(tmp_path) == before


def test_foreign_shards_are_never_overwritten(tmp_path):
    (tmp_path / "shard-000007.tar").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"shard-000007\.tar exists without a manifest\.json"):
        write_shards(DrawnSource(), tmp_path, ShardPlan(10, 10))
    assert contents(tmp_path) == {"shard-000007.tar": b"mine"}


def test_a_full_disk_is_told_and_finished_shards_stay(tmp_path, monkeypatch):
    real, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 4:  # manifest, shard, manifest, shard: the manifest no longer fits
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(shards.os, "fsync", full)
        with pytest.raises(OutputError, match=r"No space left on device.*finished stay.*continues"):
            write_shards(DrawnSource(), tmp_path, ShardPlan(30, 10))
    assert sorted(contents(tmp_path)) == ["manifest.json", "shard-000000.tar", "shard-000001.tar"]
    write_shards(DrawnSource(), tmp_path, ShardPlan(30, 10))
    assert_same_batches(
        dataclasses.replace(
            concatenate(list(read_shards(tmp_path))), images=DrawnSource().named_samples(range(30))[0].images
        ),
        DrawnSource().named_samples(range(30))[0],
    )


def test_unusable_folders_are_told(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="Cannot write"):
        write_shards(DrawnSource(), tmp_path / "file" / "set", ShardPlan(2))
    with pytest.raises(InputError, match=r"no manifest\.json"):
        list(read_shards(tmp_path))
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(InputError, match=r"manifest\.json is damaged"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(InputError, match=r"manifest\.json is .*no.* a? ?manifest"):
        write_shards(DrawnSource(), tmp_path, ShardPlan(2))


def test_a_changed_or_damaged_shard_is_named(tmp_path):
    write_shards(DrawnSource(), tmp_path, ShardPlan(4, 2, "png"))
    path = tmp_path / "shard-000001.tar"
    data = bytearray(path.read_bytes())
    with tarfile.open(path) as archive:
        place = archive.getmembers()[0].offset_data
    data[place + 40] ^= 255
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"shard-000001\.tar was changed"):
        check_shards(tmp_path)
    with pytest.raises(InputError, match=r"shard-000001\.tar:000000002 is damaged"):
        list(read_shards(tmp_path))
    path.unlink()
    with pytest.raises(InputError, match=r"shard-000001\.tar is missing"):
        list(read_shards(tmp_path))


def test_the_manifest_knows_every_shard(tmp_path):
    manifest = write_shards(DrawnSource(), tmp_path, ShardPlan(5, 3))
    assert manifest == json.loads((tmp_path / "manifest.json").read_text())
    for name, entry in manifest["shards"].items():
        data = (tmp_path / name).read_bytes()
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()
        assert entry["bytes"] == len(data)


@pytest.mark.parametrize("wrong", [{"count": 0}, {"count": 1, "shard_size": 0}, {"count": 1, "workers": -1}])
def test_numbers_that_make_no_sense(wrong):
    with pytest.raises(InputError, match="Wanted a count"):
        ShardPlan(**wrong)
