"""Files of every kind become the pixels a viewer shows, or an error that says what to do."""

import struct
import zlib

import numpy as np
import PIL
import pytest
from PIL import Image, ImageCms

from amvur.errors import ImageError, InputError
from amvur.image import MAX_MEGAPIXELS, check_image, find_images, load_image

SIZE = (48, 32)


@pytest.fixture
def picture(rng):
    """A smooth colour picture that survives JPEG."""
    coarse = rng.integers(30, 226, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC)


def save(image, path, **options):
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm"])
def test_lossless_colour_is_read_exactly(picture, tmp_path, suffix):
    loaded = load_image(save(picture, tmp_path / f"a.{suffix}"))
    np.testing.assert_array_equal(loaded.pixels, np.asarray(picture))
    assert loaded.warnings == ()
    assert loaded.pixels.flags.writeable


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_lossy_colour_is_read_nearly(picture, tmp_path, suffix):
    loaded = load_image(str(save(picture, tmp_path / f"a.{suffix}", quality=95)))
    assert np.abs(loaded.pixels.astype(int) - np.asarray(picture)).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    """The stored picture is what a camera held that way writes; what must come back is upright."""
    upright = Image.fromarray(np.arange(32 * 48 * 3, dtype=np.uint32).reshape(32, 48, 3).astype(np.uint8))
    stored = upright
    undo = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.ROTATE_90, Image.Transpose.FLIP_TOP_BOTTOM],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.ROTATE_270, Image.Transpose.FLIP_TOP_BOTTOM],
        8: [Image.Transpose.ROTATE_270],
    }
    for step in undo.get(orientation, []):
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(stored, tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(load_image(path).pixels, np.asarray(upright))


def test_damaged_exif_is_only_a_warning(picture, tmp_path):
    path = save(picture, tmp_path / "a.jpg", exif=b"Exif\x00\x00garbage that is no TIFF header")
    assert load_image(path).pixels.shape == (32, 48, 3)


def test_transparency_is_put_on_white(tmp_path):
    rgba = np.zeros((16, 16, 4), np.uint8)
    rgba[..., 0] = 200
    rgba[:8, :, 3] = 255
    rgba[8:, :8, 3] = 128
    pixels = load_image(save(Image.fromarray(rgba), tmp_path / "a.png")).pixels
    assert (pixels[:8] == [200, 0, 0]).all()
    np.testing.assert_allclose(pixels[12, 3], [227, 127, 127], atol=1)
    assert (pixels[8:, 8:] == 255).all()


YCBCR = pytest.param(
    "YCbCr", marks=pytest.mark.skipif(PIL.__version__ < "13", reason="Pillow 12 misreads such TIFF files")
)


@pytest.mark.parametrize("mode", ["LA", "P", "1", "L", "CMYK", YCBCR, "HSV"])
def test_other_modes_become_colour(picture, tmp_path, mode):
    suffix = {"CMYK": "tif", "YCbCr": "tif", "HSV": "tif"}.get(mode, "png")
    image = picture.convert(mode) if mode != "HSV" else picture.convert("LAB")
    loaded = load_image(save(image, tmp_path / f"a.{suffix}"))
    assert loaded.pixels.shape == (32, 48, 3)
    assert loaded.pixels.dtype == np.uint8
    reference = picture if mode in ("CMYK", "YCbCr", "HSV", "P") else picture.convert("L").convert("RGB")
    if mode not in ("1", "HSV"):
        assert np.abs(loaded.pixels.astype(int) - np.asarray(reference)).mean() < 20


def test_a_transparent_palette_is_put_on_white(tmp_path):
    image = Image.new("P", (20, 20), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (0, 0, 10, 20))
    pixels = load_image(save(image, tmp_path / "a.png", transparency=0)).pixels
    assert (pixels[:, :10] == [0, 0, 255]).all()
    assert (pixels[:, 10:] == 255).all()


def test_16_bits_of_gray_keep_their_brightness(tmp_path):
    values = np.linspace(0, 65535, 32 * 48).reshape(32, 48).astype(np.uint16)
    for suffix in ("png", "tif"):
        pixels = load_image(save(Image.fromarray(values), tmp_path / f"a.{suffix}")).pixels
        np.testing.assert_array_equal(pixels, np.repeat((values / 257).round()[..., None], 3, axis=2))


def test_16_bits_of_colour(tmp_path):
    """Written by hand: Pillow cannot write it."""
    values = np.linspace(0, 65535, 20 * 24 * 3).reshape(20, 24, 3).astype(">u2")

    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(b"\x00" + row.tobytes() for row in values)
    header = struct.pack(">IIBBBBB", 24, 20, 16, 2, 0, 0, 0)
    path = tmp_path / "a.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    np.testing.assert_allclose(load_image(path).pixels, values / 257, atol=1)


def test_float_tiffs(tmp_path):
    unit = np.linspace(0, 1, 32 * 48, dtype=np.float32).reshape(32, 48)
    loaded = load_image(save(Image.fromarray(unit), tmp_path / "unit.tif"))
    np.testing.assert_allclose(loaded.pixels[..., 0], unit * 255, atol=0.51)
    assert loaded.warnings == ()
    hdr = unit * 40
    hdr[0, 0] = np.nan
    loaded = load_image(save(Image.fromarray(hdr), tmp_path / "hdr.tif"))
    assert loaded.pixels.max() == 255
    assert "0 to 40" in loaded.warnings[0]


def linear_profile():
    """An ICC profile with the primaries of sRGB (adapted to D50) and linear light."""

    def xyz(x, y, z):
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in (x, y, z)))

    def text(kind, words):
        if kind == b"desc":
            return kind + bytes(4) + struct.pack(">I", len(words) + 1) + words + bytes(79)
        return kind + bytes(4) + words + b"\0"

    linear = b"curv" + bytes(4) + struct.pack(">I", 0)
    tags = {
        b"desc": text(b"desc", b"Linear test"),
        b"cprt": text(b"text", b"none"),
        b"wtpt": xyz(0.9642, 1, 0.8249),
        b"rXYZ": xyz(0.43607, 0.22249, 0.01392),
        b"gXYZ": xyz(0.38515, 0.71687, 0.09708),
        b"bXYZ": xyz(0.14307, 0.06061, 0.71410),
        **{name: linear for name in (b"rTRC", b"gTRC", b"bTRC")},
    }
    table, data = struct.pack(">I", len(tags)), b""
    for name, body in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(data), len(body))
        data += body + bytes(-len(body) % 4)
    size = 132 + 12 * len(tags) + len(data)
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + table + data


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_colour_profile_is_applied(tmp_path, mode):
    image = Image.new("RGB", (20, 20), (100, 30, 200)).convert(mode)
    light = np.array([100, 30, 200]) / 255
    expected = 255 * (1.055 * light ** (1 / 2.4) - 0.055)
    loaded = load_image(save(image, tmp_path / "linear.png", icc_profile=linear_profile()))
    np.testing.assert_allclose(loaded.pixels[3, 3], expected, atol=2)
    assert loaded.warnings == ()


