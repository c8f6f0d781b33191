"""Files that may hold anything: errors of ours that name them, in bounded time and memory."""

import io
import json
import os
import struct
import zipfile
from itertools import repeat

import numpy as np
import pytest
from limits import refused, within
from safetensors.numpy import save_file

from amvur.checkpoint import load_checkpoint
from amvur.data.real.number_lists import read_numbers
from amvur.data.real.opening import open_dataset
from amvur.data.synthetic.shard_reader import read_manifest
from amvur.detect.model_files import read_task
from amvur.errors import AmvurError, ImageError, InputError
from amvur.evaluation.files import read_predictions, read_truth
from amvur.evaluation.prediction_files import read_record
from amvur.export import read_glb, read_report
from amvur.hand.loading import load_hand_model
from amvur.hand.mano import load_mano
from amvur.hand.safe_pickle import load_pickle
from amvur.reading import (
    JSON_DEPTH,
    LimitError,
    brief,
    open_regular,
    open_zip,
    parse_json,
    read_bytes,
    read_json,
    read_member,
    read_npz,
    read_tensors,
    reading,
    reason,
)


def doubled(times=60):
    """A tuple whose repr, hash and comparison take 2^times steps."""
    value = ()
    for _ in range(times):
        value = (value, value)
    return value


# --- the guard ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cause",
    [
        KeyError("hands"), TypeError("x"), AttributeError("x"), IndexError("x"), OverflowError("x"),
        zipfile.BadZipFile("x"), struct.error("x"), RecursionError("x"), MemoryError(), EOFError(), ValueError(),
        RuntimeError("Failed to decode"), NotImplementedError("x"), AssertionError(), UnicodeDecodeError("a", b"", 0, 1, "x"),
        OSError("no number"), FileNotFoundError(2, "No such file"), PermissionError(13, "denied"), LimitError("x"),
        StopIteration(), ZeroDivisionError(), Exception(10**5000),
    ],
    ids=lambda cause: type(cause).__name__,
)  # fmt: skip
def test_whatever_goes_wrong_becomes_our_error_with_name_and_remedy(cause):
    with (
        pytest.raises(ImageError, match=r"^(Cannot read )?the/file\.x.*Do this\.$"),
        reading("the/file.x", "a thing", "Do this.", ImageError),
    ):
        raise cause


@pytest.mark.parametrize("cause", [KeyboardInterrupt(), SystemExit(3), InputError("ours")])
def test_what_is_no_fault_of_the_file_passes(cause):
    with pytest.raises(type(cause)) as told, reading("file", "a thing", "Do this.", ImageError):
        raise cause
    assert told.value is cause


def test_a_reason_is_one_short_printable_line():
    for cause in (
        KeyError("a" * 10**6),
        ValueError("x\n\x1b[31m\x07" * 10**5),
        KeyError(b"\0" * 10**6),
        ValueError(doubled()),
    ):
        with within(1.0, 60):
            text = reason(cause)
        assert len(text) < 400
        assert text.isprintable()


@pytest.mark.parametrize(
    "value",
    [
        doubled(),
        [doubled()] * 3,
        {"a": doubled()},
        10**5000,
        "x" * 10**7,
        b"x" * 10**7,
        np.zeros(10),
        type,
        repeat(1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_brief_describes_anything_at_once(value):
    with within(1.0, 60):
        assert 0 < len(brief(value)) <= 100


# --- files ----------------------------------------------------------------------------------------


def test_a_pipe_is_refused_at_once_and_a_folder_told(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with within(1.0), pytest.raises(OSError, match="no regular file"), open_regular(tmp_path / "pipe"):
        pass
    with pytest.raises(IsADirectoryError), open_regular(tmp_path):
        pass
    with pytest.raises(OSError, match="NUL"), open_regular(tmp_path / "a\0b"):
        pass


def test_a_file_is_as_large_as_allowed_or_refused_unread(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    assert read_bytes(path, 5) == b"12345"
    with pytest.raises(LimitError, match="5 bytes, more than the 4"):
        read_bytes(path, 4)
    with path.open("wb") as stream:
        stream.truncate(2**40)  # a sparse file
    with within(1.0), pytest.raises(LimitError):
        read_bytes(path, 2**20)
    path.write_bytes(b"1")
    with within(1.0, 20):  # no room is made for what might have been there
        read_bytes(path, 2**33)


# --- JSON -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ['{"a": [1, "x]["]}', '"' + "[" * 500 + '"', '["\\"[[[", 1]', "[" * 99 + "]" * 99]
)
def test_json_is_read_as_by_the_standard_library(text):
    assert parse_json(text) == parse_json(text.encode("utf-16")) == json.loads(text)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 5000, "[" * 101 + "]" * 101, "[[" * 60 + '"]]"' + "]]" * 60]
)
def test_deep_json_is_refused(text):
    with within(1.0), pytest.raises(LimitError, match=f"more than {JSON_DEPTH} deep"):
        parse_json(text)


def test_json_of_many_values_is_refused_before_they_are_made():
    text = b"[" + b"{}," * 10**7 + b"{}]"
    with within(2.0, 40), pytest.raises(LimitError, match="values"):
        parse_json(text)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"1" * 5000, b'{"a": 1} 2'])
