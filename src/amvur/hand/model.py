"""A parametric hand in four steps: template, shape, pose, skin. The open hand and MANO share it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn

from amvur.geometry.rotations import axis_angle_to_matrix
from amvur.hand.joints import BONE_JOINTS, JOINT_BONES, TIP_JOINTS
from amvur.structures import Side


@dataclass(frozen=True)
class HandModelArrays:
    """The arrays of a hand model, named as in smplx; metres; rest frames of all bones world aligned.

    The 21 rest joints are linear in the betas (`joint_template + joint_shapedirs @ betas`); the first
    of every finger to the last but one are the pivots of the 16 bones, a tip is the mean of n vertices
    (one of MANO's).
    `pose_axes[k]` are bone k+1's flexion, abduction and twist axes (rows), `pose_limits[k]` the range
    (rad) of the local axis-angle along them and `rest_angles[k]` the clinical angles (rad) that the
    rest pose already has; `pose_mean` is added to every `hand_pose`.
    """

    name: str
    side: Side
    v_template: Float64[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    shapedirs: Float64[np.ndarray, "V 3 10"]
    posedirs: Float64[np.ndarray, "V 3 135"]
    lbs_weights: Float64[np.ndarray, "V 16"]
    joint_template: Float64[np.ndarray, "21 3"]
    joint_shapedirs: Float64[np.ndarray, "21 3 10"]
    joint_regressor: Float64[np.ndarray, "21 V"]
    tip_vertices: Int[np.ndarray, "5 n"]
    parents: tuple[int, ...]
    pose_axes: Float64[np.ndarray, "15 3 3"]
    pose_limits: Float64[np.ndarray, "15 3 2"]
    rest_angles: Float64[np.ndarray, "15 3"]
    pose_mean: Float64[np.ndarray, "45"]
    sha256: str


@dataclass(frozen=True)
class HandMesh:
    """A posed hand, metres. `rest_vertices` are shaped and pose-corrected but not skinned."""

    vertices: Float[Tensor, "*batch V 3"]
    joints: Float[Tensor, "*batch 21 3"]
    rest_vertices: Float[Tensor, "*batch V 3"]
    rest_joints: Float[Tensor, "*batch 21 3"]
    bone_rotation: Float[Tensor, "*batch 16 3 3"]
    bone_origin: Float[Tensor, "*batch 16 3"]


class HandModel(nn.Module):
    """A differentiable hand: any batch axes, float32 or float64, any device.

    The arrays are non-persistent buffers, so that a network's weights never hold a licensed model.
    """

    faces: Tensor
    v_template: Tensor
    shapedirs: Tensor
    posedirs: Tensor
    lbs_weights: Tensor
    joint_template: Tensor
    joint_shapedirs: Tensor
    joint_regressor: Tensor
    tip_vertices: Tensor
    pose_axes: Tensor
    pose_limits: Tensor
    rest_angles: Tensor
    pose_mean: Tensor

    def __init__(self, arrays: HandModelArrays, dtype: torch.dtype = torch.float32) -> None:
        """Copy `arrays` into buffers of `dtype`."""
        super().__init__()
        self.arrays = arrays
        self.name, self.side, self.parents = arrays.name, arrays.side, arrays.parents
        for key in (
            "v_template",
            "shapedirs",
            "posedirs",
            "lbs_weights",
            "joint_template",
            "joint_shapedirs",
            "joint_regressor",
            "pose_axes",
            "pose_limits",
            "rest_angles",
            "pose_mean",
        ):
            # A copy: the arrays may be cached and shared by other models.
            value = torch.tensor(getattr(arrays, key), dtype=dtype)
            self.register_buffer(key, value, persistent=False)
        for key in ("faces", "tip_vertices"):
            value = torch.as_tensor(np.asarray(getattr(arrays, key), dtype=np.int64))
            self.register_buffer(key, value, persistent=False)

    def shape(
        self, betas: Float[Tensor, "*batch 10"]
    ) -> tuple[Float[Tensor, "*batch V 3"], Float[Tensor, "*batch 21 3"]]:
        """Return the rest vertices and the 21 rest joints (m) of a hand of shape `betas`."""
        vertices = self.v_template + _apply_basis(self.shapedirs, betas)
        joints = self.joint_template + _apply_basis(self.joint_shapedirs, betas)
        return vertices, joints

    def pose(
        self, rotations: Float[Tensor, "*batch 16 3 3"], rest_joints: Float[Tensor, "*batch 21 3"]
    ) -> tuple[Float[Tensor, "*batch 16 3 3"], Float[Tensor, "*batch 16 3"]]:
        """Chain local bone rotations into each bone's rotation and origin in the model's frame."""
        pivots = rest_joints[..., BONE_JOINTS, :]
        rotation = list(rotations.unbind(-3))
        origin = list(pivots.unbind(-2))
        for bones, parents in bone_levels(self.parents):
            turn = torch.stack([rotation[p] for p in parents], -3)
            offset = pivots[..., bones, :] - pivots[..., parents, :]
            start = torch.stack([origin[p] for p in parents], -2)
            ends = start + (turn @ offset[..., None])[..., 0]
            turned = turn @ rotations[..., bones, :, :]
            for i, bone in enumerate(bones):
                rotation[bone], origin[bone] = turned[..., i, :, :], ends[..., i, :]
        return torch.stack(rotation, -3), torch.stack(origin, -2)

    def skin(
        self,
        rest_vertices: Float[Tensor, "*batch V 3"],
        rest_joints: Float[Tensor, "*batch 21 3"],
        bone_rotation: Float[Tensor, "*batch 16 3 3"],
        bone_origin: Float[Tensor, "*batch 16 3"],
    ) -> Float[Tensor, "*batch V 3"]:
        """Blend the bones' rigid motions over the vertices (linear blend skinning)."""
        pivots = rest_joints[..., BONE_JOINTS, :]
        shift = bone_origin - (bone_rotation @ pivots[..., None])[..., 0]
        transform = torch.cat([bone_rotation, shift[..., None]], -1).flatten(-2)
        blended = (self.lbs_weights @ transform).unflatten(-1, (3, 4))
        vertices: Tensor = (blended[..., :3] * rest_vertices[..., None, :]).sum(-1) + blended[..., 3]
        return vertices

    def forward(
        self,
        global_orient: Float[Tensor, "*batch 3"],
        hand_pose: Float[Tensor, "*batch 45"],
        betas: Float[Tensor, "*batch 10"],
        transl: Float[Tensor, "*batch 3"] | None = None,
    ) -> HandMesh:
        """Pose a hand: axis-angles in rad relative to the rest pose (plus `pose_mean`), metres.

        Skinning and correctives as in MANO (Romero et al. 2017, eqs. 1–4); the wrist joint of the
        rest pose is the centre of `global_orient`, `transl` is added last.
        """
        pose = torch.cat([global_orient, hand_pose + self.pose_mean], -1)
        rotations = axis_angle_to_matrix(pose.unflatten(-1, (16, 3)))
        return self.from_matrices(rotations, betas, transl)

    def from_matrices(
        self,
        rotations: Float[Tensor, "*batch 16 3 3"],
        betas: Float[Tensor, "*batch 10"],
        transl: Float[Tensor, "*batch 3"] | None = None,
    ) -> HandMesh:
        """Pose a hand from the local rotation matrices of its 16 bones: see `forward`."""
        shaped, rest_joints = self.shape(betas)
        eye = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
        feature = (rotations[..., 1:, :, :] - eye).flatten(-3)
        rest_vertices = shaped + _apply_basis(self.posedirs, feature)
        bone_rotation, bone_origin = self.pose(rotations, rest_joints)
        vertices = self.skin(rest_vertices, rest_joints, bone_rotation, bone_origin)
        joints = self.chain_joints(rest_joints, bone_rotation, bone_origin)
        joints = joints.index_copy(
            -2, torch.tensor(TIP_JOINTS, device=joints.device), vertices[..., self.tip_vertices, :].mean(-2)
        )
        if transl is not None:
            vertices, joints = vertices + transl[..., None, :], joints + transl[..., None, :]
            bone_origin = bone_origin + transl[..., None, :]
        return HandMesh(vertices, joints, rest_vertices, rest_joints, bone_rotation, bone_origin)

    def chain_joints(
        self,
        rest_joints: Float[Tensor, "*batch 21 3"],
        bone_rotation: Float[Tensor, "*batch 16 3 3"],
        bone_origin: Float[Tensor, "*batch 16 3"],
    ) -> Float[Tensor, "*batch 21 3"]:
        """Return the 21 joints as points fixed to their bones, without building the mesh."""
        bones = list(JOINT_BONES)
        pivots = rest_joints[..., BONE_JOINTS, :][..., bones, :]
        local = rest_joints - pivots
        return bone_origin[..., bones, :] + (bone_rotation[..., bones, :, :] @ local[..., None])[..., 0]

    def regress_joints(self, vertices: Float[Tensor, "*batch V 3"]) -> Float[Tensor, "*batch 21 3"]:
        """Return the 21 joints as fixed weighted means of the posed vertices (the field's other way)."""
        return self.joint_regressor @ vertices


def bone_levels(parents: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """Group the bones below the root by their depth, so that a chain takes one step a level.

    Returns pairs (bones, their parents), parents' levels first.
    """
    depth = [0] * len(parents)
    for bone, parent in enumerate(parents):
        depth[bone] = 0 if parent < 0 else depth[parent] + 1
    levels = []
    for level in range(1, max(depth) + 1):
        bones = [b for b, d in enumerate(depth) if d == level]
        levels.append((bones, [parents[b] for b in bones]))
    return levels


def mirror_arrays(arrays: HandModelArrays) -> HandModelArrays:
    """Return the other hand: every array reflected in x, faces turned so that they stay outward.

    A reflected rotation has its axis-angle's y and z negated, so `pose_axes` flip as pseudo-vectors
    (limits keep their meaning: flexion stays flexion) and `posedirs` change sign with their feature.
    """
    flip = np.array([-1.0, 1.0, 1.0])
    feature_sign = np.tile(np.outer(flip, flip).ravel(), 15)
    return HandModelArrays(
        name=arrays.name,
        side="left" if arrays.side == "right" else "right",
        v_template=arrays.v_template * flip,
        faces=arrays.faces[:, ::-1].copy(),
        shapedirs=arrays.shapedirs * flip[:, None],
        posedirs=arrays.posedirs * flip[:, None] * feature_sign,
        lbs_weights=arrays.lbs_weights,
        joint_template=arrays.joint_template * flip,
        joint_shapedirs=arrays.joint_shapedirs * flip[:, None],
        joint_regressor=arrays.joint_regressor,
        tip_vertices=arrays.tip_vertices,
        parents=arrays.parents,
        pose_axes=arrays.pose_axes * -flip,
        pose_limits=arrays.pose_limits,
        rest_angles=arrays.rest_angles,
        pose_mean=arrays.pose_mean * np.tile(-flip, 15),
        sha256=arrays.sha256,
    )


def _apply_basis(
    basis: Float[Tensor, "N 3 D"], coefficients: Float[Tensor, "*batch D"]
) -> Float[Tensor, "*batch N 3"]:
    """Return sum over d of basis[..., d] * coefficients[..., d], as one matrix product."""
    combined: Tensor = (coefficients @ basis.flatten(0, 1).T).unflatten(-1, basis.shape[:2])
    return combined
