"""Damages files as accidents and enemies do: bytes anywhere, and values inside, packed again so that sums hold."""

from __future__ import annotations

import contextlib
import io
import json
import pickletools
import random
import struct
import tarfile
import zipfile
import zlib

NUMBERS = (
    0,
    1,
    -1,
    2,
    7,
    255,
    256,
    65535,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**53,
    2**63,
    2**64 - 1,
    -(2**31),
)
VALUES = (
    None, True, False, 0, -1, 1e308, -1e308, 0.5, float("nan"), float("inf"), 2**31, 2**63, 10**400, "", "x",
    "../x", "\0", "\x1b[31m", "a" * 5000, [], {}, [[]], [None], {"": 0}, [0] * 1000, [[0.0] * 3] * 21,
)  # fmt: skip
OPCODES = (
    b"N", b"K\x00", b"(", b"t", b"l", b"d", b"}", b"]", b")", b"u", b"s", b"a", b"e", b"0", b"1", b"2", b"R", b"b",
    b"\x81", b"\x85", b"\x86", b"\x87", b"\x8f", b"\x90", b"\x91", b"\x94", b"h\x00", b"h\x01", b"j\x02\x00\x00\x00",
    b"\x8a\x09" + b"\xff" * 9, b"X\x01\x00\x00\x00x", b"C\x03abc", b"G\x7f\xf0\x00\x00\x00\x00\x00\x00", b"Q", b"o",
    b")\x86\x94h\x00" + b"\x86\x942" * 9, b"\x93", b"cnumpy\nndarray\n", b"ccollections\nOrderedDict\n",
)  # fmt: skip


def mutate(name: str, data: bytes, rng: random.Random) -> bytes:
    """Return a damaged file; its name says what is in it, and half of the damage is done there."""
    if rng.random() < 0.6:
        with contextlib.suppress(Exception):  # damaged before: then as bytes
            return _inside(name, data, rng)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        data = rng.choice(_BYTES)(data, rng)
    return data


def _inside(name: str, data: bytes, rng: random.Random) -> bytes:
    kind = name.rpartition(".")[2].lower()
    if kind in ("zip", "npz", "task", "pt"):
        return _zip(data, rng)
    return _INSIDE[kind](data, rng)


