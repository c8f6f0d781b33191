"""GLB files whose parts contradict each other: an error that names the file, never a wrong mesh."""

import json
import struct

import numpy as np
import pytest
from factories import make_hand
from limits import refused

from amvur.errors import InputError
from amvur.export import glb_bytes, read_glb


@pytest.fixture(scope="module")
def parts():
    data = glb_bytes([make_hand(0)])
    size = int.from_bytes(data[12:16], "little")
    return json.loads(data[20 : 20 + size]), data[20 + size :]


def write(path, document, rest):
    text = json.dumps(document).encode()
    head = struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text) + len(rest), len(text), b"JSON")
    path.write_bytes(head + text + rest)
    return path


def position(document):
    return document["accessors"][document["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]


def indices(document):
    return document["accessors"][document["meshes"][0]["primitives"][0]["indices"]]


def attributes(document):
    return document["meshes"][0]["primitives"][0]["attributes"]


CHANGES = {
    "no accessors": lambda d: d.pop("accessors"),
    "accessors are an object": lambda d: d.update(accessors={}),
    "meshes are a number": lambda d: d.update(meshes=3),
    "meshes are texts": lambda d: d.update(meshes=["x"]),
    "no primitives": lambda d: d["meshes"][0].update(primitives=[]),
    "attributes are a list": lambda d: d["meshes"][0]["primitives"][0].update(attributes=[1]),
    "an accessor that is not there": lambda d: attributes(d).update(POSITION=99),
    "an accessor from the end": lambda d: attributes(d).update(POSITION=-1),
    "an accessor that is a text": lambda d: attributes(d).update(POSITION="0"),
    "an accessor that is true": lambda d: attributes(d).update(POSITION=True),
    "a count below 0": lambda d: position(d).update(count=-1),
    "a huge count": lambda d: position(d).update(count=2**62),
    "a count of 10^400": lambda d: position(d).update(count=10**400),
    "a count that is no whole number": lambda d: position(d).update(count=1.5),
    "fewer vertices": lambda d: position(d).update(count=3),
    "another kind": lambda d: position(d).update(type="MAT4"),
    "an unknown kind": lambda d: position(d).update(type=["VEC3"]),
    "an unknown component": lambda d: position(d).update(componentType=1),
    "a component that is a list": lambda d: position(d).update(componentType=[5126]),
    "a buffer view that is not there": lambda d: position(d).update(bufferView=1000),
    "an offset below 0": lambda d: d["bufferViews"][position(d)["bufferView"]].update(byteOffset=-4),
    "an offset beyond": lambda d: d["bufferViews"][position(d)["bufferView"]].update(byteOffset=2**30),
    "indices not of triangles": lambda d: indices(d).update(count=indices(d)["count"] - 1),
    "faces of other numbers": lambda d: d["meshes"][0]["primitives"][0].update(
        indices=attributes(d)["_STD_MM"]
    ),
    "no deviations": lambda d: attributes(d).pop("_STD_MM"),
    "the same mesh thousands of times": lambda d: d.update(meshes=d["meshes"] * 5000),
}


@pytest.mark.parametrize("name", CHANGES)
def test_parts_that_contradict_each_other_are_refused(tmp_path, parts, name):
    document = json.loads(json.dumps(parts[0]))
    CHANGES[name](document)
    path = write(tmp_path / "bad.glb", document, parts[1])
    with refused(InputError, r"bad\.glb is "):
        read_glb(path)


def test_faces_beyond_the_vertices_are_refused(tmp_path, parts):
    document, rest = parts
    at = 8 + document["bufferViews"][indices(document)["bufferView"]]["byteOffset"]
    path = write(tmp_path / "bad.glb", document, rest[:at] + struct.pack("<I", 10**6) + rest[at + 4 :])
    with refused(InputError, r"bad\.glb .*faces name other vertices"):
        read_glb(path)


def test_numbers_that_are_not_finite_are_refused(tmp_path, parts):
    document, rest = parts
    at = 8 + document["bufferViews"][position(document)["bufferView"]]["byteOffset"]
    path = write(tmp_path / "bad.glb", document, rest[:at] + struct.pack("<f", np.nan) + rest[at + 4 :])
    with refused(InputError, r"bad\.glb .*not finite"):
        read_glb(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "bad.glb"
    with path.open("wb") as stream:
        stream.truncate(2**33)
    with refused(InputError, r"bad\.glb is not read", megabytes=10):
        read_glb(path)


def test_a_file_without_a_hand_has_no_meshes(tmp_path):
    assert read_glb(write(tmp_path / "a.glb", {"asset": {"generator": "amvur"}}, b"")) == []
