"""Every reader with a small file of its own, made at run time: what the fuzzer damages and who reads it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
for folder in ("", "data", "data/real", "hand", "evaluation", "training"):
    sys.path.append(str(HERE.parent / folder))


@dataclass
class Reader:
    """`read(path)` reads what `make(path)` wrote: a file, or a folder of which `damaged` files are damaged.

    `repair` is called after damage, to mend sums that would otherwise hide all behind them. A reader may take
    `megabytes` beside what it holds, and `seconds`.
    """

    make: Callable[[Path], object]
    read: Callable[[Path], object]
    name: str
    damaged: str = ""
    repair: Callable[[Path], object] | None = None
    megabytes: int = 700
    seconds: float = 5.0
    writes: bool = False


def _hands(count=2):
    from factories import make_hand

    return [make_hand(i, "left" if i % 2 else "right") for i in range(count)]


def _report(path):
    from amvur.export import ImageRecord, write_glb, write_json

    hands = _hands()
    names = [f"wave_{i}.glb" for i in range(len(hands))]
    for name, hand in zip(names, hands, strict=True):
        write_glb(path.parent / name, [hand])
    write_json(path, ImageRecord("wave.jpg", 640, 480), hands[0].camera, hands, names)


def _glb(path):
    from amvur.export import write_glb

    write_glb(path, _hands())


def _read_report(path):
    from amvur.cli.convert import _glb_files
    from amvur.export import read_report
    from amvur.viewer.server import load_scene

    read_report(path)
    load_scene(path)
    _glb_files(path)


def _read_glb(path):
    from amvur.export import merge_meshes, obj_bytes, ply_bytes, read_glb

    meshes = read_glb(path)
    if meshes:
        obj_bytes(merge_meshes(meshes)), ply_bytes(merge_meshes(meshes))


def _checkpoint(path):
    import torch
    from onnx_file import add_hand_network
    from tiny_checkpoint import write_checkpoint

    torch.set_num_threads(1)
    write_checkpoint(path)
    add_hand_network(path)
    config = json.loads((path / "config.json").read_text())
    config["fusion"] = {"network_scale_3d": 1.5, "crop_scales": [1.1, 1.3], "beside_detector": True}
    config["calibration"] = {"network": {"coefficients": [0.1, 0.2], "floor_m": [0.001] * 21, "source": "x"}}
    (path / "config.json").write_text(json.dumps(config))


def _sums(path):
    """Let the configuration state the sums of the damaged weights."""
    with contextlib.suppress(Exception):
        config = json.loads((path / "config.json").read_text())
        for name, entry in (config["weights"]["files"] | config["onnx"]).items():
            data = (path / name).read_bytes()
            entry["bytes"], entry["sha256"] = len(data), hashlib.sha256(data).hexdigest()
        (path / "config.json").write_text(json.dumps(config))


def _read_checkpoint(path):
    from amvur.inference.network.trained import load_trained

    network = load_trained(path).network
    network(np.zeros((2, network.image_px, network.image_px, 3), np.uint8))


def _read_weights(path):
    import torch

    from amvur.pretrained import load_network

    load_network(path, torch.device("cpu"))


def _segmentation(path):
    from amvur.checkpoint_folder import shipped

    shutil.copytree(shipped("segmentation"), path)


def _read_segmentation(path):
    from amvur.inference.silhouette.segmentation import load_segmentation

    load_segmentation(path)


def _shards(path):
    from drawn_source import DrawnSource

    from amvur.data.synthetic.shards import ShardPlan, write_shards

    write_shards(DrawnSource(size=16), path, ShardPlan(count=3, shard_size=3, chunk=3, image_format="png"))


def _read_shards(path):
    from amvur.data.synthetic.shard_index import IndexedShards
    from amvur.data.synthetic.shard_reader import contact_sheet_bytes, read_shards

    indexed = IndexedShards(path)
    faults = []
    for read in (
        lambda: indexed[0],
        lambda: indexed[2],
        lambda: list(read_shards(path, 2)),
        lambda: contact_sheet_bytes(path),
    ):
        try:
            read()
        except Exception as error:  # the others are to be tried too
            faults.append(error)
    for error in faults:
        raise error


def _labels(path):
    points = [v for i in range(21) for v in (10.0 + i, 20.0 + 2 * i, 2)]
    hands = [
        {"image_id": i, "id": i, "hand": 0, "side": "left", "keypoints": points, "bbox": [1, 2, 30, 40],
         "keypoints_confidence": [0.9] * 21, "convention": "mediapipe"}
        for i in range(2)
    ]  # fmt: skip
    for i in range(2):
        (path.parent / f"{i}.png").write_bytes(b"")  # looked for, not read
    images = [{"id": i, "file_name": f"{i}.png", "sha256": "0" * 64} for i in range(2)]
    path.write_text(json.dumps({"info": {"made_by": "amvur label"}, "images": images, "annotations": hands}))


def _read_labels(path):
    from amvur.data.real.labelling import _previous
    from amvur.data.real.opening import open_dataset
    from amvur.training.real_sources import check_dataset

    faults = []
    for read in (
        lambda: _previous(path),
        lambda: check_dataset(open_dataset(path.parent, "training"), False),
    ):
        try:
            read()
        except Exception as error:
            faults.append(error)
    for error in faults:
        raise error


def _mano(path):
    import numpy as np
    from mano_file import mano_arrays

    np.savez(path, **mano_arrays())


def _mano_pickle(path):
    import pytest
    from mano_file import mano_arrays, pickled, stand_in_chumpy

    with pytest.MonkeyPatch.context() as patch:
        path.write_bytes(pickled(mano_arrays(), stand_in_chumpy(patch)))


def _read_mano(path):
    from amvur.hand.loading import load_hand_model
    from amvur.hand.mano import load_mano_pca

    load_hand_model(path, "right")
    load_mano_pca(path)


def _metadata(path):
    import pickle

    from test_safe_pickle import METADATA

    path.write_bytes(pickle.dumps(METADATA, 4))


def _read_metadata(path):
    from amvur.hand.safe_pickle import load_pickle

    value = load_pickle(path)
    repr(value), value == value


def _freihand(path):
    import numpy as np
    from mini_freihand import write_freihand
    from mini_hands import write_mano

    write_freihand(path, write_mano(path.parent / "MANO_RIGHT.npz"), 2, 1)
    verts = path / "training_verts.json"  # shorter numbers
    verts.write_text(json.dumps(np.round(json.loads(verts.read_text()), 3).tolist()))


def _ho3d(path):
    from mini_hands import write_mano
    from mini_ho3d import write_ho3d

    write_ho3d(path, write_mano(path.parent / "MANO_RIGHT.npz"), "v3", 2, 2)


def _read_dataset(path):
    from amvur.data.real.opening import open_dataset
    from amvur.training.real_sources import check_dataset

    for split in ("training", "evaluation"):
        dataset = open_dataset(path, split)
        dataset.identity()
        check_dataset(dataset, True)
        for index in range(len(dataset)):
            dataset[index]


def _points(count):
    import numpy as np

    rng = np.random.default_rng(0)
    return np.round(rng.normal(size=(count, 3)), 3).tolist()


def _predictions(path):
    import zipfile

    text = json.dumps([[_points(21)] * 2, [_points(778)] * 2])
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("pred.json", text)
    else:
        path.write_text(text)


def _read_predictions(path):
    from amvur.evaluation.files import read_predictions

    read_predictions(path, 2)


def _truth(path):
    path.mkdir()
    (path / "evaluation_xyz.json").write_text(json.dumps([_points(21)] * 2))
    (path / "evaluation_verts.json").write_text(json.dumps([_points(778)] * 2))


def _read_truth(path):
    from amvur.evaluation.files import read_truth

    read_truth(path)


def _prediction_folder(path):
    import torch
    from told_network import ToldNetwork, ToldSource, draw_hands

    from amvur.evaluation.export import ExportSettings, export_predictions
    from amvur.evaluation.subjects import NetworkSubject

    hands = draw_hands(3)
    subject = NetworkSubject(ToldNetwork(hands), torch.device("cpu"), {"weights": "abc"}, 40)
    export_predictions(subject, ToldSource(hands), path, ExportSettings(batch_size=3))


def _read_prediction_folder(path):
    from amvur.evaluation.prediction_files import PredictionFolder, read_record

    record = read_record(path / "predictions")
    folder = PredictionFolder(path / "predictions", 3, record["configuration"])
    folder.missing()
    list(folder.read())


def _small_pool():
    from tiny_run import PX, TinySource

    from amvur.training.pool import PoolConfig, SamplePool

    return SamplePool(TinySource(0), PoolConfig(6, PX, chunk=3))


def _pool(path):
    pool = _small_pool()
    pool.fill(6)
    pool.save(path)


def _read_pool(path):
    _small_pool().load(path)


def _run_parts():
    import torch
    from tiny_run import parts

    from amvur.training.optimization import AveragedNetwork

    network = parts().network
    optimizer = torch.optim.AdamW(network.parameters())
    return network, AveragedNetwork(network, 0.99), optimizer


def _state(path):
    import torch

    from amvur.training.run_state import Progress, save_state

    network, average, optimizer = _run_parts()
    network(torch.rand(2, 3, 16, 16)).joints.loc.sum().backward()
    optimizer.step()
    path.mkdir()
    save_state(path, network, average, optimizer, Progress(3, 1.0), {"kind": "tiny"})


def _read_state(path):
    from amvur.training.run_state import load_state

    load_state(path, *_run_parts(), {"kind": "tiny"})


def _log(path):
    from amvur.training.logs import RunLog

    path.mkdir()
    log = RunLog(path)
    log.write({"step": 1, "loss": 0.5})
    log.write({"step": 2, "loss": 0.4})


def _read_log(path):
    from amvur.training.logs import RunLog

    RunLog(path, 1).close()


def _task(path):
    import zipfile

    sys.path.insert(0, str(Path(__file__).parent.parent / "detect"))
    from tflite_file import TfliteWriter

    writer = TfliteWriter((1, 16, 16, 3))
    around = writer.half(np.ones((4, 3, 3, 3)))
    bias = writer.half(np.zeros(4))
    options = {"table": "Conv2DOptions", "StrideH": 2, "StrideW": 2}
    maps = writer.add("CONV_2D", [writer.input, around, bias], (1, 8, 8, 4), **options)
    mean = writer.add("MEAN", [maps, writer.constant(np.array([1, 2], np.int32))], (1, 4))
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("hand_detector.tflite", "hand_landmarks_detector.tflite"):
            archive.writestr(name, writer.write([mean]))


def _read_task(path):
    from amvur.detect.model_files import read_task
    from amvur.detect.networks import Network

    for model in read_task(path):
        Network(model, 16, (4,), str(path))(np.zeros((1, 16, 16, 3), np.uint8))


def _backbone(path):
    from amvur.detect.networks import shipped_network

    path.write_bytes(shipped_network("hand_landmarks").read_bytes())


def _read_backbone(path):
    from amvur.models.landmark_trunk import _read

    _read(path)


def _list(path):
    path.write_text("ABF10/0000\nABF10/0010\n")


def _read_list(path):
    from amvur.data.real.ho3d import _read_list
    from amvur.evaluation.submission import _count_lines

    _read_list(path)
    _count_lines(path)


def _picture(path):
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    image = Image.fromarray(np.kron(rng.integers(0, 256, (6, 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = 6
    more = {} if path.suffix in (".gif", ".bmp") else {"exif": exif.tobytes(), "icc_profile": _profile()}
    if path.suffix == ".gif":
        image.save(path, save_all=True, append_images=[image.rotate(90)])
    else:
        image.save(path, **more)


def _profile():
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _read_picture(path):
    from amvur.image import load_image

    load_image(path)


def _read_background(path):
    from amvur.data.synthetic.background import _read

    _read(path)


def _pictures():
    from PIL import Image, features

    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()
    kinds = ["png", "jpg", "webp", "tiff", "gif", "bmp"]
    kinds += ["avif"] * bool(features.check("avif")) + ["heic"] * ("HEIF" in Image.SAVE)
    return [
        Reader(_picture, _read_picture, f"picture.{kind}", megabytes=1300, seconds=20.0) for kind in kinds
    ]


def readers() -> list[Reader]:
    """Return all readers."""
    return [
        Reader(_report, _read_report, "report.json"),
        Reader(_glb, _read_glb, "mesh.glb"),
        Reader(_checkpoint, _read_checkpoint, "checkpoint", "config.json", seconds=8.0),
        Reader(_checkpoint, _read_checkpoint, "checkpoint_network", "network.onnx", _sums, seconds=8.0),
        Reader(_checkpoint, _read_weights, "checkpoint_settings", "config.json", seconds=8.0),
        Reader(_checkpoint, _read_weights, "checkpoint_weights", "model.safetensors", _sums, seconds=8.0),
        Reader(_segmentation, _read_segmentation, "segmentation", "config.json"),
        Reader(_shards, _read_shards, "shards", "*.tar"),
        Reader(_shards, _read_shards, "manifest", "manifest.json"),
        Reader(_labels, _read_labels, "labels.json"),
        Reader(_mano, _read_mano, "MANO_RIGHT.npz"),
        Reader(_mano_pickle, _read_mano, "MANO_RIGHT.pkl"),
        Reader(_metadata, _read_metadata, "metadata.pkl"),
        Reader(_freihand, _read_dataset, "FreiHAND", "*.json"),
        Reader(_ho3d, _read_dataset, "HO3D", "**/*.pkl"),
        Reader(_ho3d, _read_dataset, "HO3D_lists", "*.*"),
        Reader(_list, _read_list, "evaluation.txt"),
        Reader(_predictions, _read_predictions, "pred.json"),
        Reader(_predictions, _read_predictions, "pred.zip"),
        Reader(_truth, _read_truth, "truth", "*.json"),
        Reader(_prediction_folder, _read_prediction_folder, "predictions", "predictions/*"),
        Reader(_pool, _read_pool, "pool.safetensors"),
        Reader(_state, _read_state, "run", "state.pt"),
        Reader(_log, _read_log, "log", "log.csv", writes=True),
        Reader(_task, _read_task, "hand_landmarker.task"),
        Reader(_backbone, _read_backbone, "backbone.onnx"),
        Reader(_picture, _read_background, "background.png", megabytes=1300),
        *_pictures(),
    ]