def test_only_an_object_is_a_json_file_of_ours(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_bytes(text)
    with pytest.raises(InputError, match=r"a\.json .*Do this\."):
        read_json(path, "a thing", "Do this.")


# --- zips and arrays ------------------------------------------------------------------------------


def test_arrays_come_back_and_other_names_are_left_alone(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(
        path, a=np.arange(6.0).reshape(2, 3), b=np.zeros(4, bool), objects=np.array([{}], object)
    )
    arrays = read_npz(path, names=("a", "b", "c"))
    assert list(arrays) == ["a", "b"]
    np.testing.assert_array_equal(arrays["a"], np.arange(6.0).reshape(2, 3))
    with pytest.raises(ValueError, match="object"):
        read_npz(path.read_bytes())


def npy(header, body=b""):
    text = header.encode("latin1").ljust(64) + b"\n"
    return b"\x93NUMPY\x02\0" + struct.pack("<I", len(text)) + text + body


def zipped(members, how=zipfile.ZIP_DEFLATED):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", how) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return made.getvalue()


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }",
        "{'descr': '|S0', 'fortran_order': False, 'shape': (2000000000,), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': " + "(" * 3000,
        "-" * 6000 + "1",
    ],
)
def test_an_array_that_does_not_fit_its_bytes_is_refused(header):
    with refused(InputError, r"^a\.npz ", seconds=1.0), reading("a.npz", "arrays", ""):
        read_npz(zipped({"a.npy": npy(header, bytes(8))}))


def test_texts_of_no_letters_are_refused():
    header = "{'descr': '>U1', 'fortran_order': False, 'shape': (1,), }"
    assert read_npz(zipped({"a.npy": npy(header, b"\0\0\0x")}))["a"].tolist() == ["x"]
    with pytest.raises(ValueError, match="no letters"):
        read_npz(zipped({"a.npy": npy(header, b"\0\x11\0\0")}))


def test_what_is_packed_small_is_not_unpacked_large():
    data = zipped(
        {"a.npy": npy("{'descr': '|u1', 'fortran_order': False, 'shape': (300000000,), }", bytes(3 * 10**8))}
    )
    assert len(data) < 10**6
    with within(1.0, 20), pytest.raises(LimitError, match="300,000,"):
        read_npz(data)
    lies = bytearray(data)  # a smaller size is stated than there is
    for at in (22, lies.index(b"PK\1\2") + 24):
        lies[at : at + 4] = struct.pack("<I", 1000)
    with within(1.0, 20), pytest.raises((ValueError, zipfile.BadZipFile)):
        read_npz(bytes(lies))


def test_all_arrays_of_a_file_have_one_budget():
    one = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1000,), }", bytes(1000))
    data = zipped({f"{name}.npy": one for name in "abc"})
    assert len(read_npz(data, 4000)) == 3
    with pytest.raises(LimitError):
        read_npz(data, 2500)


@pytest.mark.parametrize("how", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packings_without_a_bound_are_refused(how):
    data = zipped({"a.npy": bytes(10**7)}, how)
    with within(1.0, 5), pytest.raises(LimitError, match="deflate"):
        read_npz(data)


def test_a_zip_of_very_many_members_is_refused():
    data = zipped({str(number): b"" for number in range(30_000)}, zipfile.ZIP_STORED)
    with within(1.0, 20), pytest.raises(LimitError, match="directory"), open_zip(io.BytesIO(data)):
        pass


def test_a_damaged_member_is_an_error():
    data = bytearray(zipped({"a": os.urandom(1000)}))
    data[200] ^= 1
    with open_zip(io.BytesIO(bytes(data))) as archive, pytest.raises(zipfile.BadZipFile):
        read_member(archive, archive.infolist()[0], 2000)


# --- tensors --------------------------------------------------------------------------------------


def test_tensors_and_notes_come_back(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"a": np.arange(3.0), "b": np.zeros(2)}, path, {"note": "x"})
    tensors, notes = read_tensors(path, "np", 10_000, ["a"])
    assert notes == {"note": "x"}
    np.testing.assert_array_equal(tensors["a"], np.arange(3.0))
    with pytest.raises(LimitError, match="bytes, more than the 10"):
        read_tensors(path, "np", 10)


def test_a_long_list_of_tensors_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    entry = '"{}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
    text = ("{" + ",".join(entry.format(n) for n in range(100_000)) + "}").encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    with within(1.0, 20), pytest.raises(LimitError, match="header"):
        read_tensors(path, "np", 2**30)


# --- paths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "nothing", "file/in a file"])
def test_paths_that_lead_nowhere_are_told_by_every_reader(tmp_path, name):
    (tmp_path / "file").write_text("x")
    path = tmp_path / name
    for read in (
        read_report, read_glb, load_checkpoint, load_hand_model, load_mano, load_pickle, open_dataset, read_manifest,
        read_truth, read_record, lambda p: read_predictions(p, 2), read_task, read_numbers,
    ):  # fmt: skip
        with refused(AmvurError, ".", seconds=1.0) as told:
            read(path)
        assert str(path)[:100] in str(told.value)