def test_other_colour_profiles(tmp_path):
    image = Image.new("RGB", (20, 20), (100, 100, 100))
    loaded = load_image(save(image, tmp_path / "broken.png", icc_profile=b"no profile"))
    assert (loaded.pixels == 100).all()
    assert "profile" in loaded.warnings[0]
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    loaded = load_image(save(image, tmp_path / "srgb.png", icc_profile=srgb))
    assert (loaded.pixels == 100).all()
    assert loaded.warnings == ()


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_of_an_animation_the_first_frame(tmp_path, suffix):
    frames = [Image.new("RGB", (20, 20), color) for color in ("red", "green", "blue")]
    path = save(frames[0], tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], lossless=True)
    loaded = load_image(path)
    np.testing.assert_allclose(loaded.pixels[5, 5], [255, 0, 0], atol=2)
    assert "3 pictures" in loaded.warnings[0]


def broken(kind, folder, picture):
    path = folder / "hand.jpg"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("This is no photograph at all.")
    elif kind == "truncated":
        save(picture.resize((480, 320)), path, quality=95)
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == "folder":
        path.mkdir()
    elif kind == "tiny":
        path = save(Image.new("RGB", (1, 1)), folder / "hand.png")
    elif kind == "bytes":
        path.write_bytes(bytes(range(256)) * 4)
    elif kind == "heic":
        path.write_bytes(b"\x00\x00\x00\x18ftypheic" + bytes(64))
    elif kind == "postscript":
        path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n")
    return path


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("empty", "is empty"),
        ("text", "it is text, beginning with b'This is"),
        ("truncated", "damaged or incomplete"),
        ("folder", "is a folder"),
        ("tiny", "only 1×1 pixels"),
        ("missing", "does not exist"),
        ("bytes", "unknown kind"),
        ("heic", "damaged or incomplete|pip install pillow-heif"),
        ("postscript", "is a PostScript file"),
    ],
)
def test_each_failure_says_what_it_is(kind, says, tmp_path, picture):
    path = broken(kind, tmp_path, picture)
    with pytest.raises(ImageError, match=says) as caught:
        load_image(path)
    assert str(path) in str(caught.value)


