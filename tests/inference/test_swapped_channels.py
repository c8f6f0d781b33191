"""Pictures whose red and blue are swapped are told."""

import sys
from pathlib import Path

import numpy as np
import pytest

from amvur.detect.mediapipe_hands import MediaPipeDetector
from amvur.inference.swapped_channels import hand_in_swapped, looks_blue

sys.path.insert(0, str(Path(__file__).parent.parent / "detect"))
from drawn_hand import draw_hand


@pytest.fixture(scope="module")
def found():
    image, _ = draw_hand()
    with MediaPipeDetector() as detector:
        yield detector, image, detector.detect(image)[0]


def test_skin_is_not_blue(found):
    _, image, hand = found
    assert not looks_blue(image, hand)
    assert looks_blue(np.ascontiguousarray(image[..., ::-1]), hand)
    gray = np.repeat(image.mean(-1, keepdims=True), 3, -1).astype(np.uint8)
    assert not looks_blue(gray, hand)


def test_a_hand_is_looked_for_with_the_channels_swapped(found):
    detector, image, _ = found
    assert hand_in_swapped(np.ascontiguousarray(image[..., ::-1]), detector)
    assert not hand_in_swapped(np.full((600, 90, 3), 128, np.uint8), detector)
