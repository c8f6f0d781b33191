"""What is said of the hands in pictures, brought to the camera's frame: the rows of a prediction file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.distributions import Normal

from amvur.errors import InputError
from amvur.evaluation.pictures import Picture
from amvur.evaluation.placement import fit_translation
from amvur.geometry.cameras import view_rotation
from amvur.hand.joints import TIP_JOINTS
from amvur.structures import HandReconstruction
from amvur.threads import threads_for

_SAMPLES = 48
"""Hands drawn to tell how sure a joint's place in the picture is."""


class EvaluatedNetwork(Protocol):
    """A network as used here: `amvur.models.network.HandNetwork`, or something like it in tests.

    Called with (B,3,S,S) float32 RGB in [0, 1]; the result's `joints` and `vertices` are Normals in metres
    (wrist at 0, view axes), its `joints_2d` one in crop units (-1 to 1 over the crop).
    """

    config: Any

    def __call__(self, images: Float[Tensor, "B 3 S S"]) -> Any:
        """Return the prediction for right hands."""
        ...


@dataclass(frozen=True)
class Estimates:
    """Predictions for N samples beside the truth; metres, OpenCV's camera frame; NaN where unknown.

    `placed` says whether the place before the camera is known; otherwise the wrist is at the origin.
    `R_view_camera` turns camera axes into those along which `joints_std` are stated, a network's own
    (mirrored for left hands); `vertices_std` are root mean squares over the three axes. Vertices (V = 0
    where they were not wanted) are stored in float32 like all else. `true_vertices` has its own V.
    `joints_2d` lie in the crop, in pixels of the photograph, and so do labels, `true_joints_2d` (NaN for
    those without); `joints_2d_std` are root mean squares over both axes.
    """

    joints: Float[np.ndarray, "N 21 3"]
    joints_std: Float[np.ndarray, "N 21 3"]
    vertices: Float[np.ndarray, "N V 3"]
    vertices_std: Float[np.ndarray, "N V"]
    R_view_camera: Float[np.ndarray, "N 3 3"]
    placed: Bool[np.ndarray, "N"]
    joints_2d: Float[np.ndarray, "N 21 2"]
    joints_2d_std: Float[np.ndarray, "N 21"]
    true_joints_2d: Float[np.ndarray, "N 21 2"]
    true_joints: Float[np.ndarray, "N 21 3"]
    true_vertices: Float[np.ndarray, "N W 3"]
    is_left: Bool[np.ndarray, "N"]
    occlusion: Float[np.ndarray, "N"]
    skin_tone: Float[np.ndarray, "N"]

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.joints)


@torch.inference_mode()
def estimate(
    network: EvaluatedNetwork,
    pictures: Sequence[Picture],
    device: torch.device,
    with_vertices: bool = True,
    tips: Sequence[int] | None = None,
) -> Estimates:
    """Run the network once over pictures and place the hands; raises `InputError` for no finite answer.

    `tips` names five vertices that take the place of the hand model's fingertips.
    """
    batch = torch.as_tensor(np.stack([p.pixels for p in pictures]), device=device)
    with threads_for(len(pictures)):
        prediction = network(batch.permute(0, 3, 1, 2).float() / 255)
    joints, joints_std = _numbers(prediction.joints)
    flat, flat_std = _numbers(prediction.joints_2d)
    vertices, vertices_std = _numbers(prediction.vertices)
    turn = np.stack([_view_rotation(p) for p in pictures])
    half = batch.shape[1] / 2
    shift, placed = _places(pictures, joints @ turn, half * (flat + 1), half * flat_std)
    if tips is not None:
        joints, joints_std = joints.copy(), joints_std.copy()
        joints[:, TIP_JOINTS], joints_std[:, TIP_JOINTS] = vertices[:, tips], vertices_std[:, tips]
    if not with_vertices:
        vertices, vertices_std = vertices[:, :0], vertices_std[:, :0]
    to_camera = turn @ np.stack([p.R_crop_camera for p in pictures])
    pixel = np.array([p.pixel_px for p in pictures])[:, None, None]
    return _beside_the_truth(
        pictures,
        joints=_single(joints @ to_camera + shift[:, None]),
        joints_std=_single(joints_std),
        vertices=_single(vertices @ to_camera + shift[:, None]),
        vertices_std=_single(np.sqrt(np.square(vertices_std).mean(-1))),
        R_view_camera=_single(to_camera),
        placed=placed,
        joints_2d=_single(half * (flat + 1) * pixel),
        joints_2d_std=_single(np.sqrt(np.square(half * flat_std * pixel).mean(-1))),
    )


def estimates_of_hands(
    pictures: Sequence[Picture],
    hands: Sequence[HandReconstruction],
    with_vertices: bool = True,
    tips: Sequence[int] | None = None,
) -> Estimates:
    """Return reconstructed hands, one a picture, each a right hand in the crop's camera.

    Where the data set gives the wrist's place to everybody, hands are moved there; without a camera they
    stand with the wrist at the origin. `tips` as of `estimate`.
    """
    joints, joints_std, vertices, vertices_std = (
        np.stack([getattr(hand, name) for hand in hands]).astype(np.float64)
        for name in ("joints", "joints_std", "vertices", "vertices_std")
    )
    if tips is not None:
        joints[:, TIP_JOINTS], joints_std[:, TIP_JOINTS] = vertices[:, tips], vertices_std[:, tips]
    if not with_vertices:
        vertices, vertices_std = vertices[:, :0], vertices_std[:, :0]
    to_camera = np.stack([p.R_crop_camera for p in pictures])
    joints, vertices = joints @ to_camera, vertices @ to_camera
    pixel = np.array([p.pixel_px for p in pictures])
    flat = np.stack([hand.joints_2d for hand in hands]) * pixel[:, None, None]
    flat_std = np.stack([_std_px(hand) for hand in hands]) * pixel[:, None]
    shift, placed = np.zeros((len(pictures), 3)), np.ones(len(pictures), dtype=bool)
    for i, picture in enumerate(pictures):
        if picture.root is not None:
            shift[i] = picture.root - joints[i, 0]
        elif picture.intrinsics is None:
            shift[i], placed[i] = -joints[i, 0], False
    return _beside_the_truth(
        pictures,
        joints=_single(joints + shift[:, None]),
        joints_std=_single(np.repeat(joints_std[..., None], 3, axis=-1)),
        vertices=_single(vertices + shift[:, None]),
        vertices_std=_single(vertices_std),
        R_view_camera=_single(to_camera),
        placed=placed,
        joints_2d=_single(flat),
        joints_2d_std=_single(flat_std),
    )


