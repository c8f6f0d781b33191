"""A file's seal: the sha256 of all else in it, so that a file that was changed is told from one that was not.

It stands in the file itself, within the first bytes: `sha256:` and 64 digits, which are summed up as zeros
(in a PNG with the checksum that their chunk has then).
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amvur.reading import open_regular

SEAL = f"sha256:{'0' * 64}"
"""What a writer puts into a file for `sealed` to fill in."""

HEAD_BYTES = 4096
_DIGITS = re.compile(rb"sha256:([0-9a-f]{64})")
_PNG, _CRC_BYTES = b"\x89PNG", 4


def sealed(data: bytes) -> bytes:
    """Return a file's bytes with its seal filled in; raises `ValueError` where there is none to fill in."""
    head, rest = data[:HEAD_BYTES], data[HEAD_BYTES:]
    place = _DIGITS.search(head)
    if place is None or place[0] != SEAL.encode():
        raise ValueError(f"no {SEAL} within the first {HEAD_BYTES} bytes")
    blank = _with_digits(head, b"0" * 64)
    return _with_digits(head, hashlib.sha256(blank + rest).hexdigest().encode()) + rest


def sealed_json(content: Mapping[str, Any]) -> bytes:
    """Return an object as JSON with its seal in the beginning; raises `ValueError` for NaN or infinity."""
    return sealed((json.dumps({"seal": SEAL, **content}, indent=1, allow_nan=False) + "\n").encode())


def is_sealed(path: Path, start: bytes = b"", mark: bytes = b"") -> bool:
    """Whether a file begins with `start`, holds `mark` in its first bytes, and is as it was sealed.

    Others are not read any further. Links, folders and what cannot be read are not.
    """
    if path.is_symlink():
        return False
    try:
        with open_regular(path) as stream:
            head = stream.read(HEAD_BYTES)
            if not head.startswith(start) or mark not in head or not _DIGITS.search(head):
                return False
            digest = hashlib.sha256(_with_digits(head, b"0" * 64))
            while block := stream.read(2**20):
                digest.update(block)
    except OSError:
        return False
    return head == _with_digits(head, digest.hexdigest().encode())


def _with_digits(head: bytes, digits: bytes) -> bytes:
    """Return a file's first bytes with other digits in the seal, and its chunk's checksum for these."""
    place = _DIGITS.search(head)
    assert place is not None
    start, end = place.span(1)
    chunk = head.rfind(b"tEXt", 0, start) if head.startswith(_PNG) else -1
    if chunk < 0:
        return head[:start] + digits + head[end:]
    text = head[chunk:start] + digits
    return head[:chunk] + text + zlib.crc32(text).to_bytes(_CRC_BYTES, "big") + head[end + _CRC_BYTES :]
