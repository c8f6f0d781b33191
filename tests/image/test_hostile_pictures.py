"""Damaged, cut, foreign and special files: each is read as viewers do or refused by an `ImageError`."""

import contextlib
import io
import os
import random
import socket
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms
from test_load_image import YCBCR, linear_profile

from amvur.errors import ImageError, InputError
from amvur.image import check_file, formats, load_image
from amvur.image.photographs import _opened, find_images

FORMATS = {
    "JPEG": {}, "PNG": {}, "WEBP": {}, "AVIF": {"speed": 10}, "TIFF": {"compression": "tiff_lzw"}, "BMP": {},
    "GIF": {}, "JPEG2000": {}, "PPM": {}, "TGA": {"compression": "tga_rle"},
}  # fmt: skip


@pytest.fixture
def picture(rng):
    coarse = rng.integers(30, 226, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC)


def stored(image, format_, **options):
    stream = io.BytesIO()
    image.save(stream, format_, **options)
    return stream.getvalue()


def heic(image, **options):
    pillow_heif = pytest.importorskip("pillow_heif", reason="writes HEIC for these tests")
    options = {"quality": 95, **options}
    stream = io.BytesIO()
    pillow_heif.from_pillow(image).save(stream, **options)
    return stream.getvalue()


def mutations(data, count):
    random_ = random.Random(7)
    for _ in range(count):
        changed = bytearray(data)
        for _ in range(random_.choice((1, 3, 10, 40))):
            changed[random_.randrange(len(changed))] = random_.randrange(256)
        yield bytes(changed[: random_.randrange(len(changed))] if random_.random() < 0.2 else changed)


@pytest.mark.parametrize("format_", [*FORMATS, "HEIC"])
def test_whatever_a_decoder_raises_is_an_image_error(picture, format_):
    small = picture.resize((48, 32))
    data = heic(small) if format_ == "HEIC" else stored(small, format_, **FORMATS[format_])
    for changed in mutations(data, 25):
        with contextlib.suppress(ImageError):
            assert load_image(changed).pixels.dtype == np.uint8


@pytest.mark.parametrize(
    "error",
    [SystemError, struct.error, zlib.error, AttributeError, RuntimeError, OverflowError, AssertionError],
)
def test_errors_of_plugins_name_the_file(picture, tmp_path, monkeypatch, error):
    path = tmp_path / "hand.bmp"
    picture.save(path)
    for place in ("open", "load"):
        with monkeypatch.context() as patch:
            if place == "open":
                patch.setitem(Image.OPEN, "BMP", (raising(error), lambda head: head[:2] == b"BM"))
            else:
                patch.setattr("PIL.BmpImagePlugin.BmpImageFile.load", raising(error))
            with pytest.raises(ImageError, match=r"hand\.bmp is a damaged or incomplete image"):
                load_image(path)


def raising(error):
    def fails(*args):
        raise error("made up")

    return fails


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_jpeg_without_its_last_bytes_is_read_with_a_warning(picture, progressive, missing):
    data = stored(picture, "JPEG", quality=90, progressive=progressive)
    loaded = load_image(data[:-missing])
    np.testing.assert_array_equal(loaded.pixels[:96], load_image(data).pixels[:96])
    (warning,) = loaded.warnings
    assert "its end is missing" in warning


def test_a_flat_jpeg_without_its_end_is_no_picture_without_rows():
    for color in ("white", "black", (128, 128, 128)):
        assert load_image(stored(Image.new("RGB", (64, 64), color), "JPEG")[:-2]).pixels.shape == (64, 64, 3)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "BMP", "TIFF", "PPM"])
