"""One labelled picture as the files of a WebDataset sample, and back."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from amvur.data.samples import HandBatch, JointState
from amvur.reading import LimitError, brief, parse_json, read_npz, reading
from amvur.structures import RgbImage

ImageFormat = Literal["jpg", "png"]

JPEG_QUALITY = 95
"""With full-resolution chroma: about a third of the size of a PNG, noise below that of a phone's camera."""

SMALL = ("intrinsics", "joints", "joints_2d", "joint_states", "global_orient", "hand_pose", "betas", "transl")
"""Labels in KEY.json, float32 written so that they read back exactly."""
SCALARS = ("is_left", "occlusion", "skin_tone", "index")
ARRAYS = {
    "vertices": np.float32,
    "vertex_albedo": np.float16,
    "vertex_colors": np.float16,
    "visible_vertices": np.bool_,
    "unoccluded_vertices": np.bool_,
}
"""Labels in KEY.npz; half floats keep colors to 0.00025, a sixteenth of a step of 8 bits."""

_SHAPES = {
    "intrinsics": (3, 3),
    "joints": (21, 3),
    "joints_2d": (21, 2),
    "joint_states": (21,),
    "global_orient": (3,),
    "hand_pose": (45,),
    "betas": (10,),
    "transl": (3,),
}
SIDE_PX, SAMPLE_BYTES, ARRAY_BYTES = 4096, 2**26, 2**26
"""The largest picture that is read, the largest sample's files, and the largest arrays of a sample."""

Files = dict[str, bytes]
"""The files of one sample by suffix: jpg or png, mask.png, json, npz."""


def encode_sample(batch: HandBatch, place: int, kind: str, image_format: ImageFormat) -> Files:
    """Return the files of the sample at `place` of a batch; `kind` names its pose.

    The labels describe the stored picture: coordinates are its pixels, top-left pixel's centre (0.5, 0.5).
    """
    return {
        image_format: _image_bytes(_array(batch, "images", place), image_format),
        "mask.png": _image_bytes(_array(batch, "mask", place), "png"),
        "json": json.dumps(_labels(batch, place, kind), separators=(",", ":")).encode(),
        "npz": _npz_bytes({key: _array(batch, key, place).astype(dtype) for key, dtype in ARRAYS.items()}),
    }


def decode_sample(files: Mapping[str, bytes], name: str) -> HandBatch:
    """Return a batch of one from the files of a sample; `name` is for the message of an `InputError`.

    Pictures have at most `SIDE_PX` a side, arrays `ARRAY_BYTES` together.
    """
    with reading(f"Sample {name}", "one that amvur synthesize wrote", "Make it again."):
        labels = parse_json(files["json"])
        values: dict[str, torch.Tensor] = {
            "images": torch.from_numpy(picture_of(files["jpg"] if "jpg" in files else files["png"])),
            "mask": torch.from_numpy(_pixels(files["mask.png"], "1")),
        }
        for key in (*SMALL, *SCALARS):
            values[key] = torch.tensor(labels[key], dtype=_dtype(key))
        for key, array in read_npz(files["npz"], ARRAY_BYTES, ARRAYS).items():
            tensor = torch.from_numpy(array)
            values[key] = tensor.float() if tensor.is_floating_point() else tensor
        _check(values)
        return HandBatch(**{key: value[None] for key, value in values.items()})


def _check(values: Mapping[str, torch.Tensor]) -> None:
    """Raise `ValueError` for shapes or types that are not a sample's."""
    height, width = values["mask"].shape
    vertices = len(values["vertices"])
    meshes = dict.fromkeys(("vertices", "vertex_albedo", "vertex_colors"), (vertices, 3))
    masks = dict.fromkeys(("visible_vertices", "unoccluded_vertices"), (vertices,))
    shapes = {**_SHAPES, **meshes, **masks, "images": (height, width, 3), "mask": (height, width)}
    for key, value in values.items():
        kind = value.is_floating_point() == (key in meshes or _dtype(key).is_floating_point)
        if tuple(value.shape) != shapes.get(key, ()) or not (
            kind or key in ("images", "mask") or key in masks
        ):
            raise ValueError(f"its {key} is {brief(tuple(value.shape))} of {value.dtype}")
        if key in masks and value.dtype != torch.bool:
            raise ValueError(f"its {key} is of {value.dtype}")
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ValueError(f"its {key} is not finite")
    states = values["joint_states"]
    if not 0 <= int(states.min()) <= int(states.max()) < len(JointState):
        raise ValueError("its joint_states are unknown")


def picture_of(data: bytes) -> RgbImage:
    """Return the pixels of a stored picture."""
    return _pixels(data, "RGB")


def _labels(batch: HandBatch, place: int, kind: str) -> dict[str, Any]:
    """Return the labels of KEY.json; for reading by eye some are there twice."""
    labels: dict[str, Any] = {
        "schema": "amvur-synthetic/1",
        "side": "left" if bool(batch.is_left[place]) else "right",
        "kind": kind,
        "joint_state_names": [state.name.lower() for state in JointState],
    }
    for name in (*SCALARS, *SMALL):
        labels[name] = _plain(_array(batch, name, place))
    return labels


def _plain(array: np.ndarray) -> Any:
    """Return nested lists of numbers; float32 as the shortest decimals that read back exactly."""
    if array.ndim:
        return [_plain(np.asarray(part)) for part in array]
    return float(str(array[()])) if array.dtype == np.float32 else array.item()


def _array(batch: HandBatch, name: str, place: int) -> np.ndarray:
    """Return a field of one sample as a numpy array."""
    array: np.ndarray = getattr(batch, name)[place].detach().cpu().numpy()
    return array


def _dtype(name: str) -> torch.dtype:
    """Return the type of a label of KEY.json."""
    return {"is_left": torch.bool, "index": torch.int64, "joint_states": torch.int64}.get(name, torch.float32)


def _image_bytes(pixels: np.ndarray, image_format: ImageFormat) -> bytes:
    """Return a picture (RGB, or bool for a mask) as a file."""
    stream = io.BytesIO()
    image = Image.fromarray(pixels)
    if image_format == "jpg":
        image.save(stream, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    else:
        image.save(stream, "PNG")
    return stream.getvalue()


def _pixels(data: bytes, mode: str) -> np.ndarray:
    """Return the pixels of a file, a copy that can be written to."""
    with Image.open(io.BytesIO(data), formats=["JPEG", "PNG"]) as image:
        if max(image.size) > SIDE_PX:
            raise LimitError(f"a picture of {image.size[0]}×{image.size[1]} pixels")
        return np.array(image.convert(mode))


def _npz_bytes(arrays: Mapping[str, Any]) -> bytes:
    """Return arrays as a compressed .npz (its members carry no time of day, so it is reproducible)."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()
