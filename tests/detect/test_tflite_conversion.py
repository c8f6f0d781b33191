"""Conversion of TFLite files: every operator against PyTorch's, files that are none, and what ships."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F
from tflite_file import TfliteWriter

from amvur.detect.landmarks import LANDMARK_OUTPUTS
from amvur.detect.networks import Network, shipped_network
from amvur.detect.palms import PALM_OUTPUTS
from amvur.detect.tflite_conversion import to_onnx
from amvur.errors import DetectorError

RECORDED = Path(__file__).with_name("recorded_networks.npz")


@pytest.fixture(scope="module")
def recorded():
    with np.load(RECORDED) as arrays:
        return dict(arrays)


def test_palms_are_those_of_mediapipes_own_runtime(recorded):
    boxes, logits = Network(shipped_network("palm_detection"), 192, PALM_OUTPUTS)(
        recorded["palm_picture"][None]
    )
    assert np.abs(logits[0] - recorded["palm_logits"]).max() < 2e-4
    assert np.abs(boxes.reshape(-1, 18)[recorded["palm_best"]] - recorded["palm_boxes"]).max() < 2e-3


def test_landmarks_are_those_of_mediapipes_own_runtime(recorded):
    outputs = Network(shipped_network("hand_landmarks"), 224, LANDMARK_OUTPUTS)(
        recorded["hand_picture"][None]
    )
    for output, tolerance, index in zip(outputs, (2e-3, 2e-6, 2e-6, 2e-6), range(4), strict=True):
        assert np.abs(output[0] - recorded[f"hand_{index}"]).max() < tolerance


def test_shipped_files_are_those_recorded():
    record = json.loads(shipped_network("palm_detection").with_name("networks.json").read_text())
    for name in ("palm_detection", "hand_landmarks"):
        data = shipped_network(name).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (
            record[name]["sha256"],
            record[name]["bytes"],
        )


def test_a_picture_gives_the_same_bytes_alone_and_in_company(recorded):
    network = Network(shipped_network("hand_landmarks"), 224, LANDMARK_OUTPUTS)
    picture = recorded["hand_picture"]
    batch = np.stack([picture[::-1], picture, picture.transpose(1, 0, 2)])
    for alone, company in zip(network(picture[None]), network(batch), strict=True):
        assert (alone[0] == company[1]).all()


def conv(values, weight, bias, stride, groups=1):
    """TensorFlow's SAME convolution of NCHW maps."""
    size, length = weight.shape[-1], values.shape[-1]
    total = max((-(-length // stride) - 1) * stride + size - length, 0)
    values = F.pad(values, (total // 2, total - total // 2) * 2)
    return F.conv2d(values, weight, bias, stride, groups=groups)


def small_network(rng):
    """A file with every operator that is known, and the same in PyTorch."""

    def numbers(*shape):
        return rng.normal(size=shape).astype(np.float16).astype(np.float32)

    first, first_bias = numbers(4, 3, 3, 3), numbers(4)  # TFLite: out, height, width, in
    deep, deep_bias = numbers(1, 5, 5, 4), numbers(4)
    slope, narrow, narrow_bias = numbers(1, 1, 4), numbers(4, 1, 1, 4), numbers(4)
    linear, linear_bias = numbers(5, 8), numbers(5)
    w = TfliteWriter((1, 16, 16, 3))
    x = w.add(
        "CONV_2D",
        [w.input, w.half(first), w.half(first_bias)],
        (1, 8, 8, 4),
        table="Conv2DOptions",
        StrideH=2,
        StrideW=2,
        FusedActivationFunction=3,
    )
    y = w.add(
        "DEPTHWISE_CONV_2D",
        [x, w.constant(deep), w.constant(deep_bias)],
        (1, 8, 8, 4),
        table="DepthwiseConv2DOptions",
        StrideH=1,
        StrideW=1,
        DepthMultiplier=1,
    )
    y = w.add("PRELU", [y, w.half(slope)], (1, 8, 8, 4))
    y = w.add(
        "CONV_2D",
        [y, w.half(narrow), w.half(narrow_bias)],
        (1, 8, 8, 4),
        table="Conv2DOptions",
        StrideH=1,
        StrideW=1,
    )
    x = w.add("ADD", [x, y], (1, 8, 8, 4), table="AddOptions", FusedActivationFunction=1)
    p = w.add(
        "MAX_POOL_2D",
        [x],
        (1, 4, 4, 4),
        table="Pool2DOptions",
        FilterHeight=2,
        FilterWidth=2,
        StrideH=2,
        StrideW=2,
    )
    p = w.add("PAD", [p, w.constant(np.array([[0, 0], [0, 0], [0, 0], [0, 4]], np.int32))], (1, 4, 4, 8))
    u = w.add("RESIZE_BILINEAR", [p], (1, 8, 8, 8), table="ResizeBilinearOptions", HalfPixelCenters=True)
    rows = [w.add("RESHAPE", [u], (1, 128, 4)), w.add("RESHAPE", [x], (1, 64, 4))]
    rows = w.add("CONCATENATION", rows, (1, 192, 4), table="ConcatenationOptions", Axis=1)
    mean = w.add("MEAN", [p, w.constant(np.array([1, 2], np.int32))], (1, 8))
    end = w.add(
        "FULLY_CONNECTED",
        [mean, w.half(linear), w.half(linear_bias)],
        (1, 5),
        table="FullyConnectedOptions",
    )
    end = w.add("LOGISTIC", [end], (1, 5))

    def reference(pictures):
        t = torch.from_numpy
        z = t(pictures).permute(0, 3, 1, 2).float() / 255
        a = conv(z, t(first).permute(0, 3, 1, 2), t(first_bias), 2).clamp(0, 6)
        b = conv(a, t(deep).permute(3, 0, 1, 2), t(deep_bias), 1, groups=4)
        b = F.prelu(b, t(slope).reshape(4))
        a = (a + conv(b, t(narrow).permute(0, 3, 1, 2), t(narrow_bias), 1)).relu()
        q = F.pad(F.max_pool2d(a, 2), (0, 0, 0, 0, 0, 4))
        v = F.interpolate(q, scale_factor=2, mode="bilinear", align_corners=False)
        flat = [m.permute(0, 2, 3, 1).reshape(len(m), -1, 4) for m in (v, a)]
        score = (q.mean((2, 3)) @ t(linear).T + t(linear_bias)).sigmoid()
        return torch.cat(flat, 1).flatten(1).numpy(), score.numpy()

    return w.write([rows, end]), reference


def test_every_operator_does_what_pytorchs_does(rng):
    data, reference = small_network(rng)
    network = Network(to_onnx(data, "small.tflite").SerializeToString(), 16, (768, 5))
    pictures = rng.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    for ours, expected in zip(network(pictures), reference(pictures), strict=True):
        assert np.abs(ours - expected).max() < 1e-5 * max(1, np.abs(expected).max())


def test_a_damaged_file_is_refused_with_its_name(rng):
    data, _ = small_network(rng)
    for broken in (b"", b"no network", data[: len(data) // 2], data[::-1]):
        with pytest.raises(DetectorError, match=r"small\.tflite"):
            to_onnx(broken, "small.tflite")


def test_an_operator_that_is_not_known_is_named():
    w = TfliteWriter((1, 4, 4, 3))
    end = w.add("TANH", [w.input], (1, 4, 4, 3))
    with pytest.raises(DetectorError, match="operator"):
        to_onnx(w.write([end]), "other.tflite")


def test_a_network_that_is_none_is_refused(tmp_path):
    picture = np.zeros((1, 224, 224, 3), np.uint8)
    fake = tmp_path / "fake.onnx"
    fake.write_bytes(b"no network")
    for path in (fake, tmp_path / "missing.onnx"):
        with pytest.raises(DetectorError, match=path.name):
            Network(path, 224, LANDMARK_OUTPUTS)(picture)
    with pytest.raises(DetectorError, match="another network"):
        Network(shipped_network("hand_landmarks"), 224, (63, 1))(picture)
