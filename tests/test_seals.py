"""Seals: what was changed anywhere is no longer as it was sealed."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from amvur.export.ownership import overlay_bytes
from amvur.seals import HEAD_BYTES, SEAL, is_sealed, sealed


def test_a_seal_is_the_sum_of_all_else(tmp_path):
    data = b"# mine\n" + SEAL.encode() + b"\n" + bytes(range(256)) * 40
    digest = hashlib.sha256(data).hexdigest().encode()
    assert sealed(data) == data.replace(b"0" * 64, digest)
    (tmp_path / "a").write_bytes(sealed(data))
    assert is_sealed(tmp_path / "a", b"# mine")
    assert not is_sealed(tmp_path / "a", b"# other")
    assert not is_sealed(tmp_path / "a", b"# mine", b"a mark")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "folder").mkdir()
    for name in ("link", "folder", "nothing"):
        assert not is_sealed(tmp_path / name)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    text = sealed(b"ply\n" + SEAL.encode() + b"\n" + bytes(3 * HEAD_BYTES))
    picture = overlay_bytes(np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8))
    return tmp_path_factory.mktemp("seals") / "a", (text, picture)


def test_a_byte_that_changed_anywhere_breaks_it(files, rng):
    path, contents = files
    for content in contents:
        path.write_bytes(content)
        assert is_sealed(path)
        for place in (0, *rng.integers(0, 300, 50), *rng.integers(0, len(content), 50), len(content) - 1):
            changed = bytearray(content)
            changed[place] ^= int(rng.integers(1, 256))
            path.write_bytes(changed)
            assert not is_sealed(path), place
        for other in (content[:-1], content + b"\n", b""):
            path.write_bytes(other)
            assert not is_sealed(path)


def test_a_sealed_picture_has_right_checksums(files):
    path, (_, picture) = files
    path.write_bytes(picture)
    with Image.open(path) as opened:
        opened.verify()
        assert opened.info["Software"].startswith("amvur sha256:")


def test_what_has_no_place_for_a_seal_is_a_mistake():
    for data in (b"", b"text", sealed(SEAL.encode()), bytes(HEAD_BYTES) + SEAL.encode()):
        with pytest.raises(ValueError, match="no sha256"):
            sealed(data)
