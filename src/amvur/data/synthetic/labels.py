"""Exact labels of a rendered scene: what shows of the hand, and why the rest does not."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from amvur.data.samples import HandBatch, JointState
from amvur.data.synthetic.assembly import Scene
from amvur.data.synthetic.scene import Body, inside_frame
from amvur.data.synthetic.visibility import behind_horizon, blocked_vertices, projected
from amvur.hand.joints import BONE_PARENTS, JOINT_BONES
from amvur.hand.model import HandMesh
from amvur.render import Raster, rasterize

_FINGER_DEPTH_M, _PALM_DEPTH_M = 0.022, 0.036


@dataclass(frozen=True)
class Labels:
    """What shows; names as in `HandBatch`."""

    joints_2d: Float[Tensor, "B 21 2"]
    joint_states: Int64[Tensor, "B 21"]
    visible_vertices: Bool[Tensor, "B V"]
    unoccluded_vertices: Bool[Tensor, "B V"]
    mask: Bool[Tensor, "B H W"]
    occlusion: Float[Tensor, "B"]


def label_scene(scene: Scene, body: Body, mesh: HandMesh, frame: Raster, size_px: int, ss: int) -> Labels:
    """Label a scene from its raster of `ss`² samples a pixel and one of the body alone, beyond the frame too.

    The own forearm counts as part of the hand for hiding (`visible_vertices`), not for `occlusion`.
    """
    pad = size_px // 2
    wide = scene.intrinsics.clone()
    # The wide raster samples where the frame's first sample of a pixel is, so that counts agree exactly.
    wide[:, :2, 2] += pad + 0.5 - 0.5 / ss
    alone_vertices = scene.vertices[:, : len(body.rest)]
    alone = rasterize(alone_vertices, body.faces, wide, 2 * pad + size_px, 2 * pad + size_px)
    v = body.num_hand_vertices
    visible = ~blocked_vertices(alone, alone_vertices, body.faces, wide, v)
    visible &= ~behind_horizon(alone_vertices, body.faces, wide, body.nearby, visible)
    blocked = blocked_vertices(frame, scene.vertices, scene.faces, scene.sampled(ss), v)
    flat = projected(scene.vertices[:, :v], scene.intrinsics)[..., :2]
    shows = frame.mask & (frame.pix_to_face < body.num_hand_faces)
    total = (alone.mask & (alone.pix_to_face < body.num_hand_faces)).sum((1, 2)).clamp(min=1)
    occlusion = (1 - shows[:, ::ss, ::ss].sum((1, 2)) / total).clamp(0, 1)
    joints_2d = projected(mesh.joints, scene.intrinsics)[..., :2]
    return Labels(
        joints_2d.to(mesh.joints.dtype),
        _joint_states(scene, body, mesh.joints, joints_2d, frame, size_px, ss),
        visible,
        visible & ~blocked & inside_frame(flat, size_px),
        _samples_set(shows, ss) * 2 >= ss * ss,
        occlusion.to(mesh.joints.dtype),
    )


def _samples_set(shows: Bool[Tensor, "B M M"], ss: int) -> UInt8[Tensor, "B H W"]:
    """Count the marked ones among the `ss`² samples of every pixel."""
    total = torch.zeros_like(shows[:, ::ss, ::ss], dtype=torch.uint8)
    for y in range(ss):
        for x in range(ss):
            total += shows[:, y::ss, x::ss]
    return total


def _joint_states(
    scene: Scene,
    body: Body,
    joints: Float[Tensor, "B 21 3"],
    joints_2d: Float[Tensor, "B 21 2"],
    frame: Raster,
    size_px: int,
    ss: int,
) -> Int64[Tensor, "B 21"]:
    """Tell from the first surface on the way to each joint: its own flesh, other flesh, a thing."""
    place = (joints_2d * ss).floor().long().clamp(0, size_px * ss - 1)
    pixel = place[..., 1] * size_px * ss + place[..., 0]
    face = frame.pix_to_face.flatten(1).gather(1, pixel)
    depth = joints[..., 2] - frame.zbuf.flatten(1).gather(1, pixel)
    thing = (face >= len(body.faces)) & (depth > 0)
    bone = body.face_bone[face.clamp(0, len(body.faces) - 1)]
    own_bone = torch.tensor(JOINT_BONES, device=face.device)
    own = (bone == own_bone) | (bone == torch.tensor(BONE_PARENTS, device=face.device)[own_bone])
    limit = torch.where(bone == 0, _PALM_DEPTH_M, _FINGER_DEPTH_M)
    covered = (face >= 0) & (face < len(body.faces)) & (~own | (depth > limit)) & (depth > 0)
    states = torch.full_like(face, int(JointState.VISIBLE))
    states = torch.where(covered, int(JointState.HIDDEN_BY_SELF), states)
    states = torch.where(thing, int(JointState.HIDDEN_BY_OBJECT), states)
    return torch.where(inside_frame(joints_2d, size_px), states, int(JointState.OUTSIDE))


def mirror_some(batch: HandBatch, chosen: Bool[Tensor, "B"]) -> HandBatch:
    """Mirror the chosen pictures with all their labels: right hands become left hands and back."""
    width = batch.images.shape[2]

    def pick(flipped: Tensor, x: Tensor) -> Tensor:
        return torch.where(chosen.view(-1, *[1] * (x.ndim - 1)), flipped, x)

    def signs(x: Tensor, sign: tuple[float, ...]) -> Tensor:
        return pick(x * x.new_tensor(sign).repeat(x.shape[-1] // 3), x)

    intrinsics, joints_2d = batch.intrinsics.clone(), batch.joints_2d.clone()
    intrinsics[:, 0, 2] = width - intrinsics[:, 0, 2]
    joints_2d[..., 0] = width - joints_2d[..., 0]
    values = {f.name: getattr(batch, f.name) for f in fields(HandBatch)}
    values |= {
        "images": pick(batch.images.flip(2), batch.images),
        "mask": pick(batch.mask.flip(2), batch.mask),
        "intrinsics": pick(intrinsics, batch.intrinsics),
        "joints_2d": pick(joints_2d, batch.joints_2d),
        "is_left": batch.is_left ^ chosen,
    }
    for name in ("vertices", "joints", "transl"):
        values[name] = signs(values[name], (-1.0, 1.0, 1.0))
    for name in ("global_orient", "hand_pose"):
        values[name] = signs(values[name], (1.0, -1.0, -1.0))
    return HandBatch(**values)
