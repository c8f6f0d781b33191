"""The networks on a drawn hand, and on photographs where they lie beside the repository."""

import contextlib
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from drawn_hand import JOINTS, draw_hand
from PIL import Image
from tflite_file import TfliteWriter

from amvur.detect import mediapipe_hands
from amvur.detect.base import make_detector
from amvur.detect.given import GivenBoxes
from amvur.detect.mediapipe_hands import MediaPipeConfig, MediaPipeDetector
from amvur.detect.palms import Palm
from amvur.errors import DetectorError, InputError

PHOTOS = Path(__file__).parents[3] / "shared" / "real_photos"
needs_photos = pytest.mark.skipif(
    not PHOTOS.is_dir(), reason="real photographs may not be redistributed: no ../shared/real_photos here"
)


@pytest.fixture(scope="module")
def detector():
    with MediaPipeDetector() as detector:
        yield detector


@pytest.fixture(scope="module")
def drawn():
    return draw_hand()


def middle(hand):
    return np.median(hand.joints_2d_px, axis=0)


def assert_same(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert (one.side, one.score) == (other.side, other.score)
        for name in ("box_xyxy_px", "joints_2d_px", "confidence", "depth_px", "landmarks_3d_m"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_a_drawn_hand_is_found(detector, drawn):
    image, joints = drawn
    (hand,) = detector.detect(image)
    assert hand.side == "left"
    assert hand.score > 0.8
    assert hand.convention == "mediapipe"
    assert hand.joints_2d_px.shape == (4, 21, 2)
    assert hand.depth_px.shape == (4, 21)
    assert hand.landmarks_3d_m.shape == (4, 21, 3)
    np.testing.assert_array_equal(hand.depth_px[:, 0], 0)
    assert (hand.confidence > 0.9).all()
    assert np.linalg.norm(middle(hand) - joints, axis=1).mean() < 0.03 * len(image)
    # The metric landmarks lie as the joints do in the picture, and have the size of a hand.
    flat = np.median(hand.landmarks_3d_m, axis=0)[:, :2]
    for axis in (0, 1):
        assert np.corrcoef(flat[:, axis], joints[:, axis])[0, 1] > 0.95
    assert 0.1 < np.ptp(flat[:, 1]) < 0.25


def test_a_mirrored_picture_gives_the_mirrored_hand(detector, drawn):
    image, _ = drawn
    (hand,) = detector.detect(image)
    (other,) = detector.detect(np.ascontiguousarray(image[:, ::-1]))
    assert other.side == "right"
    flipped = middle(other) * [-1, 1] + [image.shape[1], 0]
    assert np.linalg.norm(flipped - middle(hand), axis=1).max() < 0.05 * len(image)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_picture_gives_the_turned_hand(detector, drawn, quarters):
    image, joints = drawn
    size = len(image)
    (hand,) = detector.detect(np.ascontiguousarray(np.rot90(image, quarters)))
    for _ in range(quarters):
        joints = np.stack([joints[:, 1], size - joints[:, 0]], axis=1)
    assert hand.side == "left"
    assert np.linalg.norm(middle(hand) - joints, axis=1).mean() < 0.03 * size
    flat = np.median(hand.landmarks_3d_m, axis=0)[:, :2]
    for axis in (0, 1):
        assert np.corrcoef(flat[:, axis], joints[:, axis])[0, 1] > 0.95


def test_two_hands_are_found_once_each(detector, drawn):
    image, joints = drawn
    both = np.concatenate([image, image[:, ::-1]], axis=1)
    hands = detector.detect(both)
    assert sorted(hand.side for hand in hands) == ["left", "right"]
    assert [hand.score for hand in hands] == sorted((hand.score for hand in hands), reverse=True)
    (left,) = [hand for hand in hands if hand.side == "left"]
    assert np.linalg.norm(middle(left) - joints, axis=1).mean() < 0.04 * len(image)


@pytest.mark.parametrize("shape", [(16, 16), (1, 1), (480, 640), (40, 2000), (3000, 4000)])
def test_a_blank_image_has_no_hand(detector, shape):
    for gray in (0, 128, 255):
        assert detector.detect(np.full((*shape, 3), gray, np.uint8)) == []


def test_noise_has_no_hand(detector, rng):
    assert detector.detect(rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)) == []


def test_palms_seen_beside_the_image_do_no_harm(drawn):
    """A long strip leaves much border, in which the palm network imagines palms."""
    image, _ = drawn
    with MediaPipeDetector(MediaPipeConfig(palm_threshold=0.0)) as eager:
        eager._find_palms = lambda view, windows: [
            Palm(0.9, np.array([160.0, y]), 20.0, np.tile([[160.0, y]], (7, 1)) + np.eye(7, 2))
            for y in (-400.0, -30.0, 200.0, 1e5)
        ]
        assert eager.detect(image[:60]) == []


@pytest.mark.parametrize("size", [32, 100, 1500])
def test_hands_of_any_size_are_found(detector, size):
    image, joints = draw_hand(size)
    (hand,) = detector.detect(image)
    assert np.linalg.norm(middle(hand) - joints, axis=1).mean() < 0.05 * size


def test_a_small_hand_in_a_large_picture_is_found(detector):
    hand, joints = draw_hand(40, background=(128, 128, 128))
    image = np.full((768, 1024, 3), 128, np.uint8)
    image[500:540, 700:740] = hand
    (found,) = detector.detect(image)
    assert np.linalg.norm(middle(found) - joints - [700, 500], axis=1).mean() < 2
    with MediaPipeDetector(MediaPipeConfig(tile_levels=0)) as quick:
        assert quick.detect(image) == []


def test_every_hand_of_a_crowd_is_found(detector):
    hand, joints = draw_hand(48, background=(128, 128, 128))
    image = np.full((900, 1200, 3), 128, np.uint8)
    corners = [(x, y) for y in range(40, 800, 190) for x in range(30, 1100, 180)]
    for x, y in corners:
        image[y : y + 48, x : x + 48] = hand
    found = np.array([middle(hand) for hand in detector.detect(image)])
    assert len(found) == len(corners) == 24
    for corner in corners:
        wanted = joints + corner
        assert np.linalg.norm(found - wanted, axis=-1).mean(1).min() < 4
    with MediaPipeDetector(MediaPipeConfig(max_hands=5)) as few:
        assert len(few.detect(image)) == 5


def test_a_hand_cut_by_the_frame(detector, drawn):
    """Joints outside are guessed, and said to be."""
    image, joints = drawn
    cut = image[:, 90:]
    (hand,) = detector.detect(cut)
    inside = joints[:, 0] > 90
    assert np.linalg.norm(middle(hand) - joints + [90, 0], axis=1)[inside].mean() < 0.05 * len(image)
    assert hand.confidence[4] < 0.2
    assert hand.confidence[inside].min() > 0.5


def test_the_same_image_gives_the_same_result(detector, drawn):
    image, _ = drawn
    first = detector.detect(image)
    detector.detect(np.ascontiguousarray(image[::-1, :250]))
    assert_same(first, detector.detect(image))
    with MediaPipeDetector() as other:
        assert_same(first, other.detect(image))


def test_runs_and_thresholds(drawn):
    image, _ = drawn
    with (
        MediaPipeDetector(MediaPipeConfig(runs=1)) as one,
        MediaPipeDetector(MediaPipeConfig(runs=4)) as four,
    ):
        (single,), (several,) = one.detect(image), four.detect(image)
        assert single.joints_2d_px.shape == (1, 21, 2)
        np.testing.assert_array_equal(single.joints_2d_px[0], several.joints_2d_px[0])
    with MediaPipeDetector(MediaPipeConfig(threshold=1.0)) as strict:
        assert strict.detect(image) == []


@pytest.mark.parametrize("wrong", [{"runs": 0}, {"threshold": 1.5}, {"max_hands": 0}, {"tile_levels": -1}])
def test_senseless_settings_are_refused(wrong):
    with pytest.raises(InputError):
        MediaPipeConfig(**wrong)


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
@pytest.mark.parametrize("loose", [0, 0.4])
def test_the_hand_in_a_given_box_is_found_however_it_is_turned(detector, drawn, quarters, loose):
    image, joints = drawn
    size = len(image)
    image = np.ascontiguousarray(np.rot90(image, quarters))
    for _ in range(quarters):
        joints = np.stack([joints[:, 1], size - joints[:, 0]], axis=1)
    low, high = joints.min(axis=0), joints.max(axis=0)
    box = np.concatenate([low - loose * (high - low), high + loose * (high - low)])
    (hand,) = detector.detect(image, boxes=box[None])
    assert hand.side == "left"
    assert np.linalg.norm(middle(hand) - joints, axis=1).mean() < 0.05 * size
    (forced,) = detector.detect(image, boxes=box[None], side="right")
    assert forced.side == "right"


def test_of_a_box_without_a_hand_the_box_is_all_that_is_told(detector):
    image, box = np.full((200, 200, 3), 90, np.uint8), np.array([50.0, 50.0, 120.0, 150.0])
    (hand,) = detector.detect(image, boxes=box[None], side="left")
    assert hand.score < 0.5
    assert hand.side == "left"
    assert not hand.confidence.any()
    np.testing.assert_array_equal(hand.box_xyxy_px, box)
    assert (hand.joints_2d_px == [85, 100]).all()


def test_a_hand_that_fills_too_little_of_a_box_counts_if_it_is_sure(detector, drawn, monkeypatch):
    """Boxes may be loose; what doubtful landmarks make of a large box is rather some finger or a pattern."""
    image, joints = drawn
    low, high = joints.min(axis=0), joints.max(axis=0)
    loose = np.concatenate([low - 0.8 * (high - low), high + 0.8 * (high - low)])[None]
    (found,) = detector.detect(image, boxes=loose)
    assert found.confidence.all()
    monkeypatch.setattr(mediapipe_hands, "_SURE_IN_BOX", 2.0)
    (bare,) = detector.detect(image, boxes=loose)
    assert not bare.confidence.any()
    assert bare.score == found.score
    tight = np.concatenate([low, high])[None]
    (whole,) = detector.detect(image, boxes=tight)
    assert whole.confidence.all()


def test_two_boxes_are_two_hands(detector, drawn):
    image, _ = drawn
    both = np.concatenate([image, image[:, ::-1]], axis=1)
    boxes = np.array([[40.0, 40.0, 260.0, 310.0], [380.0, 40.0, 600.0, 310.0]])
    assert {hand.side for hand in detector.detect(both, boxes=boxes)} == {"left", "right"}


def test_a_bad_box_is_refused(detector, drawn):
    with pytest.raises(InputError, match="overlap"):
        detector.detect(drawn[0], boxes=np.array([[900.0, 0.0, 950.0, 50.0]]))


def test_a_closed_detector_says_so(drawn):
    detector = MediaPipeDetector()
    detector.detect(drawn[0])
    detector.close()
    detector.close()
    with pytest.raises(DetectorError, match="closed"):
        detector.detect(drawn[0])


def constant_network(size, outputs):
    """A TFLite file that answers the same to every picture: the mean color times nothing, plus `outputs`."""
    writer = TfliteWriter((1, size, size, 3))
    mean = writer.add("MEAN", [writer.input, writer.constant(np.array([1, 2], np.int32))], (1, 3))
    ends = [
        writer.add(
            "FULLY_CONNECTED",
            [mean, writer.constant(np.zeros((len(o), 3), np.float32)), writer.constant(o.astype(np.float32))],
            (1, len(o)),
            table="FullyConnectedOptions",
        )
        for o in outputs
    ]
    return writer.write(ends)


def task_file(path, names=("hand_detector.tflite", "hand_landmarks_detector.tflite")):
    """A `.task` file as MediaPipe's, a zip of two networks: a palm in the middle, and the drawn joints."""
    boxes, logits = np.zeros((2016, 9, 2)), np.full(2016, -20.0)
    anchor = 2 * (24 * 12 + 12)  # the first of the two on the cell right and below of the middle
    logits[anchor], boxes[anchor, 1], boxes[anchor, 4] = 20, 40, (0, -20)
    screen = np.concatenate([JOINTS * 224, np.zeros((21, 1))], 1)
    palm = constant_network(192, [boxes.ravel(), logits])
    hand = constant_network(224, [screen.ravel(), np.array([0.9]), np.array([0.8]), np.zeros(63)])
    with zipfile.ZipFile(path, "w") as archive:
        for name, model in zip(names, (palm, hand), strict=True):
            archive.writestr(name, model)
    return path


def test_the_networks_of_a_task_file_are_used(tmp_path):
    picture = np.full((200, 200, 3), 90, np.uint8)
    with make_detector(str(task_file(tmp_path / "hand_landmarker.task"))) as detector:
        (hand,) = detector.detect(picture)
        assert (hand.side, round(hand.score, 6)) == ("right", 0.9)
        copy = pickle.loads(pickle.dumps(detector))
    assert_same([hand], copy.detect(picture))


def test_task_files_that_are_none(tmp_path):
    with pytest.raises(DetectorError, match=r"missing\.task: No such file"):
        make_detector(tmp_path / "missing.task")
    with pytest.raises(DetectorError, match="directory"):
        make_detector(tmp_path)
    text = tmp_path / "text.task"
    text.write_text("hello")
    with pytest.raises(DetectorError, match="not a zip"):
        make_detector(text)
    with pytest.raises(DetectorError, match=r"face\.task.*lacks hand_detector\.tflite"):
        make_detector(task_file(tmp_path / "face.task", names=("face.tflite", "mouth.tflite")))
    names = ("hand_landmarks_detector.tflite", "hand_detector.tflite")
    with (
        make_detector(task_file(tmp_path / "swapped.task", names)) as swapped,
        pytest.raises(DetectorError, match=r"swapped\.task"),
    ):
        swapped.detect(np.zeros((50, 50, 3), np.uint8))


def test_choices_of_detector():
    assert isinstance(make_detector("mediapipe"), MediaPipeDetector)
    again = pickle.loads(pickle.dumps(make_detector("mediapipe", "cuda")))
    assert [network.network.device for network in (again._palm_network, again._hand_network)] == ["cuda"] * 2
    assert isinstance(make_detector("none"), GivenBoxes)
    own = GivenBoxes()
    assert make_detector(own) is own


def test_networks_are_loaded_when_they_are_needed():
    script = (
        "import sys\n"
        "from amvur.detect.mediapipe_hands import MediaPipeDetector\n"
        "MediaPipeDetector()\n"
        "assert not {'onnxruntime', 'torch', 'onnx', 'tflite'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def detect_in_child(detector, image, queue):
    queue.put(detector.detect(image))


@pytest.mark.skipif(sys.platform == "win32", reason="no fork there")
def test_a_detector_works_in_a_forked_process_and_in_threads(detector, drawn):
    image, _ = drawn
    expected = detector.detect(image)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=detect_in_child, args=(detector, image, queue))
    child.start()
    found = queue.get(timeout=60)
    child.join(10)
    assert child.exitcode == 0
    assert_same(expected, found)
    with ThreadPoolExecutor(4) as pool:
        for hands in pool.map(detector.detect, [image] * 8):
            assert_same(expected, hands)


def test_detectors_pickle_small(detector, drawn):
    data = pickle.dumps(detector)
    assert len(data) < 1000
    assert_same(detector.detect(drawn[0]), pickle.loads(data).detect(drawn[0]))


def test_many_images_leave_no_memory_behind(drawn):
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("needs /proc to read the memory in use")
    image = drawn[0][::2, ::2].copy()

    def resident():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    with MediaPipeDetector(MediaPipeConfig(runs=1)) as detector:
        for _ in range(10):
            detector.detect(image)
        before = resident()
        for _ in range(40):
            detector.detect(image)
        assert resident() - before < 8


@needs_photos
def test_labelled_photographs(detector):
    """A check against gross errors only; the figures are in the benchmarks."""
    samples = json.loads((PHOTOS / "labelled" / "labels.json").read_text())["samples"][::24]
    for sample in samples:
        with contextlib.closing(Image.open(PHOTOS / "labelled" / sample["image"])) as photo:
            image = np.asarray(photo.convert("RGB"))
        (hand,) = detector.detect(image)
        assert hand.side == sample["side"]
        assert np.linalg.norm(middle(hand) - sample["joints_2d"], axis=1).mean() < 20
