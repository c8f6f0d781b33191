"""Prediction files of enemies: refused before they are unpacked, in bounded time and memory."""

import json
import zipfile

import numpy as np
import pytest
from limits import refused, within

from amvur.errors import InputError
from amvur.evaluation.files import read_predictions, read_truth

JOINTS, VERTICES = np.round(np.random.default_rng(0).normal(size=(2, 21, 3)), 3), np.zeros((2, 778, 3))
TEXT = json.dumps([JOINTS.tolist(), VERTICES.tolist()])


def zip_of(path, text, how=zipfile.ZIP_DEFLATED, name="pred.json"):
    with zipfile.ZipFile(path, "w", how) as archive:
        archive.writestr(name, text)
    return path


def test_a_zip_is_read(tmp_path):
    np.testing.assert_array_equal(read_predictions(zip_of(tmp_path / "pred.zip", TEXT), 2).joints, JOINTS)


def test_what_is_packed_small_is_not_unpacked_large(tmp_path):
    path = zip_of(tmp_path / "pred.zip", b" " * 10**8 + TEXT.encode())
    assert path.stat().st_size < 10**6
    with refused(InputError, r"pred\.zip is not read: its 'pred\.json' has 100,0", megabytes=20):
        read_predictions(path, 2)


@pytest.mark.parametrize("how", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_other_packings_are_told(tmp_path, how):
    with refused(InputError, r"pred\.zip is not read: .*packed.*zip -j"):
        read_predictions(zip_of(tmp_path / "pred.zip", TEXT, how), 2)


def test_an_encrypted_zip_is_told(tmp_path):
    path = zip_of(tmp_path / "pred.zip", TEXT, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    for at in (6, data.index(b"PK\1\2") + 8):
        data[at] |= 1
    path.write_bytes(data)
    with refused(InputError, r"pred\.zip .*(encrypted|password)"):
        read_predictions(path, 2)


def test_a_damaged_zip_is_told(tmp_path):
    path = zip_of(tmp_path / "pred.zip", TEXT)
    data = bytearray(path.read_bytes())
    data[100] ^= 255
    path.write_bytes(data)
    with refused(InputError, r"pred\.zip is damaged"):
        read_predictions(path, 2)


@pytest.mark.parametrize("name", ["a\0b.json", "x" * 60_000 + ".json", "\x1b[31m.json", "../pred.json"])
def test_names_in_a_zip_do_no_harm(tmp_path, name):
    path = zip_of(tmp_path / "pred.zip", "[]", name=name)
    with refused(InputError, r"pred\.zip"):
        read_predictions(path, 2)


@pytest.mark.parametrize(
    "text",
    [
        "[[" + "[" * 100_000, "[[" + "[]," * 300_000, '[["' + "x" * 10**6 + '"]]', "[[" + json.dumps(["x" * 10_000] + ["y"] * 10_000),
        "[[{}]]", "[[" + "1" * 5000, "[[[[" + "1," * 400_000, "\0", "é" * 1000, " " * 10**6,
    ],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_texts_that_are_none_end_at_once(tmp_path, text):
    path = tmp_path / "pred.json"
    path.write_text(text)
    with refused(InputError, r"pred\.json", megabytes=60):
        read_predictions(path, 2)


def test_a_file_that_is_larger_than_its_samples_can_be_is_not_read(tmp_path):
    path = tmp_path / "pred.json"
    with path.open("wb") as stream:
        stream.truncate(2**33)
    with refused(InputError, r"pred\.json is not read", megabytes=10):
        read_predictions(path, 2)
    path.rename(tmp_path / "evaluation_verts.json")
    (tmp_path / "evaluation_xyz.json").write_text(json.dumps(JOINTS.tolist()))
    with refused(InputError, r"evaluation_verts\.json is not read", megabytes=10):
        read_truth(tmp_path)


def test_long_numbers_and_indented_files_are_read(tmp_path):
    path = tmp_path / "pred.json"
    values = np.random.default_rng(1).normal(size=(2, 778, 3))
    path.write_text(json.dumps([JOINTS.tolist(), values.tolist()], indent=4))
    with within(3.0, 60):
        np.testing.assert_array_equal(read_predictions(path, 2).vertices, values)