def _flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data or b"\0")
    for _ in range(rng.choice((1, 1, 3, 30))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(data: bytes, rng: random.Random) -> bytes:
    return (
        data[: rng.randrange(len(data) + 1)] if rng.random() < 0.7 else data[rng.randrange(len(data) + 1) :]
    )


def _insert(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.choice((1, 4, 100))) + data[at:]


def _block(data: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.choice((1, 2, 8, 64, 512, 4096)))


def _repeat(data: bytes, rng: random.Random) -> bytes:
    start, end = _block(data, rng)
    return data[:end] + data[start:end] * rng.choice((1, 2, 50)) + data[end:]


def _remove(data: bytes, rng: random.Random) -> bytes:
    start, end = _block(data, rng)
    return data[:start] + data[end:]


def _move(data: bytes, rng: random.Random) -> bytes:
    (start, end), (to, _) = _block(data, rng), _block(data, rng)
    return data[:to] + data[start:end] + data[to + end - start :]


def _number(data: bytes, rng: random.Random) -> bytes:
    width = rng.choice((1, 2, 4, 8))
    value = (rng.choice(NUMBERS) % 256**width).to_bytes(width, rng.choice(("little", "big")))
    at = rng.randrange(len(data) + 1)
    return data[:at] + value + data[at + width :]


def _digits(data: bytes, rng: random.Random) -> bytes:
    places = [i for i, byte in enumerate(data[:100_000]) if 48 <= byte < 58]
    if not places:
        return _flip(data, rng)
    at = rng.choice(places)
    return data[:at] + str(rng.choice(NUMBERS)).encode() + data[at + 1 :]


_BYTES = (_flip, _flip, _cut, _insert, _repeat, _remove, _move, _number, _number, _digits)


def _json(data: bytes, rng: random.Random) -> bytes:
    value = swap(json.loads(data), rng)
    if rng.random() < 0.02:
        return b"[" * 100_000 + data
    return json.dumps(value).encode()


def swap(value, rng: random.Random):
    """Return a value of JSON with some of its parts replaced, removed, repeated or renamed."""
    for _ in range(rng.choice((1, 1, 2, 5))):
        value = _swap(value, rng, rng.choice((0.05, 0.3)), top=rng.random() < 0.95)
    return value


def _swap(value, rng: random.Random, stop: float, top: bool = False):
    if not value or not isinstance(value, list | dict) or (not top and rng.random() < stop):
        if isinstance(value, int | float) and rng.random() < 0.5:
            return rng.choice((*NUMBERS, -value, value + 1, value * 1e6, str(value)))
        return rng.choice(VALUES)
    key = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
    value, action = value.copy(), rng.random()
    if action < 0.1:
        del value[key]
    elif action < 0.2 and isinstance(value, list):
        value[key:key] = [value[key]] * rng.choice((1, 3, 100))
    elif action < 0.2:
        value[rng.choice(("", "x", f"{key}2", "../x", "\0"))] = value.pop(key)
    else:
        value[key] = _swap(value[key], rng, stop)
    return value


def _zip(data: bytes, rng: random.Random) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        names = old.namelist()
        chosen = rng.choice(names)
        how = rng.choice((0, 0, 0, 8, 8, 12, 14)) if len(data) < 100_000 else 0
        for name in names:
            content = old.read(name)
            if name == chosen:
                content = mutate(name, content, rng)
                name = rng.choice((name,) * 12 + ("../x", "a\0b", "", "x.json"))
                if rng.random() < 0.03:
                    content = bytes(3_000_000) + content
            new.writestr(name, content, how)
            if name == chosen and rng.random() < 0.05:
                new.writestr(name, content, how)
    data = made.getvalue()
    return rng.choice(_BYTES)(data, rng) if rng.random() < 0.2 else data


def _npy(data: bytes, rng: random.Random) -> bytes:
    start = 10 if data[6] == 1 else 12
    size = int.from_bytes(data[8:start], "little")
    header, body = data[start : start + size].decode("latin1"), data[start + size :]
    if rng.random() < 0.3:
        return data[: start + size] + rng.choice(_BYTES)(body, rng)
    descr = rng.choice(
        ("'<f8'", "'<U9'", "'|O'", "'<f4'", "'|b1'", "'<i8'", "[('a', '<f8')]", "'|V8'", "'|S0'", "1")
    )
    order = rng.choice(("True", "False", "None"))
    shape = rng.choice(
        ("(-1,)", "(3,)", "()", "(0, 1000000000000)", "(778, 3)", "((3,),)", "[3]", "(99999999999,)")
    )
    made = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"
    made = rng.choice((header, made, "(" * 3000, header.replace("(", "(" * 50)))
    made = made.encode("latin1").ljust(70) + b"\n"
    return data[:6] + b"\x02\0" + struct.pack("<I", len(made)) + made + body


def _tar(data: bytes, rng: random.Random) -> bytes:
    made = io.BytesIO()
    form = rng.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    with (
        tarfile.open(fileobj=io.BytesIO(data)) as old,
        tarfile.open(fileobj=made, mode="w", format=form) as new,
    ):
        members = old.getmembers()
        chosen = rng.randrange(len(members))
        for number, member in enumerate(members):
            content = old.extractfile(member).read()
            if number == chosen:
                if rng.random() < 0.7:
                    content = mutate(member.name, content, rng)
                elif rng.random() < 0.5:
                    member.type = rng.choice((b"1", b"2", b"3", b"5", b"6", b"7", b"S", b"x", b"L", b"Z"))
                    member.linkname = rng.choice(("x", "../x", member.name, "/dev/zero"))
                else:
                    member.name = rng.choice(("", "x", "../x", "/x", "a" * 300, f"{member.name}2", "é\n"))
            member.size = len(content)
            new.addfile(member, io.BytesIO(content))
    data = bytearray(made.getvalue())
    if rng.random() < 0.3:  # a header with another number, its sum mended
        at = 512 * rng.randrange(len(data) // 512)
        field, width = rng.choice(((124, 12), (100, 8), (156, 1), (0, 100)))
        octal = f"{rng.choice(NUMBERS) % 8 ** (width - 1):0{max(width - 1, 1)}o}".encode()[:width]
        raw = rng.choice((octal, b"\xff" * width, b"\x80" + rng.randbytes(width - 1)))
        data[at + field : at + field + len(raw)] = raw
        data[at + 148 : at + 156] = b" " * 8
        data[at + 148 : at + 156] = f"{sum(data[at : at + 512]):06o}\0 ".encode()
    return bytes(data)


def _pickle(data: bytes, rng: random.Random) -> bytes:
    places = [at for _, _, at in pickletools.genops(data)]
    parts = [data[a:b] for a, b in zip(places, [*places[1:], len(data)], strict=True)]
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(parts))
        action = rng.randrange(6)
        if action == 0:
            del parts[at]
        elif action == 1:
            parts.insert(at, rng.choice(OPCODES))
        elif action == 2:
            parts[at] = rng.choice(OPCODES)
        elif action == 3:
            parts.insert(at, rng.choice(parts))
        elif action == 4:
            parts[at] = rng.choice(parts)
        else:
            parts[at] = parts[at][:1] + rng.choice(_BYTES)(parts[at][1:], rng)
    return b"".join(parts)


def _glb(data: bytes, rng: random.Random) -> bytes:
    size = int.from_bytes(data[12:16], "little")
    text, rest = data[20 : 20 + size], data[20 + size :]
    if rng.random() < 0.8:
        text = _json(text, rng)
        text += b" " * (-len(text) % 4)
    else:
        rest = rest[:8] + rng.choice(_BYTES)(rest[8:], rng)
    return struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text) + len(rest), len(text), b"JSON") + text + rest


