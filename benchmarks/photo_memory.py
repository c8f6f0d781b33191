"""How much memory does reading the largest picture of every format and mode take?

    python benchmarks/photo_memory.py [--megapixels 12] [--only NAME]

Linux only. Writes noise (what compresses worst) of that many megapixels in every format and mode, reads each
in a process of its own and prints its peak beyond the interpreter: bytes a pixel and, at the format's limit,
gigabytes. Other limits, such as those of TIFFs in one piece, are in `amvur.image.formats`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile

from amvur.image.formats import MAX_MEGAPIXELS, MEGAPIXELS_OF

READ = """
import sys
import numpy, PIL.Image, amvur.image, amvur.image.formats
from PIL import Image
try:
    import pillow_heif
except ImportError:
    pass
Image.init()
small = sys.argv[1]
amvur.image.load_image(small)
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
before = peak()
pixels = amvur.image.load_image(sys.argv[2]).pixels
print(peak() - before, pixels.shape[0] * pixels.shape[1])
"""


def noise(mode: str, width: int, height: int) -> Image.Image:
    """Make a picture of a mode; one in four values is noise, so that compressors have their worst."""
    rng = np.random.default_rng(0)
    bands = {"L": 1, "1": 1, "P": 1, "LA": 2, "RGB": 3, "YCbCr": 3, "LAB": 3, "RGBA": 4, "CMYK": 4}.get(
        mode, 1
    )
    if mode == "I;16":
        return Image.fromarray(rng.integers(0, 65536, (height, width), dtype=np.uint16))
    if mode == "I":
        return Image.fromarray(rng.integers(0, 10**6, (height, width), dtype=np.int32))
    if mode == "F":
        return Image.fromarray(rng.random((height, width), dtype=np.float32))
    values = rng.integers(0, 256, (height, width, bands), dtype=np.uint8)
    if mode in ("1", "P"):
        return Image.fromarray(values[..., 0]).convert(mode)
    if bands == 1:
        return Image.fromarray(values[..., 0])
    return Image.frombytes(mode, (width, height), values.tobytes())


def cases() -> dict[str, tuple[str, str, dict[str, object]]]:
    """Return mode, suffix and options of saving by name."""
    found: dict[str, tuple[str, str, dict[str, object]]] = {
        f"PNG {mode}": (mode, "png", {"compress_level": 1})
        for mode in ("1", "L", "P", "LA", "RGB", "RGBA", "I;16")
    }
    for mode in ("L", "RGB", "CMYK"):
        for progressive in (False, True):
            name = f"JPEG {mode}" + (" progressive" if progressive else "")
            found[name] = (mode, "jpg", {"quality": 75, "subsampling": 0, "progressive": progressive})
    found["JPEG RGB turned"] = ("RGB", "jpg", {"quality": 75, "exif": turned()})
    for mode in ("L", "RGB", "RGBA", "CMYK", "LAB", "YCbCr", "I;16", "I", "F"):
        for compression in (None, "tiff_lzw"):
            found[f"TIFF {mode}" + (" LZW" if compression else "")] = (
                mode,
                "tif",
                {"compression": compression},
            )
        if mode in ("RGBA", "F", "I;16"):
            found[f"TIFF {mode} deflate, one strip"] = (
                mode, "tif", {"compression": "tiff_adobe_deflate", "strip_size": 2**31 - 1},
            )  # fmt: skip
    found["BMP RGB"], found["PPM RGB"] = ("RGB", "bmp", {}), ("RGB", "ppm", {})
    found["TGA RGBA, run lengths"] = ("RGBA", "tga", {"compression": "tga_rle"})
    found["GIF"] = ("P", "gif", {})
    found["WebP RGB"] = ("RGB", "webp", {"quality": 90, "method": 0})
    found["WebP RGBA lossless"] = ("RGBA", "webp", {"lossless": True, "quality": 0, "method": 0})
    found["AVIF RGB 4:2:0"] = ("RGB", "avif", {"speed": 10})
    found["AVIF RGBA 4:4:4"] = ("RGBA", "avif", {"speed": 10, "subsampling": "4:4:4", "quality": 95})
    found["JPEG 2000 RGB"] = ("RGB", "jp2", {})
    found["JPEG 2000 RGBA"] = ("RGBA", "jp2", {})
    found["JPEG 2000 I;16"] = ("I;16", "jp2", {})
    found["HEIC RGB 4:2:0"] = ("RGB", "heic", {"quality": 50})
    found["HEIC RGB 4:4:4"] = ("RGB", "heic", {"quality": 50, "chroma": 444})
    found["HEIC RGBA 4:4:4"] = ("RGBA", "heic", {"quality": 90, "chroma": 444})
    return found


def turned() -> Image.Exif:
    """Return EXIF data that say a quarter turn."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def measure(name: str, megapixels: float, folder: Path) -> dict[str, float]:
    """Write a case, read it in a process of its own and return its peak."""
    mode, suffix, options = cases()[name]
    width, height = round((megapixels * 4e6 / 3) ** 0.5), round((megapixels * 3e6 / 4) ** 0.5)
    save: Callable[[Image.Image, Path], None] = lambda image, path: image.save(path, **options)  # noqa: E731
    small, large = folder / f"small.{suffix}", folder / f"large.{suffix}"
    save(noise(mode, 64, 64), small)
    save(noise(mode, width, height), large)
    run = subprocess.run(
        [sys.executable, "-c", READ, small, large], capture_output=True, text=True, check=False
    )
    if run.returncode:
        return {"failed": 1.0, "why": run.stderr.strip().splitlines()[-1]}  # type: ignore[dict-item]
    kilobytes, pixels = map(int, run.stdout.split())
    each = kilobytes * 1024 / pixels
    size = {"jp2": "JPEG2000", "heic": "HEIF", "avif": "AVIF", "webp": "WEBP"}.get(suffix, "")
    limit = MEGAPIXELS_OF.get(size, MAX_MEGAPIXELS) if name != "HEIC RGBA 4:4:4" else 50
    return {
        "bytes_a_pixel": round(each, 1),
        "limit_megapixels": limit,
        "gigabytes": round(each * limit / 1e3, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    try:
        from pillow_heif import register_heif_opener

        register_heif_opener()
    except ImportError:
        pass
    ImageFile.MAXBLOCK = 2**26  # noise is larger than JPEG's writer expects
    with tempfile.TemporaryDirectory() as folder:
        for name in cases():
            if options.only in name:
                found = measure(name, options.megapixels, Path(folder))
                print(json.dumps({name: found}, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