def test_of_cut_pictures_what_is_there_is_shown_if_it_is_most(picture, format_):
    noisy = Image.fromarray(np.asarray(picture) ^ np.arange(120, dtype=np.uint8)[:, None, None] % 3)
    data = stored(noisy, format_, **({"quality": 95} if format_ == "JPEG" else {}))
    whole = load_image(data).pixels
    loaded = load_image(data[: len(data) * 3 // 4])
    number = int(loaded.warnings[0].split(" of its 120 rows are missing")[0].split()[-1])
    assert 10 < number < 50
    same = (loaded.pixels == whole).all(axis=(1, 2))
    assert abs(int(same.sum()) - (120 - number)) <= 24  # JPEG: a row of blocks may be there in part
    with pytest.raises(ImageError, match=r"damaged or incomplete image .* of 120 rows are there"):
        load_image(data[: len(data) // 4])


@pytest.mark.parametrize("format_", ["WEBP", "AVIF", "GIF", "JPEG2000", "HEIC"])
def test_formats_that_cannot_be_decoded_in_part_are_refused(picture, format_):
    data = heic(picture) if format_ == "HEIC" else stored(picture, format_)
    with pytest.raises(ImageError, match="damaged or incomplete image"):
        load_image(data[: len(data) * 3 // 4])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_pipes_devices_and_sockets_are_refused_at_once(tmp_path):
    fifo, other = tmp_path / "hand.jpg", tmp_path / "s.jpg"
    os.mkfifo(fifo)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(other))
        for path in (fifo, other, "/dev/zero"):
            for look in (load_image, check_file):
                with pytest.raises(ImageError, match="cannot be read"):
                    look(path)


def test_bytes_and_open_files_are_read(picture, tmp_path):
    data = stored(picture, "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(data)
    written = io.BytesIO()
    picture.save(written, "PNG")  # its position is at the end
    with path.open("rb") as binary, path.open("rb") as half_read:
        half_read.read(100)
        for source in (data, bytearray(data), memoryview(data), written, binary, half_read, str(path)):
            np.testing.assert_array_equal(load_image(source).pixels, np.asarray(picture))
        assert not binary.closed
    assert not written.closed


def test_what_cannot_be_read_is_told():
    for source, says in (
        (io.StringIO("text"), "open as text"),
        (np.zeros((20, 20, 3)), "found numpy.ndarray"),
        (None, "found builtins.NoneType"),
        ("", "path of a picture is empty"),
        ("https://example.org/hand.jpg", "Download the picture"),
    ):
        with pytest.raises(ImageError, match=says), _opened(source):
            pass


KINDS = {
    "mp4": (b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41", "a clip .*ffmpeg -i .*frames"),
    "mov": (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "a clip"),
    "webm": (b"\x1aE\xdf\xa3" + bytes(40), "a clip"),
    "avi": (b"RIFF\0\0\0\0AVI LIST", "a clip"),
    "ts": ((b"\x47" + bytes(187)) * 3, "a clip"),
    "pdf": (b"%PDF-1.7\n", "a PDF document.*pdftoppm"),
    "cr2": (b"II*\0\x10\0\0\0CR\x02\0", "raw file"),
    "cr3": (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", "raw file"),
    "raf": (b"FUJIFILMCCD-RAW 0201", "raw file"),
    "psd": (b"8BPS\0\1", "a Photoshop file"),
    "svg": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "a drawing"),
    "html": (b"<!DOCTYPE html><html>", "a web page"),
    "zip": (b"PK\x03\x04\x14\0", "a ZIP archive"),
    "npy": (b"\x93NUMPY\x01\0", "a NumPy array"),
    "jxl": (b"\xff\x0a\xfa", "a JPEG XL picture"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_other_kinds_are_named_whatever_their_suffix(tmp_path, kind):
    data, says = KINDS[kind]
    path = tmp_path / "my hand.jpg"
    path.write_bytes(data + bytes(100))
    for look in (load_image, check_file):
        with pytest.raises(ImageError, match=says) as caught:
            look(path)
        assert str(path) in str(caught.value)
        assert "{path}" not in str(caught.value)


@pytest.mark.parametrize("tags", [{50706: b"\1\4\0\0"}, {254: 1, 330: 8}])
def test_raw_files_that_are_tiffs_are_no_photographs(picture, tags):
    """DNG, NEF and ARW hold a thumbnail first, which must not be taken for the photograph."""
    with pytest.raises(ImageError, match="a camera's raw file"):
        load_image(stored(picture, "TIFF", tiffinfo=tags))


def test_a_folder_of_clips_says_so(tmp_path):
    (tmp_path / "a.mp4").write_bytes(KINDS["mp4"][0])
    (tmp_path / "b.MOV").write_bytes(KINDS["mov"][0])
    with pytest.raises(InputError, match=r"no images, but 2 clips \(a\.mp4, b\.MOV\).*ffmpeg -i .*a\.mp4"):
        find_images([tmp_path])


def test_what_macos_leaves_beside_pictures_is_passed_over(picture, tmp_path):
    (tmp_path / "._a.jpg").write_bytes(b"\0\5\x16\7" + bytes(60))
    picture.save(tmp_path / "a.jpg")
    assert [path.name for path in find_images([tmp_path])] == ["a.jpg"]


def test_a_linear_profile_is_applied_whatever_its_name():
    profile = linear_profile().replace(b"Linear test", b"sRGB linear")
    loaded = load_image(stored(Image.new("RGB", (20, 20), (100, 30, 200)), "PNG", icc_profile=profile))
    light = np.array([100, 30, 200]) / 255
    np.testing.assert_allclose(loaded.pixels[3, 3], 255 * (1.055 * light ** (1 / 2.4) - 0.055), atol=2)


def test_a_gray_picture_with_a_profile_of_color_is_converted():
    loaded = load_image(stored(Image.new("L", (20, 20), 100), "PNG", icc_profile=linear_profile()))
    np.testing.assert_allclose(loaded.pixels[0, 0], 255 * (1.055 * (100 / 255) ** (1 / 2.4) - 0.055), atol=2)
    assert loaded.warnings == ()


def test_profiles_of_the_wrong_kind_or_size_are_told():
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile in (lab, linear_profile() + bytes(17 * 2**20)):
        loaded = load_image(stored(Image.new("RGB", (20, 20), (9, 99, 199)), "TIFF", icc_profile=profile))
        assert (loaded.pixels == [9, 99, 199]).all()
        assert "color profile cannot be used" in loaded.warnings[0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_is_turned_once(picture, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    as_jpeg = load_image(stored(picture, "JPEG", quality=95, exif=exif)).pixels
    loaded = load_image(heic(picture, exif=exif.tobytes()))
    assert loaded.pixels.shape == as_jpeg.shape
    assert np.abs(loaded.pixels.astype(int) - as_jpeg).mean() < 5
    assert "HEIF" not in Image.OPEN  # nothing of Pillow's is changed for the program around us


def test_of_several_pictures_in_a_heic_the_main_one(picture):
    pillow_heif = pytest.importorskip("pillow_heif", reason="writes HEIC for these tests")
    pictures = pillow_heif.from_pillow(picture)
    pictures.add_from_pillow(Image.new("RGB", picture.size))
    stream = io.BytesIO()
    pictures.save(stream)
    loaded = load_image(stream)
    assert loaded.pixels.mean() > 50
    assert "2 pictures" in loaded.warnings[0]


def test_ten_bits_of_heic(picture):
    pillow_heif = pytest.importorskip("pillow_heif", reason="writes HEIC for these tests")
    deep = np.asarray(picture).astype(np.uint16) * 257
    stream = io.BytesIO()
    pillow_heif.from_bytes("RGB;16", picture.size, deep.tobytes()).save(stream, quality=95)
    assert np.abs(load_image(stream).pixels.astype(int) - np.asarray(picture)).mean() < 5


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "LAB", YCBCR, "I;16", "F", "I"])
def test_strips_are_what_a_whole_is(picture, monkeypatch, mode):
    if mode in ("F", "I"):
        image = picture.convert("L").convert(mode)
    elif mode == "I;16":
        image = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 200)
    elif mode == "LAB":
        image = Image.merge("LAB", picture.split())
    else:
        image = picture.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = stored(image, "TIFF" if mode not in ("P", "LA") else "PNG", exif=exif)
    whole = load_image(data).pixels
    monkeypatch.setattr("amvur.image.pixels.STRIP_PIXELS", 7 * 160)
    np.testing.assert_array_equal(load_image(data).pixels, whole)


def test_formats_that_take_more_memory_have_lower_limits(monkeypatch):
    data = stored(Image.new("RGB", (1100, 1000)), "WEBP")
    assert load_image(data).pixels.shape == (1000, 1100, 3)
    monkeypatch.setitem(formats.MEGAPIXELS_OF, "WEBP", 1)
    with pytest.raises(ImageError, match=r"at most 1 megapixels \(WEBP\): save it as JPEG or PNG"):
        load_image(data)


def test_large_files_that_are_read_whole_are_refused_unread(tmp_path):
    path = tmp_path / "a.webp"
    with path.open("wb") as stream:
        stream.write(b"RIFF\0\0\0\0WEBPVP8 ")
        stream.truncate(2**33)
    with pytest.raises(ImageError, match="too large: 8,589,934,"):
        load_image(path)


def test_first_pages_are_read_though_later_ones_are_damaged(picture):
    data = bytearray(stored(picture, "TIFF", save_all=True, append_images=[picture]))
    first = struct.unpack_from("<I", data, 4)[0]
    entries = struct.unpack_from("<H", data, first)[0]
    struct.pack_into("<I", data, first + 2 + 12 * entries, len(data) + 1000)
    loaded = load_image(bytes(data))
    np.testing.assert_array_equal(loaded.pixels, np.asarray(picture))


def test_threads_read_side_by_side(picture):
    good, cut = stored(picture, "JPEG"), stored(picture, "JPEG")[:-3]
    found = []

    def read(data):
        for _ in range(10):
            found.append(len(load_image(data).warnings))

    threads = [threading.Thread(target=read, args=(data,)) for data in (good, cut, good, cut)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0] * 20 + [1] * 20