def _safetensors(data: bytes, rng: random.Random) -> bytes:
    size = int.from_bytes(data[:8], "little")
    header, rest = json.loads(data[8 : 8 + size]), data[8 + size :]
    if rng.random() < 0.2:
        return data[: 8 + size] + rng.choice(_BYTES)(rest, rng)
    name = rng.choice(list(header))
    if name == "__metadata__" and rng.random() < 0.7:
        notes = header[name]
        key = rng.choice(list(notes))
        notes[key] = rng.choice(
            (_json(notes[key].encode(), rng).decode(), "", "x", "[[1,2]]", "-5", "9" * 30)
        )
    elif rng.random() < 0.5 and name != "__metadata__":  # what still fits its bytes
        entry = header[name]
        entry["shape"] = rng.choice((entry["shape"][::-1], [1, *entry["shape"]], [*entry["shape"], 1]))
        entry["dtype"] = rng.choice((entry["dtype"], "I32" if entry["dtype"] == "F32" else entry["dtype"]))
    else:
        header = swap(header, rng)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + rest


def _png(data: bytes, rng: random.Random) -> bytes:
    """Change or copy a chunk, its sum mended."""
    parts, at = [], 8
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        parts.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    number = rng.randrange(len(parts))
    kind, body = parts[number]
    if rng.random() < 0.2:
        kind = rng.choice((b"iCCP", b"eXIf", b"tRNS", b"acTL", b"fcTL", b"PLTE", b"zTXt", b"IDAT"))
    parts[number] = kind, rng.choice(_BYTES)(body, rng)
    if rng.random() < 0.2:
        parts.insert(rng.randrange(len(parts)), rng.choice(parts))
    chunks = (struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in parts)
    return data[:8] + b"".join(chunks)


_INSIDE = {
    "json": _json, "npy": _npy, "tar": _tar, "pkl": _pickle, "glb": _glb, "safetensors": _safetensors, "png": _png,
}  # fmt: skip
