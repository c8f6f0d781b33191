"""The default detector: MediaPipe's palm and landmark networks, looked through several times.

The palm network sees the whole image at two sizes, and doubtful palms are followed after the better ones.
Where that finds nothing, turned pictures count too; where most hands are small, so do parts of the image.
Around each palm the landmark network looks at a square, then at the square its landmarks define, and at
slightly changed and mirrored ones: their median is more accurate than one look, and their spread says where
the network is unsure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import numpy as np
from jaxtyping import Float

from amvur.crop import CropTransform
from amvur.detect.base import SideChoice, chosen_side
from amvur.detect.duplicates import box_areas, extent, same_joints, without_duplicates
from amvur.detect.given import check_box, hand_in_box
from amvur.detect.landmarks import LANDMARK_OUTPUTS, Look, combine_looks, decode_landmarks, jitter
from amvur.detect.model_files import read_task
from amvur.detect.networks import Network, shipped_network
from amvur.detect.palms import (
    HAND_INPUT_PX,
    PALM_INPUT_PX,
    PALM_OUTPUTS,
    Palm,
    crop_of_landmarks,
    crop_of_palm,
    decode_palms,
    merge_palms,
)
from amvur.detect.views import View, tiles, whole
from amvur.errors import DetectorError, InputError
from amvur.structures import HandDetection, RgbImage

_BATCH = 16
"""Windows that the palm network sees at once: its maps take some 10 MB each."""
_HOPELESS = 0.1
"""A square whose presence score is below this is not looked at again."""
_HESITANT_PALM = 0.1
"""The lowest palm score that is followed at all, once the better palms were."""
_TILE_PALM = 0.5
"""The lowest score of a palm in a part of an image that is followed (MediaPipe's own default)."""
_SURE_IN_BOX = 0.9
"""The lowest score of a hand that may fill little of a user's box."""
_FILLED = 0.25
"""The least intersection over union of a hand's joints with a user's box."""
_RETRY_SCORE = 0.75
"""The lowest score of a further hand, or one in a part of an image: more looks are more chances to err."""
_LEVELS_WITHOUT_HANDS = 2
"""How far parts of an image are searched that shows no hand at all: further down costs a second."""


@dataclass(frozen=True)
class MediaPipeConfig:
    """How the networks are used.

    `runs` looks at every hand (the first is not changed; odd ones are mirrored). `threshold` is the lowest
    score (mean presence over the looks) of a hand that is returned, `palm_threshold` that of a palm that is
    followed at first. At most `max_hands` are returned; `max_palms` bounds the time for cluttered images.
    `tile_levels` says how far small hands are searched for: 0 not at all, 1 in halves, 2 in quarters, 3 (only
    where larger parts show hands) in eighths.
    """

    runs: int = 4
    threshold: float = 0.5
    palm_threshold: float = 0.3
    max_hands: int = 100
    max_palms: int = 100
    tile_levels: int = 3

    def __post_init__(self) -> None:
        """Raise `InputError` for values that make no sense."""
        if self.runs < 1 or self.max_hands < 1 or self.max_palms < 1 or self.tile_levels < 0:
            raise InputError(
                f"runs, max_hands and max_palms must be at least 1, tile_levels 0, found {self}."
            )
        if not (0 <= self.threshold <= 1 and 0 <= self.palm_threshold <= 1):
            raise InputError(f"Thresholds are probabilities between 0 and 1, found {self}.")


class MediaPipeDetector:
    """Finds hands with MediaPipe's networks: those that ship, or those of a `hand_landmarker.task` file.

    Networks are loaded at the first image (a twentieth of a second). Use it for many images, from several
    threads or forked processes if need be; `close` it or use it as a context manager. Pickles are small.
    """

    def __init__(
        self, config: MediaPipeConfig | None = None, task_file: Path | None = None, device: str = "cpu"
    ) -> None:
        """Find the networks, to run on "cpu" or "cuda".

        Raises `DetectorError` for a file that is missing or another one.
        """
        self.config, self.task_file, self.device = config or MediaPipeConfig(), task_file, device
        palm: Path | bytes = shipped_network("palm_detection")
        hand: Path | bytes = shipped_network("hand_landmarks")
        if task_file is not None:
            palm, hand = read_task(task_file)
        name = "" if task_file is None else str(task_file)
        self._palm_network = Network(palm, PALM_INPUT_PX, PALM_OUTPUTS, name, device)
        self._hand_network = Network(hand, HAND_INPUT_PX, LANDMARK_OUTPUTS, name, device)
        self._closed = False

    def __reduce__(self) -> tuple[type[MediaPipeDetector], tuple[MediaPipeConfig, Path | None, str]]:
        """Pickle how it was made; the networks are read again."""
        return MediaPipeDetector, (self.config, self.task_file, self.device)

    def detect(
        self,
        image: RgbImage,
        *,
        boxes: Float[np.ndarray, "N 4"] | None = None,
        side: SideChoice = "auto",
    ) -> list[HandDetection]:
        """Find the hands of one image, best score first; coordinates are the image's pixels.

        With `boxes` (x0, y0, x1, y1) one hand in each, upright or turned, however low its score: the user
        knows better that there is one. Of a hand that the networks do not see there, or that would fill too
        little of the box, the box is all that is told (confidences of 0). Other confidences fall with a score
        below one half. A `side` other than "auto" overrides the network's. Raises `InputError` for boxes off
        the image.
        """
        known, view = chosen_side(side), View(image)
        if self._closed:
            raise DetectorError("This detector was closed. Make a new one.")
        if boxes is None:
            hands = self._search(view)[: self.config.max_hands]
        else:
            hands = [self._detect_in_box(view, check_box(box, image.shape)) for box in boxes]
        hands = [hand if known is None else replace(hand, side=known) for hand in hands]
        return sorted(hands, key=lambda hand: -hand.score)

    def close(self) -> None:
        """Free the networks; closing twice does nothing."""
        self._closed = True
        self._palm_network.close()
        self._hand_network.close()

    def __enter__(self) -> MediaPipeDetector:
        """Use as a context manager."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close on leaving the block."""
        self.close()

    def _search(self, view: View) -> list[HandDetection]:
        """All hands of an image: the cheap looks first, the others only where those leave a doubt."""
        config, shape = self.config, view.shape
        palms = self._find_palms(view, [whole(shape), whole(shape, zoom=0.6)])
        hands = self._follow(view, palms, [], config.palm_threshold, config.threshold)
        strict = max(_RETRY_SCORE, config.threshold)
        if hands:
            others = [palm for palm in palms if not any(_inside(palm, hand) for hand in hands)]
            hands = self._follow(view, others, hands, _HESITANT_PALM, strict)
        else:
            palms += self._find_palms(view, [whole(shape, turn_deg=turn) for turn in (90.0, -90.0)])
            hands = self._follow(view, palms, hands, _HESITANT_PALM, config.threshold)
        for level in range(1, config.tile_levels + 1):
            side = max(shape[:2]) / 2**level
            if side > PALM_INPUT_PX / 2 and _worth_a_search(hands, side, level):
                palms = self._find_palms(view, tiles(shape, side))
                hands = self._follow(view, palms, hands, _TILE_PALM, strict)
        return sorted(hands, key=lambda hand: -hand.score)

    def _detect_in_box(self, view: View, box: Float[np.ndarray, "4"]) -> HandDetection:
        """The hand that explains a box best, from four upright and turned squares and the palms near it."""
        x, y = (float(value) for value in (box[:2] + box[2:]) / 2)
        longest = max(float(np.max(box[2:] - box[:2])), 1.0)
        square = CropTransform(x, y, 1.2 * longest, HAND_INPUT_PX)
        guesses = [replace(square, rotation_rad=turn * math.pi / 2) for turn in range(4)]
        around = CropTransform(x, y, 2 * longest, PALM_INPUT_PX)
        guesses += [crop_of_palm(palm) for palm in merge_palms(self._find_palms(view, [around]))[:3]]
        looks = sorted(self._look(view, guesses), key=lambda look: -_claim(look, box))[:3]
        best = looks[0]
        for _ in range(2):
            looks = self._look(view, [crop_of_landmarks(look.joints_2d_px) for look in looks])
            best = max(best, *looks, key=lambda look: _claim(look, box))
        hand = self._detect_at(view, crop_of_landmarks(best.joints_2d_px))
        seen = hand.score >= self.config.threshold and _fills(hand, box)
        return hand if seen else hand_in_box(box, hand.side, hand.score)

    def _find_palms(self, view: View, windows: Sequence[CropTransform]) -> list[Palm]:
        """All palms that the first network sees in `windows`, however doubtful, with repetitions."""
        palms: list[Palm] = []
        for start in range(0, len(windows), _BATCH):
            part = windows[start : start + _BATCH]
            outputs = self._palm_network(np.stack([view.warp(window, border="black") for window in part]))
            for window, boxes, logits in zip(part, *outputs, strict=True):
                palms += decode_palms(boxes, logits, window, _HESITANT_PALM)
        return palms

    def _follow(
        self,
        view: View,
        palms: list[Palm],
        hands: list[HandDetection],
        palm_threshold: float,
        threshold: float,
    ) -> list[HandDetection]:
        """Return `hands` with those that good enough palms lead to and that score well enough."""
        hands = list(hands)
        good = [palm for palm in palms if palm.score >= palm_threshold]
        for palm in merge_palms(good)[: self.config.max_palms]:
            crop = self._settle(view, crop_of_palm(palm), hands)
            if crop is not None:
                hand = self._detect_at(view, crop)
                if hand.score >= threshold:
                    hands.append(hand)
        return without_duplicates(hands)

    def _settle(self, view: View, crop: CropTransform, hands: list[HandDetection]) -> CropTransform | None:
        """Follow the landmarks from a first guess to the square around a hand that is not among `hands`.

        A hesitant first answer is given two more chances: the network often centres itself.
        """
        for _ in range(3):
            (look,) = self._look(view, [crop])
            if look.presence < _HOPELESS or any(same_joints(look.joints_2d_px, hand) for hand in hands):
                return None
            crop = crop_of_landmarks(look.joints_2d_px)
            if look.presence >= self.config.threshold:
                return crop
        return None

    def _look(self, view: View, crops: Sequence[CropTransform]) -> list[Look]:
        outputs = self._hand_network(np.stack([view.warp(crop) for crop in crops]))
        return [decode_landmarks(own, crop) for *own, crop in zip(*outputs, crops, strict=True)]

    def _detect_at(self, view: View, crop: CropTransform) -> HandDetection:
        looks = self._look(view, [jitter(crop, run) for run in range(self.config.runs)])
        return combine_looks(looks, view.shape)


def _worth_a_search(hands: list[HandDetection], tile_px: float, level: int) -> bool:
    """Whether parts of an image may show hands that were too small until now: most known ones are small."""
    if not hands:
        return level <= _LEVELS_WITHOUT_HANDS
    return float(np.median([extent(hand) for hand in hands])) < tile_px / 2


def _inside(palm: Palm, hand: HandDetection) -> bool:
    """Whether a palm's centre lies in the box of a hand."""
    low, high = hand.box_xyxy_px[:2], hand.box_xyxy_px[2:]
    return bool(np.all((palm.center_px > low) & (palm.center_px < high)))


def _fills(hand: HandDetection, box_xyxy_px: Float[np.ndarray, "4"]) -> bool:
    """Whether a hand that was found can be the one that a user's box is drawn about, maybe loosely."""
    shared, own, drawn = box_areas(hand.box_xyxy_px, box_xyxy_px)
    filled = shared >= _FILLED * (own + drawn - shared)
    return filled or hand.score >= _SURE_IN_BOX


def _claim(look: Look, box_xyxy_px: Float[np.ndarray, "4"]) -> float:
    """How well a look explains the user's box: presence, times the share of its joints in or near the box."""
    slack = 0.1 * np.max(box_xyxy_px[2:] - box_xyxy_px[:2])
    inside = (look.joints_2d_px >= box_xyxy_px[:2] - slack) & (look.joints_2d_px <= box_xyxy_px[2:] + slack)
    return look.presence * float(np.mean(inside.all(axis=1)))
