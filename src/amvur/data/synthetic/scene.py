"""The scene's settings, its random streams, the body (hand and forearm) and the camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import normalize

from amvur.data.synthetic.visibility import nearby_faces
from amvur.errors import ModelFileError
from amvur.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from amvur.hand.model import HandModel

Range = tuple[float, float]

_ARM_RINGS = 22
_ARM_LENGTH_M = 0.62
_ELBOW = 0.44
_CANDIDATES = 12


@dataclass(frozen=True)
class SceneConfig:
    """Probabilities and ranges of what a picture may hold; lengths in metres, angles in degrees.

    `crop_scale` is the picture's side over that of the hand's own square (its box, 15 % widened),
    `crop_shift` the largest shift as a fraction of the side. With `target_occlusion` the share of the
    hand that objects and the frame hide lies in that range where a bounded search finds a way
    (`HandBatch.occlusion` says what was reached); without it occluders appear with `occluder_rate`.
    `chunk` images are rendered at once: 1 makes pictures exactly the same whatever the batch, and is
    what a CPU wants; None takes 1 on a CPU and 32 elsewhere, where rounding may differ in a last bit.
    """

    left_rate: float = 0.5
    focal_mm: Range = (22.0, 85.0)
    distance_m: Range = (0.22, 1.3)
    off_axis_deg: float = 22.0
    crop_scale: Range = (0.8, 1.6)
    crop_shift: float = 0.15
    wrist_deg: tuple[float, float, float] = (22.0, 10.0, 10.0)
    sleeve_rate: float = 0.35
    watch_rate: float = 0.06
    ring_rate: float = 0.1
    glove_rate: float = 0.04
    polish_rate: float = 0.12
    grip_rate: float = 0.3
    occluder_rate: float = 0.25
    blob_rate: float = 0.15
    second_hand_rate: float = 0.1
    target_occlusion: Range | None = None
    photo_rate: float = 0.5
    spectrum_rate: float = 0.2
    shadow_rate: float = 0.85
    wall_shadow_rate: float = 0.3
    motion_blur_rate: float = 0.2
    defocus_rate: float = 0.15
    noise_std: Range = (0.002, 0.022)
    jpeg_rate: float = 0.7
    jpeg_quality: tuple[int, int] = (35, 95)
    grayscale_rate: float = 0.02
    supersampling: int = 2
    chunk: int | None = None

    @staticmethod
    def bare() -> SceneConfig:
        """Return settings without anything that hides the hand or spoils the picture."""
        return SceneConfig(
            crop_scale=(1.1, 1.5),
            crop_shift=0.05,
            sleeve_rate=0.0,
            watch_rate=0.0,
            glove_rate=0.0,
            grip_rate=0.0,
            occluder_rate=0.0,
            blob_rate=0.0,
            second_hand_rate=0.0,
            spectrum_rate=0.0,
            motion_blur_rate=0.0,
            defocus_rate=0.0,
            noise_std=(0.0, 0.01),
            jpeg_rate=0.0,
            grayscale_rate=0.0,
        )


def streams(seed: int, indices: Int64[Tensor, "B"], stream: int) -> list[np.random.Generator]:
    """Return one generator an image, independent between images and between `stream` numbers."""
    return [np.random.default_rng(np.random.SeedSequence([seed, i, stream])) for i in indices.tolist()]


def stacked(rows: Sequence[object], like: Tensor) -> Tensor:
    """Stack per-image numbers into a tensor of the type and device of `like`."""
    return torch.as_tensor(np.asarray(rows), dtype=like.dtype, device=like.device)


@dataclass(frozen=True)
class Body:
    """The hand with a forearm grown from its wrist's rim: V hand vertices, then A of the arm.

    `faces` come hand first; the cap that may close the wrist is left out. `rest` is the whole body at
    the mean shape in the rest pose. `corner` names a face and a corner of it for every vertex, by
    which pixels and vertices are looked up alike; `face_bone` is a face's main bone and `nearby` lists the
    faces around each hand vertex (`nearby_faces`).
    """

    faces: Int64[Tensor, "F 3"]
    num_hand_faces: int
    num_hand_vertices: int
    rest: Float[Tensor, "N 3"]
    rim: Int64[Tensor, "R"]
    corner: Int64[Tensor, "N 2"]
    face_bone: Int64[Tensor, "F"]
    nearby: Int64[Tensor, "V K"]

    def attach(
        self, vertices: Float[Tensor, "B V 3"], joints: Float[Tensor, "B 21 3"], arm: ArmDraws
    ) -> Float[Tensor, "B N 3"]:
        """Return hand and forearm vertices (m), the arm bent at the wrist."""
        return torch.cat([vertices, _arm_vertices(vertices[:, self.rim], joints, arm)], 1)


@dataclass(frozen=True)
class ArmDraws:
    """The wrist's bend (axis-angle, rad), the way the arm takes behind the elbow, and how it widens.

    Both directions are in the frame of the vertices that the arm is attached to.
    """

    bend: Float[Tensor, "B 3"]
    upper: Float[Tensor, "B 3"]
    girth: Float[Tensor, "B"]

    def turned(self, rotation: Float[Tensor, "B 3 3"]) -> ArmDraws:
        """Return the same arm for a hand turned by `rotation`; the upper arm's way is the camera's."""
        return ArmDraws((rotation @ self.bend[..., None])[..., 0], self.upper, self.girth)


@dataclass(frozen=True)
class CameraDraws:
    """The hand's orientation and place, the crop's intrinsics (px), and whether to mirror it all."""

    global_orient: Float[Tensor, "B 3"]
    transl: Float[Tensor, "B 3"]
    intrinsics: Float[Tensor, "B 3 3"]
    is_left: Bool[Tensor, "B"]


def make_body(model: HandModel) -> Body:
    """Grow the forearm's faces on a right-hand model, whether its wrist is open or capped."""
    count = len(model.v_template)
    faces = model.faces
    cap = count - 1
    if not _border(faces):
        faces = faces[(faces != cap).all(-1)]
    rim = torch.tensor(_border(faces), device=faces.device)
    like = model.v_template
    arm = ArmDraws(like.new_zeros(1, 3), like.new_tensor([[1.0, 0, 0]]), like.new_ones(1))
    grown = _arm_vertices(model.v_template[None, rim], model.joint_template[None], arm)
    rest = torch.cat([model.v_template, grown[0]])
    ring = torch.cat(
        [rim[None], count + torch.arange(_ARM_RINGS * len(rim), device=rim.device).view(_ARM_RINGS, -1)]
    )
    a, b = ring[:-1], ring[1:]
    a2, b2 = a.roll(-1, 1), b.roll(-1, 1)
    tube = torch.stack([torch.stack([a, a2, b], -1), torch.stack([a2, b2, b], -1)], 2).view(-1, 3)
    bone = model.lbs_weights.argmax(-1)
    face_bone = torch.cat([bone[faces].mode(-1).values, bone.new_zeros(len(tube))])
    num_hand = len(faces)
    faces = torch.cat([faces, tube])
    return Body(
        faces,
        num_hand,
        count,
        rest,
        rim,
        _corners(faces, len(rest), num_hand),
        face_bone,
        nearby_faces(faces, count),
    )


