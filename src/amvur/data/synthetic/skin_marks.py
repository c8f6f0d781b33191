"""The anatomy of a resting hand's skin, evaluated at points: creases, knuckles, nails, palm lines, hair.

Points are in metres in the rest pose (fingers along −x, palm −y, thumb +z). Everything is deterministic:
people differ by how strongly and in which mixture the patterns show.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from amvur.data.synthetic.scene import Body
from amvur.hand.joints import BONE_JOINTS, TIP_JOINTS
from amvur.hand.model import HandModel
from amvur.render import vertex_normals

MARKS = (
    "palm", "wrinkle", "knuckle", "crease", "tip", "nail", "nail_fold", "nail_pale", "vein", "hair",
    "phalanx", "glove", "lines0", "lines1", "lines2", "lines3", "lines4", "lines5",
)  # fmt: skip
FIELDS = ("broad", "middle", "fine", "vein")
_WAVELENGTHS_M = (0.05, 0.016, 0.0045, 0.035)
_WAVES = 20
_DISTAL_BONES = (15, 3, 6, 12, 9)
_END_BONES = {3: 4, 6: 12, 9: 20, 12: 16, 15: 4}


def bake_fields(points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 16"]:
    """Evaluate four independent Gaussian fields of each wavelength: sums of random plane waves."""
    rng = np.random.default_rng(20240901)
    fields = []
    for wavelength in _WAVELENGTHS_M:
        for _ in range(4):
            direction = rng.normal(size=(3, _WAVES))
            direction /= np.linalg.norm(direction, axis=0)
            speed = 2 * np.pi / wavelength * np.exp(rng.normal(0, 0.35, _WAVES))
            phase = points @ torch.as_tensor(direction * speed).to(points)
            offset = torch.as_tensor(rng.uniform(0, 2 * np.pi, _WAVES)).to(points)
            fields.append(torch.cos(phase + offset).sum(-1) * (2 / _WAVES) ** 0.5)
    return torch.stack(fields, -1)


def bake_marks(
    model: HandModel,
    body: Body,
    points: Float[Tensor, "N 3"],
    bones: Float[Tensor, "N 16"],
    centers: Float[Tensor, "T 3"],
) -> Float[Tensor, "N 18"]:
    """Evaluate `MARKS` at texel centres; `bones` are skinning weights there."""
    normals = vertex_normals(body.rest[None], body.faces)[0]
    normal = torch.einsum("tk,fkc->ftc", centers, normals[body.faces]).flatten(0, 1)
    mark = {name: torch.zeros(len(points), device=points.device, dtype=points.dtype) for name in MARKS}
    arm = _step(points[:, 0], 0.0, 0.05)
    fingers = 1 - bones[:, 0]
    mark["palm"] = _step(-normal[:, 1], -0.15, 0.55) * (1 - 0.85 * arm)
    _mark_joints(mark, model, points, bones)
    _mark_nails(mark, model, points, bones)
    dorsal = _step(normal[:, 1], 0.0, 0.5)
    mark["vein"] = (1 - fingers).clamp(0, 1) * torch.maximum(dorsal, 0.6 * _step(points[:, 0], 0.0, 0.03))
    mark["hair"] = _hair(points) * torch.maximum(0.45 * dorsal * (1 - _step(fingers, 0.5, 0.9)), arm * 0.8)
    mark["glove"] = 1 - _step(points[:, 0], 0.035, 0.037)
    for k in range(6):
        mark[f"lines{k}"] = (
            _palm_lines(k, points) * mark["palm"] * (1 - _step(bones[:, 1:13].sum(-1), 0.3, 0.6))
        )
    wrist = sum(torch.exp(-(((points[:, 0] - x) / 0.0009) ** 2)) for x in (0.004, 0.009))
    mark["crease"] = torch.maximum(mark["crease"], 0.7 * wrist * _step(-normal[:, 1], 0.2, 0.6))
    return torch.stack([mark[name] for name in MARKS], -1).clamp(0, None)


def _mark_joints(
    mark: dict[str, Tensor], model: HandModel, points: Float[Tensor, "N 3"], bones: Float[Tensor, "N 16"]
) -> None:
    """Crease the palm's side of every finger joint, wrinkle and redden its back, mark each phalanx."""
    joints, axes = model.joint_template, model.pose_axes
    for bone in range(1, 16):
        flexion, twist = axes[bone - 1, 0], axes[bone - 1, 2]
        palmar = torch.linalg.cross(flexion, twist)
        member = _step(bones[:, bone] + bones[:, model.parents[bone]], 0.5, 0.8)
        offset = points - joints[BONE_JOINTS[bone]]
        along, depth, side = offset @ twist, offset @ palmar, offset @ flexion
        if along[bones[:, bone] > 0.8].mean() < 0:
            along = -along
        bow = along + 9.0 * side.square() + 0.0003 * torch.sin(side * 900 + bone)
        if (bone - 1) % 3:
            lines = _line(bow, 0.0008) + 0.6 * _line(bow + 0.0028, 0.0007)
            mark["crease"] = torch.maximum(mark["crease"], lines * member * _step(depth, -0.001, 0.003))
            wave = 0.5 + 0.5 * torch.cos((along + 6 * side.square()) * 2 * np.pi / 0.0021)
            back = member * _step(-depth, 0.0, 0.004)
            wrinkle = _line(along, 0.0055) * (0.25 + 0.75 * wave) * _line(side, 0.007)
            mark["wrinkle"] = torch.maximum(mark["wrinkle"], wrinkle * back)
            mark["knuckle"] = torch.maximum(mark["knuckle"], _line(along, 0.007) * back)
        else:
            root = _step(bones[:, bone], 0.1, 0.5)
            base = 0.024 if bone < 13 else 0.03
            mark["crease"] = torch.maximum(
                mark["crease"], 0.9 * _line(bow - base, 0.0009) * root * _step(depth, 0.0, 0.004)
            )
            ball = torch.exp(-(offset.square().sum(-1) / 0.016**2)) * _step(-depth, 0.002, 0.008)
            mark["knuckle"] = torch.maximum(mark["knuckle"], 0.8 * ball)
        last = _END_BONES.get(bone)
        end = joints[TIP_JOINTS[_DISTAL_BONES.index(bone)]] if last else joints[BONE_JOINTS[bone] + 1]
        length = (end - joints[BONE_JOINTS[bone]]).norm()
        mark["phalanx"] = torch.where(
            bones[:, bone] > 0.5, bone + (along / length).clamp(0.01, 0.99), mark["phalanx"]
        )