def _std_px(hand: HandReconstruction) -> Float[np.ndarray, "21"]:
    """Return the standard deviations of a hand's joints in the picture (px, rms over axes), from samples."""
    points = hand.sample(_SAMPLES).joints.astype(np.float64) @ np.asarray(hand.camera.intrinsics).T
    places = points[..., :2] / np.maximum(points[..., 2:], 1e-9)
    std: np.ndarray = np.sqrt(places.var(0).mean(-1))
    return std


def _beside_the_truth(pictures: Sequence[Picture], **said: np.ndarray) -> Estimates:
    """Add what is known of the pictures to what was `said` of them."""
    truth = {name: _truth(pictures, name) for name in ("joints", "vertices")}
    with_vertices = said["vertices"].shape[1] > 0
    labels = [np.full((21, 2), np.nan) if p.joints_2d is None else p.joints_2d * p.pixel_px for p in pictures]
    return Estimates(
        **said,
        true_joints_2d=_single(np.stack(labels)),
        true_joints=_single(truth["joints"]),
        true_vertices=_single(truth["vertices"] if with_vertices else np.zeros((len(pictures), 0, 3))),
        is_left=np.array([p.is_left for p in pictures]),
        occlusion=_single(np.array([p.occlusion for p in pictures])),
        skin_tone=_single(np.array([p.skin_tone for p in pictures])),
    )


def join(parts: Sequence[Estimates]) -> Estimates:
    """Join estimates of several batches."""
    values = {f.name: [getattr(part, f.name) for part in parts] for f in fields(Estimates)}
    values["true_vertices"] = _equally_wide(values["true_vertices"])
    return Estimates(**{name: np.concatenate(arrays) for name, arrays in values.items()})


def _equally_wide(meshes: Sequence[Float[np.ndarray, "_ _ 3"]]) -> list[Float[np.ndarray, "_ W 3"]]:
    """Fill up batches of which no true mesh is known with NaN."""
    width = max(mesh.shape[1] for mesh in meshes)
    return [
        mesh if mesh.shape[1] == width else np.full((len(mesh), width, 3), np.nan, np.float32)
        for mesh in meshes
    ]


def _view_rotation(picture: Picture) -> Float[np.ndarray, "3 3"]:
    """Return what turns the crop's camera's axes into view axes; nothing where no camera is known."""
    if picture.intrinsics is None:
        return np.eye(3)
    centre = torch.full((2,), picture.pixels.shape[1] / 2, dtype=torch.float64)
    return np.asarray(view_rotation(torch.as_tensor(picture.intrinsics), centre).numpy())


def _places(
    pictures: Sequence[Picture],
    relative: Float[np.ndarray, "B 21 3"],
    pixels: Float[np.ndarray, "B 21 2"],
    std_px: Float[np.ndarray, "B 21 2"],
) -> tuple[Float[np.ndarray, "B 3"], Bool[np.ndarray, "B"]]:
    """Return where the wrists are in the camera's frame (m), and whether that is known.

    As given by the data set, else by the joints' places in the crop.
    """
    shift, placed = np.zeros((len(pictures), 3)), np.ones(len(pictures), dtype=bool)
    fitted = [i for i, p in enumerate(pictures) if p.root is None and p.intrinsics is not None]
    if fitted:
        intrinsics = np.stack([np.asarray(pictures[i].intrinsics) for i in fitted])
        found = fit_translation(relative[fitted], pixels[fitted], std_px[fitted], intrinsics)
        for i, moved in zip(fitted, found, strict=True):
            shift[i] = moved @ pictures[i].R_crop_camera
    for i, picture in enumerate(pictures):
        if picture.root is not None:
            shift[i] = picture.root
        else:
            placed[i] = picture.intrinsics is not None
    return shift, placed


def _truth(pictures: Sequence[Picture], name: str) -> Float[np.ndarray, "B N 3"]:
    """Return the truth of all pictures, NaN where it is not known."""
    known = [getattr(p, name) for p in pictures]
    shapes = {k.shape for k in known if k is not None}
    empty = np.full(shapes.pop() if shapes else ((21, 3) if name == "joints" else (0, 3)), np.nan)
    return np.stack([empty if k is None else k for k in known])


def _numbers(distribution: Normal) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation as float64."""
    mean, std = (x.detach().double().cpu().numpy() for x in (distribution.loc, distribution.scale))
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
        raise InputError(
            "The network's answer has values that are not finite. Its checkpoint is damaged or was saved "
            "from a training that diverged: use another one."
        )
    return mean, np.broadcast_to(std, mean.shape)


def _single(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, dtype=np.float32)
