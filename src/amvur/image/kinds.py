"""Files that are no photographs: recognised by their first bytes, and what to do with each."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

HEAD_BYTES = 512
"""What `foreign_kind` wants of a file's beginning."""

HEIF_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"MiHE"}
)
_AVIF_BRANDS = frozenset({b"avif", b"avis"})


@dataclass(frozen=True)
class FileKind:
    """What a file is, such as "a clip (AVI)", and what to do with it; `{path}` stands for its path."""

    what: str
    remedy: str

    def advice(self, path: str) -> str:
        """Return what to do with the file at `path`, ready for a shell."""
        return self.remedy.format(path=shlex.quote(path))

    @property
    def is_clip(self) -> bool:
        """Say whether it is a video."""
        return self.remedy == _CLIP


_CLIP = (
    "Clips are not read yet. Take out its frames and give their folder: "
    "mkdir frames && ffmpeg -i {path} frames/%06d.png"
)
_RAW = "Develop it to JPEG, PNG or TIFF (the camera's program, darktable and RawTherapee do)."
_EXPORT = "Open it in the program that made it and export it as PNG or JPEG."
_UNPACK = "Unpack it and give the pictures or their folder."
_NUMPY = "Give its array to amvur.Reconstructor from Python, or save it as a PNG."
_NONE = "Give a photograph."
_CONVERT = "Convert it to PNG or JPEG: ffmpeg -i {path} photograph.png"
_PAGES = "Make pictures of its pages and give these: pdftoppm -r 200 -png {path} page"

_SIGNATURES: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x1aE\xdf\xa3", "a clip (WebM or Matroska)", _CLIP),
    (8, b"AVI ", "a clip (AVI)", _CLIP),
    (0, b"FLV\x01", "a clip (Flash)", _CLIP),
    (0, b"OggS", "a clip or sound (Ogg)", _CLIP),
    (0, b"\x00\x00\x01\xba", "a clip (MPEG)", _CLIP),
    (0, b"\x00\x00\x01\xb3", "a clip (MPEG)", _CLIP),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a clip (Windows Media)", _CLIP),
    (4, b"moov", "a clip (QuickTime)", _CLIP),
    (4, b"mdat", "a clip (QuickTime)", _CLIP),
    (4, b"wide", "a clip (QuickTime)", _CLIP),
    (4, b"free", "a clip (QuickTime)", _CLIP),
    (8, b"WAVE", "a sound", _NONE),
    (0, b"ID3", "a sound", _NONE),
    (0, b"fLaC", "a sound", _NONE),
    (8, b"CR\x02\x00", "a camera's raw file (CR2)", _RAW),
    (4, b"ftypcrx ", "a camera's raw file (CR3)", _RAW),
    (0, b"FUJIFILMCCD-RAW", "a camera's raw file (RAF)", _RAW),
    (0, b"IIRO", "a camera's raw file (ORF)", _RAW),
    (0, b"IIRS", "a camera's raw file (ORF)", _RAW),
    (0, b"IIU\x00", "a camera's raw file (RW2)", _RAW),
    (0, b"FOVb", "a camera's raw file (X3F)", _RAW),
    (0, b"%PDF-", "a PDF document", _PAGES),
    (0, b"8BPS", "a Photoshop file", _EXPORT),
    (0, b"gimp xcf", "a GIMP file", _EXPORT),
    (0, b"%!PS", "a PostScript file", _EXPORT),
    (0, b"\x00\x00\x01\x00", "an icon (ICO)", _EXPORT),
    (0, b"\xff\x0a", "a JPEG XL picture", _CONVERT),
    (0, b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture", _CONVERT),
    (0, b"v/1\x01", "an OpenEXR picture", _CONVERT),
    (0, b"#?RADIANCE", "a Radiance HDR picture", _CONVERT),
    (0, b"DDS ", "a DirectDraw texture", _CONVERT),
    (0, b"PK\x03\x04", "a ZIP archive (or a document or .npz, which are such)", _UNPACK),
    (0, b"\x1f\x8b", "a gzip archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (0, b"Rar!", "a RAR archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"\x93NUMPY", "a NumPy array", _NUMPY),
    (0, b"\x89HDF", "an HDF5 file", _NONE),
    (0, b"glTF", "a 3D scene (GLB)", _NONE),
    (0, b"ply\n", "a 3D mesh (PLY)", _NONE),
    (0, b"\x00\x05\x16\x07", "what macOS keeps beside a file and not the file itself", "Give the file."),
    (
        0,
        b"version https://git-lfs",
        "a pointer of Git LFS and not the file itself",
        "Fetch it: git lfs pull",
    ),
)

RAW = FileKind("a camera's raw file", _RAW)


def foreign_kind(head: bytes) -> FileKind | None:
    """Say what a file with this beginning (`HEAD_BYTES`) is; None for pictures and what is not known."""
    for offset, magic, what, remedy in _SIGNATURES:
        if head.startswith(magic, offset):
            return FileKind(what, remedy)
    if head[4:8] == b"ftyp" and not is_heif(head) and not brands(head) & _AVIF_BRANDS:
        sound = head[8:11] in (b"M4A", b"M4B")
        return FileKind("a sound", _NONE) if sound else FileKind("a clip (MP4 or QuickTime)", _CLIP)
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:
        return FileKind("a clip (MPEG transport stream)", _CLIP)
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return FileKind("a web page", "Download the picture itself, not the page that shows it.")
    if start.startswith((b"<svg", b"<?xml")) and b"<svg" in start:
        return FileKind("a drawing (SVG)", _EXPORT)
    return None


def is_heif(head: bytes) -> bool:
    """Say whether a file with this beginning is HEIF (HEIC), as phones write it, and no AVIF."""
    return head[4:8] == b"ftyp" and bool(brands(head) & HEIF_BRANDS) and not brands(head) & _AVIF_BRANDS


def brands(head: bytes) -> set[bytes]:
    """Return the brands that an ISO media file says to follow, the major one among them."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return {head[8:12]} | {head[at : at + 4] for at in range(16, end - 3, 4)}
