"""Pictures from files, bytes and open files, and which files of a folder are pictures."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from amvur.errors import ImageError, InputError
from amvur.image.formats import AGAIN, MAX_BYTES_WHOLE, check_kind, check_size, open_picture
from amvur.image.kinds import HEAD_BYTES, foreign_kind
from amvur.image.partial import decode
from amvur.image.pixels import to_srgb
from amvur.reading import open_regular, reading
from amvur.structures import RgbImage

IMAGE_SUFFIXES = (
    ".avif", ".bmp", ".gif", ".heic", ".heif", ".hif", ".jp2", ".jpeg", ".jpg", ".png", ".ppm", ".tif",
    ".tiff", ".webp",
)  # fmt: skip
"""What `find_images` picks up in a folder; a file named directly may have any suffix."""

PictureSource = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | io.BufferedIOBase


@dataclass(frozen=True)
class LoadedImage:
    """An image as displayed, `(H, W, 3)` uint8 sRGB, and what the user should know about its reading."""

    pixels: RgbImage
    warnings: tuple[str, ...] = ()


def load_image(source: PictureSource, at_least_px: int | None = None) -> LoadedImage:
    """Read a picture (a path, its bytes, or a file open in binary mode) as a viewer would show it.

    The EXIF orientation is applied, color profiles are converted to sRGB, transparency is put on white (the
    page that such pictures are cut out for, and what viewers show), gray, palette, 1-bit, 16-bit, CMYK and
    float images become 8-bit RGB, and of an animation the first frame is taken, with a warning. A picture
    that lacks its end is read with a warning if at least half of its rows are there. With `at_least_px`, a
    JPEG may come in a half, a quarter or an eighth of its size, if both sides still have that many pixels.

    Raises `ImageError` with the path, what was found and a remedy for anything else.
    """
    notes: list[str] = []
    with _opened(source) as (stream, name), reading(name, "an image", AGAIN, ImageError):
        image = open_picture(stream, name)
        try:
            _tell_frames(image, name, notes)
            if at_least_px is not None:
                image.draft("RGB", (at_least_px, at_least_px))
            image = decode(image, stream, name, notes)
            check_size(image, name)  # a decoder may find another size than the header says
            return LoadedImage(to_srgb(image, name, notes), tuple(notes))
        finally:
            image.close()


def check_file(path: str | os.PathLike[str]) -> None:
    """Raise `ImageError` for a file that is missing, cannot be opened or is known to be no picture."""
    with _opened(path) as (stream, name), reading(name, "an image", AGAIN, ImageError):
        check_kind(stream.read(HEAD_BYTES), name)


def find_images(paths: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Replace folders by the image files in them (not in folders below), sorted by name; keep files.

    Raises `InputError` for a folder without images. A file that does not exist stays in the list, so that
    reading it fails alone.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.is_dir():
            files.append(path)
            continue
        inside = sorted(file for file in path.iterdir() if file.is_file() and file.name[:2] != "._")
        images = [file for file in inside if file.suffix.lower() in IMAGE_SUFFIXES]
        if not images:
            raise InputError(_no_images(path, inside))
        files.extend(images)
    return files


def _no_images(folder: Path, files: Sequence[Path]) -> str:
    """Say what was looked for in a folder, and what is there instead."""
    kinds = {}
    for file in files[:1000]:
        try:
            with open_regular(file) as stream:
                kinds[file] = foreign_kind(stream.read(HEAD_BYTES))
        except OSError:
            continue
    clips = [(file, kind) for file, kind in kinds.items() if kind is not None and kind.is_clip]
    if clips:
        names = ", ".join(file.name for file, _ in clips[:3]) + (", …" if len(clips) > 3 else "")
        count = f"{len(clips)} clip" + "s" * (len(clips) > 1)
        file, kind = clips[0]
        return f"The folder {folder} has no images, but {count} ({names}). {kind.advice(str(file))}"
    return (
        f"The folder {folder} has no images: looked for names ending in {', '.join(IMAGE_SUFFIXES)} "
        "(in capitals too), not in folders below it. Give the folder that holds them; if they end "
        "otherwise, rename them."
    )


@contextmanager
def _opened(source: object) -> Iterator[tuple[io.BufferedIOBase, str]]:
    """Open whatever a picture may come from, and say what to call it in errors."""
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
        yield io.BytesIO(data), f"The picture given as {len(data):,} bytes"
    elif isinstance(source, str | os.PathLike):
        with _opened_file(os.fsdecode(source)) as stream:
            yield stream, os.fsdecode(source)
    elif hasattr(source, "read"):
        name = getattr(source, "name", None)
        called = f"The open file {name}" if isinstance(name, str) else "The open file"
        yield io.BytesIO(_read_all(source, called)), called
    else:
        kind = f"{type(source).__module__}.{type(source).__qualname__}"
        raise ImageError(
            f"load_image wants a path, the bytes of a picture or a file open in binary mode, found {kind}. "
            "Arrays of pixels need no reading: give them to Reconstructor."
        )


@contextmanager
def _opened_file(path: str) -> Iterator[io.BufferedIOBase]:
    """Open a regular file; raises `ImageError` that says why it cannot be."""
    file = Path(path)
    if not path:
        raise ImageError("The path of a picture is empty. Name a file.")
    if path.lower().startswith(("http://", "https://", "ftp://")):
        raise ImageError(f"{path} is a web address. Download the picture and give the file's path.")
    try:
        with open_regular(file) as stream:
            yield stream
    except FileNotFoundError as error:
        raise ImageError(f"{file} does not exist. Check the path (here: {Path.cwd()}).") from error
    except IsADirectoryError as error:
        raise ImageError(
            f"{file} is a folder, not an image. Name a file in it, or use find_images."
        ) from error
    except PermissionError as error:
        if file.is_dir():  # what opening a folder raises on Windows
            raise ImageError(f"{file} is a folder, not an image. Name a file in it.") from error
        raise ImageError(f"{file} may not be read. Change its permissions.") from error
    except OSError as error:
        raise ImageError(
            f"{file} cannot be read: {error.strerror or error}. Check the disk or the path."
        ) from error


def _read_all(file: Any, name: str) -> bytes:
    """Return all bytes of an open file, from its beginning where it has one."""
    with reading(name, "a picture open in binary mode", "Give its path.", ImageError):
        if hasattr(file, "seekable") and file.seekable():
            file.seek(0)
        data = file.read(MAX_BYTES_WHOLE + 1)
        if not isinstance(data, bytes):
            raise ImageError(f'{name} is open as text. Open it with open(path, "rb").')
    if len(data) > MAX_BYTES_WHOLE:
        raise ImageError(f"{name} has more than the {MAX_BYTES_WHOLE:,} bytes allowed. Give its path.")
    return data


def _tell_frames(image: Any, name: str, notes: list[str]) -> None:
    """Note that a file holds several pictures."""
    try:
        frames = getattr(image, "n_frames", 1)
        # phones put previews and depth maps into MPO files
        if frames > 1 and image.format != "MPO":
            which = "the main one" if image.format == "HEIF" else "the first"
            notes.append(f"{name} holds {frames} pictures (frames or pages): only {which} is used.")
    except Exception:  # the first may be sound though others are not
        notes.append(f"{name} holds further pictures, which are damaged: only the first is used.")
