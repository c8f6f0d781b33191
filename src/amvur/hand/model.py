"""A parametric hand in four steps: template, shape, pose, skin. The open hand and MANO share it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from amvur.geometry.rotations import axis_angle_to_matrix
from amvur.hand.joints import BONE_JOINTS, JOINT_BONES, TIP_JOINTS
from amvur.hand.model_arrays import HandModelArrays, bone_levels


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


def _apply_basis(
    basis: Float[Tensor, "N 3 D"], coefficients: Float[Tensor, "*batch D"]
) -> Float[Tensor, "*batch N 3"]:
    """Return sum over d of basis[..., d] * coefficients[..., d], as one matrix product."""
    combined: Tensor = (coefficients @ basis.flatten(0, 1).T).unflatten(-1, basis.shape[:2])
    return combined