def test_truncated_png(picture, tmp_path):
    path = save(picture, tmp_path / "a.png")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError, match="damaged or incomplete"):
        load_image(path)


def test_too_large_is_refused_before_decoding(tmp_path):
    side = int((MAX_MEGAPIXELS * 1e6) ** 0.5) + 10
    path = save(Image.new("1", (side, side)), tmp_path / "large.png")
    with pytest.raises(ImageError, match=f"{side}×{side} pixels. Give a picture of at most {MAX_MEGAPIXELS}"):
        load_image(path)
    path = save(Image.new("1", (20000, 20000)), tmp_path / "bomb.png")
    with pytest.raises(ImageError, match="too large"):
        load_image(path)


def test_fifty_megapixels_are_read(tmp_path):
    path = save(Image.new("L", (8200, 6100), 77), tmp_path / "large.png", compress_level=1)
    pixels = load_image(path).pixels
    assert pixels.shape == (6100, 8200, 3)
    assert (pixels[::500, ::500] == 77).all()


def test_folders_are_searched(picture, tmp_path):
    for name in ("b.JPG", "a.png", "c.TIFF", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "sub.png").mkdir()
    other = tmp_path / "elsewhere.dat"
    found = find_images([tmp_path, other])
    assert [path.name for path in found] == ["a.png", "b.JPG", "c.TIFF", "elsewhere.dat"]


def test_a_folder_without_images_says_what_was_looked_for(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"\.jpeg, \.jpg, \.png"):
        find_images([str(tmp_path)])


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.zeros((20, 20, 3)), "float64.*255"),
        (np.zeros((20, 20, 3), np.uint16), "uint16.*257"),
        (np.zeros((20, 20), np.uint8), "gray"),
        (np.zeros((20, 20, 1), np.uint8), "gray"),
        (np.zeros((20, 20, 4), np.uint8), "alpha"),
        (np.zeros((3, 20, 20), np.uint8), "channels first"),
        (np.zeros((2, 20, 20, 3), np.uint8), "one by one"),
        (np.zeros((0, 20, 3), np.uint8), r"\(0, 20, 3\)"),
        (np.zeros((20, 4, 3), np.uint8), "16 pixels a side"),
        (np.zeros((20, 20, 2), np.uint8), r"\(20, 20, 2\)"),
        (Image.new("RGB", (20, 20)), "numpy.asarray"),
        ("hand.jpg", "builtins.str"),
        (None, "NoneType"),
    ],
)
def test_wrong_arrays_are_refused_with_a_remedy(image, says):
    with pytest.raises(InputError, match=says):
        check_image(image)


def test_a_right_array_is_passed_on():
    image = np.zeros((20, 30, 3), np.uint8)
    assert check_image(image) is image
