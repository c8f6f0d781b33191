"""Lists of numbers of any size: only what is asked for is decoded, and never more than a row may have."""

import json

import pytest
from limits import refused

from amvur.data.real import number_lists
from amvur.data.real.ho3d import _read_list
from amvur.data.real.number_lists import NumberLists, read_numbers
from amvur.errors import InputError


@pytest.mark.parametrize(
    "row",
    ['["a", 1, 2]', '["' + "x" * 100_000 + '"' + ', "y"' * 10_000 + "]", "[true, 1, null]", "[1, 2]", "[[1], [2, 3]]",
     "[1e999, 1, 2]", "[" + "1" * 5000 + ", 1, 2]", "[1, 2, 1" + "0" * 400 + "]", "[{}, 1, 2]", "[1 2 3]", "[1, 2, 3],"],
    ids=lambda row: row[:20],
)  # fmt: skip
def test_a_bad_row_is_named(tmp_path, row):
    path = tmp_path / "K.json"
    path.write_text(f"[[1, 2, 3], {row}]")
    with refused(InputError, r"K\.json", megabytes=20):
        NumberLists(path, (3,))[1]


def test_a_row_is_not_longer_than_a_row(tmp_path):
    path = tmp_path / "K.json"
    path.write_text("[[" + "1," * 10**6 + "1]]")
    with refused(InputError, r"K\.json: entry 0 is not read", megabytes=20):
        NumberLists(path, (3,))[0]


def test_rows_are_counted_before_their_places_are_kept(tmp_path, monkeypatch):
    path = tmp_path / "K.json"
    monkeypatch.setattr(number_lists, "ROWS", 1000)
    path.write_text("[" + "[],[1]," * 60_000 + "[]]")
    with refused(InputError, r"K\.json is not read: it holds more than"):
        NumberLists(path, (3,))
    path.write_text("[" + "[]," * 2000 + "[]]")
    with refused(InputError, r"K\.json is not read: it has 2,001 entries"):
        NumberLists(path, (3,))


@pytest.mark.parametrize(
    "text",
    ["", "{}", "3]", "[" * 10**5, '["1"]', "[[1], [2, 3]]", "[null]", "[1e999]", json.dumps([[1, 2]] * 3)],
)
def test_what_is_no_flat_list_is_refused(tmp_path, text):
    path = tmp_path / "scale.json"
    path.write_text(text)
    with refused(InputError, r"scale\.json"):
        read_numbers(path)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"a/b\n../c\n", b"\0", b"a/" + b"x" * 10**7, b""])
def test_lists_of_frames_that_are_none_are_refused(tmp_path, data):
    path = tmp_path / "train.txt"
    path.write_bytes(data)
    with refused(InputError, r"train\.txt"):
        _read_list(path)
