"""A list of images is one call."""

import numpy as np
import pytest

from amvur.errors import InputError
from amvur.inference.reconstructor import Reconstructor


class OneHandWhereBright:
    """Detects the same joints in every picture whose first pixel is bright."""

    def __init__(self, detection):
        self.detection = detection

    def detect(self, image, *, boxes=None, side="auto"):
        return [self.detection] if image[0, 0, 0] > 128 else []


@pytest.fixture(scope="module")
def reconstruct():
    from test_reconstructor import detect, true_mesh

    detector = OneHandWhereBright(detect(true_mesh()[1]))
    return Reconstructor(detector=detector, checkpoint="none", device="cpu", texture="sampled")


def test_a_list_gives_what_each_image_gives(reconstruct):
    bright, dark = np.full((480, 640, 3), 200, np.uint8), np.zeros((100, 50, 3), np.uint8)
    found = reconstruct([bright, dark, bright])
    assert [len(hands) for hands in found] == [1, 0, 1]
    assert found == [reconstruct(bright), [], reconstruct(bright)]
    assert reconstruct([]) == []


def test_a_bad_image_is_named_by_its_place(reconstruct):
    good = np.zeros((100, 50, 3), np.uint8)
    with pytest.raises(InputError, match="Image 1 of the list"):
        reconstruct([good, good.astype(float)])
    with pytest.raises(InputError, match="one by one"):
        reconstruct([good], boxes=np.array([[0.0, 0, 20, 20]]))