def _border(faces: Int64[Tensor, "F 3"]) -> list[int]:
    """Return the open border's vertices in the order in which the faces outside it would walk.

    Raises `ModelFileError` where it is not one loop.
    """
    pairs = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist()
    known = {(a, b) for a, b in pairs}
    following = {b: a for a, b in known if (b, a) not in known}
    if not following:
        return []
    ring = [min(following)]
    while len(ring) < len(following):
        ring.append(following.get(ring[-1], ring[0]))
    if len(set(ring)) < len(following) or following[ring[-1]] != ring[0]:
        raise ModelFileError(
            "The hand model's mesh is open elsewhere than in one loop about the wrist, so no arm can be "
            "grown on it. Use the file as its authors distribute it."
        )
    return ring


def _corners(faces: Int64[Tensor, "F 3"], count: int, num_hand_faces: int) -> Int64[Tensor, "N 2"]:
    """Return a face and its corner for every vertex; an unused vertex (the cap) takes the arm's first."""
    number = len(faces)
    # First corners before others, then the highest face: a maximum, for plain writes race with each other.
    rank = torch.tensor([2, 1, 0], device=faces.device) * number
    rank = torch.arange(number, device=faces.device)[:, None] + rank
    best = faces.new_full((count,), -1).scatter_reduce(0, faces.flatten(), rank.flatten(), "amax")
    corner = torch.stack([best % number, 2 - best // number], -1)
    return torch.where(best[:, None] < 0, corner.new_tensor([num_hand_faces, 0]), corner)


def _arm_vertices(
    ring: Float[Tensor, "B R 3"], joints: Float[Tensor, "B 21 3"], arm: ArmDraws
) -> Float[Tensor, "B A 3"]:
    """Sweep the wrist's ring along a path that bends within the first few centimetres."""
    t = torch.linspace(0, 1, _ARM_RINGS + 1, device=ring.device, dtype=ring.dtype)[1:] ** 1.3
    wrist = ring.mean(1)
    along = normalize(wrist - joints[:, [5, 9, 13, 17]].mean(1), dim=-1)
    share = (t / 0.09).clamp(max=1)
    share = share * share * (3 - 2 * share)
    turn = axis_angle_to_matrix(arm.bend[:, None] * share[:, None])
    direction = (turn @ along[:, None, :, None])[..., 0]
    behind = ((t - _ELBOW) / 0.12).clamp(0, 1)[:, None]
    direction = normalize((1 - behind) * direction + behind * (arm.upper[:, None] + 0.15 * direction), dim=-1)
    step = torch.diff(t, prepend=t.new_zeros(1)) * _ARM_LENGTH_M
    path = wrist[:, None] + (direction * step[:, None]).cumsum(1)
    neck = 1 - 0.03 * torch.exp(-(((t - 0.045) / 0.03) ** 2))
    swell = (t / 0.42).clamp(max=1)
    width = neck + (0.55 * arm.girth[:, None]) * swell * swell * (3 - 2 * swell)
    # Rings lose the rim's tilt and become square to the arm.
    offset = ring - wrist[:, None]
    tilt = (offset * along[:, None]).sum(-1, keepdim=True) * along[:, None]
    keep = (1 - t / 0.06).clamp(min=0)[None, :, None, None]
    flat = offset[:, None] - tilt[:, None] * (1 - keep)
    swept = (turn[:, :, None] @ flat[..., None])[..., 0] * width[..., None, None]
    return (path[:, :, None] + swept).flatten(1, 2)


def draw_arms(rngs: Sequence[np.random.Generator], config: SceneConfig, like: Tensor) -> ArmDraws:
    """Draw arms in the resting hand's frame (z flexes, y deviates, x twists the wrist)."""
    rows = [(rng.normal(0, 1, 3), _draw_upper(rng), rng.uniform(0.6, 1.25)) for rng in rngs]
    flex, deviate, twist = config.wrist_deg
    bend = stacked([r[0] for r in rows], like) * torch.deg2rad(like.new_tensor([twist, deviate, flex]))
    return ArmDraws(bend, *(stacked([r[i] for r in rows], like) for i in (1, 2)))


def _draw_upper(rng: np.random.Generator) -> np.ndarray:
    """Draw the upper arm's way in the camera's frame: sideways and rather away, to leave the picture."""
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle), rng.uniform(-0.1, 0.6)])