def _mark_nails(
    mark: dict[str, Tensor], model: HandModel, points: Float[Tensor, "N 3"], bones: Float[Tensor, "N 16"]
) -> None:
    """Draw the five nails as rounded plates on the backs of the last phalanges, and redden the tips."""
    joints, axes = model.joint_template, model.pose_axes
    for bone, joint in zip(_DISTAL_BONES, TIP_JOINTS, strict=True):
        flexion, twist = axes[bone - 1, 0], axes[bone - 1, 2]
        palmar = torch.linalg.cross(flexion, twist)
        member = bones[:, bone] > 0.5
        offset = points - joints[joint]
        outward = torch.sign((joints[joint] - joints[BONE_JOINTS[bone]]) @ twist)
        back, side = -offset @ twist * outward, offset @ flexion
        height = -(points - joints[BONE_JOINTS[bone]]) @ palmar
        near = member & (back > 0.003) & (back < 0.010)
        half = 0.66 * side[near].abs().quantile(0.96)
        length = 2.35 * half
        # A superellipse: straight sides, rounded base and free edge.
        u, v = side / half, (back - 0.0002 - length / 2) / (length / 2)
        radius = (u.abs() ** 3 + v.abs() ** 3) ** (1 / 3)
        on_top = member * _step(height, 0.0002, 0.0015)
        mark["nail"] = torch.maximum(mark["nail"], _step(1 - radius, 0.0, 0.10) * on_top)
        fold = torch.exp(-(((radius - 1.0) / 0.10) ** 2)) * _step(v, -0.9, -0.2)
        mark["nail_fold"] = torch.maximum(mark["nail_fold"], fold * on_top)
        pale = _step(-v, 0.72, 0.85) + 0.6 * _step(v - 0.2 * u.square(), 0.5, 0.7)
        mark["nail_pale"] = torch.maximum(mark["nail_pale"], pale.clamp(0, 1) * on_top)
        mark["tip"] = torch.maximum(mark["tip"], torch.exp(-offset.square().sum(-1) / 0.011**2) * member)


