"""Arrays that are no images are refused with a remedy that works when it is followed."""

import re

import numpy as np
import PIL.ImageOps
import pytest
from PIL import Image

import amvur
from amvur.errors import InputError
from amvur.image import check_image

RIGHT = np.random.default_rng(3).integers(0, 256, (20, 24, 3), dtype=np.uint8)
RIGHT[0, 0] = 255


def turned():
    image = Image.fromarray(RIGHT.transpose(1, 0, 2)[::-1].copy())
    image.getexif()[0x0112] = 6
    return image


def followed(image):
    """What comes of doing what the message says."""
    with pytest.raises(InputError) as caught:
        check_image(image)
    remedy = re.search(r"(?:Use |first: |Fill what is masked: )(.+)\.$", str(caught.value))[1]
    remedy = re.split(r"; |, or | for 16 bits|: both", remedy)[0]
    return eval(remedy, {"numpy": np, "PIL": PIL, "amvur": amvur, "image": image})


@pytest.mark.parametrize("kind", ["int64", "int32", "uint16", "float32", "float64"])
def test_numbers_up_to_255_keep_their_values(kind):
    np.testing.assert_array_equal(check_image(followed(RIGHT.astype(kind))), RIGHT)


@pytest.mark.parametrize(
    "image",
    [
        RIGHT / 255,
        RIGHT.astype(np.uint16) * 257,
        RIGHT.astype(np.int64) * 257,
        RIGHT.astype(object),
        np.ma.masked_array(RIGHT, mask=RIGHT == 255),
        turned(),
    ],
    ids=lambda image: f"{type(image).__name__} {getattr(image, 'dtype', '')}",
)
def test_remedies_give_the_right_picture(image):
    np.testing.assert_array_equal(check_image(followed(image)), RIGHT)


def test_tensors_are_told_what_to_do_and_it_helps():
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(RIGHT)
    for image in (tensor, tensor.permute(2, 0, 1), tensor.permute(2, 0, 1) / 255, tensor.float()):
        np.testing.assert_array_equal(check_image(followed(image)), RIGHT)


def test_masks_become_black_and_white():
    mask = RIGHT > 100
    np.testing.assert_array_equal(followed_product(mask), mask * np.uint8(255))


def followed_product(image):
    with pytest.raises(InputError, match=r"Use image\.astype\('uint8'\) \* 255") as caught:
        check_image(image)
    return eval(re.search(r"Use (.+)\.$", str(caught.value))[1])


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.where(RIGHT == 255, np.nan, RIGHT / 255), "not finite.*nan_to_num"),
        (RIGHT / 127.5 - 1, "from -1 to 1.*normalization"),
        (RIGHT.astype(complex), "no plain numbers"),
        ([RIGHT, RIGHT], "one by one"),
        (b"\xff\xd8", "load_image"),
        (amvur.image.LoadedImage(RIGHT), "image.pixels"),
    ],
)
def test_others_are_told_what_they_are(image, says):
    with pytest.raises(InputError, match=says):
        check_image(image)


def test_views_read_only_arrays_and_subclasses_come_out_in_one_piece():
    readonly = RIGHT.copy()
    readonly.flags.writeable = False

    class Sub(np.ndarray):
        pass

    for image in (RIGHT[:, ::-1], np.asfortranarray(RIGHT), RIGHT[..., ::-1], readonly, RIGHT.view(Sub)):
        checked = check_image(image)
        assert checked.flags.c_contiguous
        assert type(checked) is np.ndarray
        np.testing.assert_array_equal(checked, image)