def draw_cameras(
    rngs: Sequence[np.random.Generator],
    config: SceneConfig,
    size_px: int,
    vertices: Float[Tensor, "B V 3"],
    arm_axis: Float[Tensor, "B 3"],
) -> CameraDraws:
    """Turn, place and crop hands given in their own frame (wrist at the origin).

    A photo of focal length f (35 mm equivalent) shows the hand somewhere; the picture is a square
    crop of it, so its principal point lies off the centre. Views from behind the elbow, in which the
    arm would fill the picture, are drawn again.
    """
    rows = [_draw_camera(rng, config) for rng in rngs]
    columns = [stacked([row[i] for row in rows], vertices) for i in range(6)]
    quaternions, focal_mm, distance, off_axis, crop, left = columns
    rotation = _first_open_view(_to_matrix(quaternions), arm_axis)
    turned = vertices @ rotation.mT
    middle = (turned.amax(1) + turned.amin(1)) / 2
    # Off the photo's axis only as far as the photo reaches.
    reach = torch.minimum(torch.tan(torch.deg2rad(off_axis.abs())), (12.0 / focal_mm)[:, None])
    ray = torch.cat([reach * off_axis.sign(), torch.ones_like(reach[:, :1])], -1)
    # `middle` may reach 12 cm towards the camera: keep every part at least 12 cm away.
    nearest = distance - (middle[:, 2] - turned[..., 2].amin(1))
    distance = distance + (0.12 - nearest).clamp(min=0)
    transl = ray * distance[:, None] - middle
    placed = turned + transl[:, None]
    flat = placed[..., :2] / placed[..., 2:]
    low, high = flat.amin(1), flat.amax(1)
    side = (high - low).amax(-1) * 1.15 * crop[:, 0]
    center = (low + high) / 2 + crop[:, 1:] * side[:, None]
    focal = size_px / side
    intrinsics = torch.zeros_like(rotation)
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = focal
    intrinsics[:, :2, 2] = size_px / 2 - center * focal[:, None]
    intrinsics[:, 2, 2] = 1
    return CameraDraws(matrix_to_axis_angle(rotation), transl, intrinsics, left > 0.5)