def _palm_lines(variant: int, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N"]:
    """Draw the palm's lines: round the thumb, across the palm twice, and finer ones."""
    rng = np.random.default_rng(9000 + variant)
    jitter = rng.normal(0, 0.0025, (3, 3, 2))
    # Way points (x, z): life, head and heart line, from the radial to the ulnar or wrist side.
    ways = np.array([
        [[-0.066, 0.032], [-0.042, 0.012], [-0.010, 0.010]],
        [[-0.068, 0.031], [-0.055, 0.004], [-0.034, -0.026]],
        [[-0.088, 0.014], [-0.070, -0.008], [-0.063, -0.038]],
    ]) + jitter  # fmt: skip
    total = torch.zeros(len(points), device=points.device, dtype=points.dtype)
    t = torch.linspace(0, 1, 24, device=points.device, dtype=points.dtype)[:, None]
    for way, strength in zip(ways, (1.0, 0.9, 0.95), strict=True):
        p, q, r = torch.as_tensor(way).to(points)
        q = 2 * q - (p + r) / 2
        curve = (1 - t) ** 2 * p + 2 * t * (1 - t) * q + t**2 * r
        distance, nearest = torch.cdist(points[:, [0, 2]], curve).min(-1)
        fade = 1 - (nearest / 23 - 0.75).clamp(0, 1) * 2.5
        total = torch.maximum(total, strength * fade * _line(distance, 0.0010))
    for _ in range(5):
        angle, shift = rng.normal(0.3, 0.6), rng.uniform(-0.08, 0.02)
        along = points[:, 0] * np.cos(angle) + points[:, 2] * np.sin(angle)
        across = points[:, 2] * np.cos(angle) - points[:, 0] * np.sin(angle)
        bend = along - shift + 0.002 * torch.sin(across * 160 + rng.uniform(0, 6))
        part = torch.exp(-(((across - rng.uniform(-0.02, 0.02)) / 0.014) ** 2))
        total = torch.maximum(total, 0.45 * part * _line(bend, 0.0007))
    return total


def _hair(points: Float[Tensor, "N 3"]) -> Float[Tensor, "N"]:
    """Short strokes along the arm: a product of waves that is long one way and thin across."""
    rng = np.random.default_rng(77)
    total = torch.zeros(len(points), device=points.device, dtype=points.dtype)
    for _ in range(3):
        lean = normalize(torch.as_tensor(rng.normal(0, 0.25, 3) + np.array([1.0, 0, 0])), dim=0).to(points)
        across = torch.as_tensor(rng.normal(size=(3, 5)) * 2 * np.pi / 0.004).to(points)
        across = across - lean[:, None] * (lean @ across)
        along = torch.sin(points @ lean * 2 * np.pi / 0.014 + torch.sin(points @ across[:, 0] * 0.7) * 3)
        thin = torch.cos(points @ across[:, 1:] + along[:, None] * 0.6).sum(-1) / 2
        total = torch.maximum(total, _step(thin, 0.85, 1.4) * _step(along, -0.2, 0.5))
    return total


def _line(distance: Tensor, width: float) -> Tensor:
    return torch.exp(-((distance / width) ** 2))


def _step(x: Tensor, low: float, high: float) -> Tensor:
    return ((x - low) / (high - low)).clamp(0, 1)
