"""Shards and manifests that were damaged on purpose: an error that names the shard, in bounded time and memory."""

import io
import json
import struct
import tarfile

import numpy as np
import pytest
from drawn_source import DrawnSource
from limits import refused, within
from PIL import Image

from amvur.data.synthetic.records import decode_sample
from amvur.data.synthetic.shard_index import IndexedShards
from amvur.data.synthetic.shard_reader import check_shards, contact_sheet_bytes, read_manifest, read_shards
from amvur.data.synthetic.shards import ShardPlan, write_shards
from amvur.errors import InputError

READERS = {
    "in order": lambda folder: list(read_shards(folder)),
    "by place": lambda folder: IndexedShards(folder)[1],
    "contact sheet": contact_sheet_bytes,
}
NAME = "shard-000000.tar"


@pytest.fixture
def folder(tmp_path):
    write_shards(DrawnSource(size=16), tmp_path, ShardPlan(count=3, shard_size=3, image_format="png"))
    return tmp_path


def rewrite(path, change):
    """Pack a shard anew with `change(member, data)`: what to write instead."""
    made = io.BytesIO()
    with tarfile.open(path) as old, tarfile.open(fileobj=made, mode="w") as new:
        for member in old.getmembers():
            member, data = change(member, old.extractfile(member).read())
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    path.write_bytes(made.getvalue())


def with_header(path, field, raw):
    """Change bytes of the second header, its sum mended."""
    data = bytearray(path.read_bytes())
    with tarfile.open(path) as archive:
        at = archive.getmembers()[1].offset
    data[at + field : at + field + len(raw)] = raw
    data[at + 148 : at + 156] = b" " * 8
    data[at + 148 : at + 156] = f"{sum(data[at : at + 512]):06o}\0 ".encode()
    path.write_bytes(data)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("size", [-512, -(2**40), 2**40, 2**62])
def test_a_member_of_an_impossible_size_ends_at_once(folder, reader, size):
    """tarfile follows a negative size backwards, for ever."""
    with_header(folder / NAME, 124, struct.pack(">i", -1 if size < 0 else -(2**31)) + struct.pack(">q", size))
    with refused(InputError, rf"{NAME}", megabytes=30):
        READERS[reader](folder)


@pytest.mark.parametrize("reader", ["in order", "by place"])
@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
)
def test_links_and_devices_are_refused(folder, reader, kind):
    def change(member, data):
        if member.name.endswith("2.json" if reader == "in order" else "1.json"):
            member.type, member.linkname, data = kind, "/dev/zero", b""
        return member, data

    rewrite(folder / NAME, change)
    with refused(InputError, rf"{NAME} .*is no file"):
        READERS[reader](folder)


def damaged(sample, **files):
    return {**sample, **files}


@pytest.fixture(scope="module")
def sample():
    from amvur.data.synthetic.records import encode_sample

    batch, kinds = DrawnSource(size=16).named_samples([0])
    return encode_sample(batch, 0, kinds[0], "png")


def changed_labels(sample, **changes):
    return json.dumps({**json.loads(sample["json"]), **changes}).encode()


def png(width, height):
    stream = io.BytesIO()
    Image.new("1", (width, height)).save(stream, "PNG")
    return stream.getvalue()


def npz(**arrays):
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


@pytest.mark.parametrize(
    "change",
    [
        {"joints": None}, {"joints": "x"}, {"joints": []}, {"joints": [[0.0] * 3] * 20}, {"joints": [[0.0] * 3] * 20 + [[0.0]]},
        {"joints": [[0, 0, 1e999]] * 21}, {"intrinsics": 3}, {"intrinsics": [[1, "a", 0]] * 3}, {"joint_states": [9] * 21},
        {"joint_states": [-1] * 21}, {"joint_states": [10**30] * 21}, {"is_left": [True]}, {"index": 1e400}, {"betas": {"a": 1}},
    ],
    ids=str,
)  # fmt: skip
def test_labels_of_another_kind_are_refused(sample, change):
    with refused(InputError, "Sample a:0"):
        decode_sample({**sample, "json": changed_labels(sample, **change)}, "a:0")


@pytest.mark.parametrize("name", ["json", "npz", "mask.png", "png"])
@pytest.mark.parametrize(
    "data", [None, b"", b"{}", b"[" * 10**5, b"PK\x05\x06" + bytes(18), png(17, 16), png(30_000, 30_000)]
)
def test_files_of_another_kind_are_refused(sample, name, data):
    files = {**sample, name: data} if data is not None else {k: v for k, v in sample.items() if k != name}
    with refused(InputError, "Sample a:0", megabytes=60):
        decode_sample(files, "a:0")


def test_meshes_of_different_sizes_are_refused(sample):
    with np.load(io.BytesIO(sample["npz"])) as arrays:
        known = {name: arrays[name] for name in arrays.files}
    for change in (
        {"vertices": known["vertices"][:-1]},
        {"visible_vertices": known["vertices"]},
        {"vertices": np.zeros(3, "S5")},
    ):
        with refused(InputError, "Sample a:0"):
            decode_sample({**sample, "npz": npz(**{**known, **change})}, "a:0")
    with refused(InputError, "Sample a:0", megabytes=30):  # 800 MB in 1
        decode_sample({**sample, "npz": npz(**{**known, "vertices": np.zeros((10**8,), np.uint8)})}, "a:0")


ENTRY = {"sha256": "x", "bytes": 1, "counts": {"samples": 3}}


@pytest.mark.parametrize(
    "change",
    [
        {"shards": None}, {"shards": []}, {"shards": {"../x": ENTRY}}, {"shards": {NAME: 3}}, {"shards": {NAME: {}}},
        {"shards": {NAME: {**ENTRY, "bytes": "1"}}}, {"shards": {NAME: {**ENTRY, "counts": []}}},
        {"shards": {NAME: {**ENTRY, "counts": {"samples": -3}}}}, {"shards": {NAME: {**ENTRY, "counts": {"samples": 3.0}}}},
        {"shards": {NAME: {**ENTRY, "counts": {"samples": 10**400}}}}, {"count": None}, {"count": True}, {"count": "3"},
        {"configuration": None}, {"configuration": []}, {"schema": {}},
    ],
    ids=lambda change: str(change)[:60],
)  # fmt: skip
def test_a_manifest_of_another_kind_is_refused(folder, change):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    for read in (read_manifest, check_shards, IndexedShards):
        with refused(InputError, r"manifest\.json"):
            read(folder)


def test_a_sound_set_is_read_within_little(folder):
    with within(3.0, 30):
        assert len(list(read_shards(folder))) == 1
        assert len(IndexedShards(folder)) == 3