def _draw_camera(rng: np.random.Generator, config: SceneConfig) -> tuple[object, ...]:
    quaternions = rng.normal(size=(_CANDIDATES, 4))
    focal = np.exp(rng.uniform(*np.log(config.focal_mm)))
    distance = np.exp(rng.uniform(*np.log(config.distance_m)))
    off_axis = np.clip(rng.normal(0, 0.5, 2), -1, 1) * config.off_axis_deg
    scale = np.exp(rng.uniform(*np.log(config.crop_scale)))
    crop = np.array([scale, *rng.uniform(-config.crop_shift, config.crop_shift, 2)])
    return quaternions, focal, distance, off_axis, crop, float(rng.random() < config.left_rate)


def _to_matrix(quaternion: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    q = normalize(quaternion, dim=-1)
    w, v = q[..., :1], q[..., 1:]
    angle = 2 * torch.atan2(v.norm(dim=-1, keepdim=True), w)
    return axis_angle_to_matrix(normalize(v, dim=-1) * angle)


def _first_open_view(
    rotations: Float[Tensor, "B C 3 3"], arm_axis: Float[Tensor, "B 3"]
) -> Float[Tensor, "B 3 3"]:
    """Return the first candidate in which the forearm does not point at the camera."""
    towards = (rotations @ arm_axis[:, None, :, None])[..., 2, 0]
    chosen = (towards > -0.55).float().argmax(1)
    picked: Tensor = rotations[torch.arange(len(chosen), device=chosen.device), chosen]
    return picked


def inside_frame(points_2d: Float[Tensor, "B N 2"], size_px: int) -> Bool[Tensor, "B N"]:
    """Mark points (px) that lie in the picture."""
    return ((points_2d >= 0) & (points_2d < size_px)).all(-1)
