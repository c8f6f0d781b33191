"""A posed hand's mesh in numpy: what `amvur.hand.model` does in PyTorch, without gradients, for inference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from amvur.hand.joints import BONE_JOINTS, JOINT_BONES, TIP_JOINTS
from amvur.hand.kinematics import HandState, Kinematics
from amvur.hand.model_arrays import HandModelArrays


@dataclass(frozen=True)
class PosedHands:
    """B posed right hands, metres. `rest_vertices` are shaped and pose-corrected but not skinned."""

    vertices: Float[NDArray[Any], "B V 3"]
    joints: Float[NDArray[Any], "B 21 3"]
    rest_vertices: Float[NDArray[Any], "B V 3"]
    rest_joints: Float[NDArray[Any], "B 21 3"]
    bone_rotation: Float[NDArray[Any], "B 16 3 3"]
    bone_origin: Float[NDArray[Any], "B 16 3"]


class HandPoser:
    """Template, shape, pose correctives and linear blend skinning (Romero et al. 2017, eqs. 1 to 4)."""

    def __init__(self, arrays: HandModelArrays, dtype: type[np.floating] = np.float32) -> None:
        """Take a model's arrays in `dtype`; bones are chained in float64."""
        self.arrays, self.hand = arrays, Kinematics(arrays)
        self._template, self._weights = arrays.v_template.astype(dtype), arrays.lbs_weights.astype(dtype)
        count = len(arrays.v_template)
        basis = np.concatenate([arrays.shapedirs, arrays.posedirs], -1)
        self._basis = basis.reshape(3 * count, -1).T.astype(dtype)

    def __call__(self, state: HandState) -> PosedHands:
        """Pose B hands; the wrist's rest place is the centre of the root's turn, the translation comes last.

        Joints are points fixed to bones; tips are the means of their vertices.
        """
        arrays, dtype, count = self.arrays, self._template.dtype, len(state)
        bones = self.hand.pose(state)
        feature = (state.rotations[:, 1:] - np.eye(3)).reshape(count, 135)
        coefficients = np.concatenate([state.betas, feature], 1).astype(dtype)
        rest = self._template + (coefficients @ self._basis).reshape(count, *self._template.shape)
        shift = bones.origin - (bones.rotation @ bones.pivots[..., None])[..., 0]
        transform = np.concatenate([bones.rotation, shift[..., None]], -1).reshape(count, 16, 12)
        blended = (self._weights @ transform.astype(dtype)).reshape(*rest.shape, 4)
        vertices = (blended[..., :3] @ rest[..., None])[..., 0] + blended[..., 3]
        rest_joints = arrays.joint_template + (arrays.joint_shapedirs @ state.betas[:, None, :, None])[..., 0]
        carriers = list(JOINT_BONES)
        local = rest_joints - rest_joints[:, list(BONE_JOINTS)][:, carriers]
        joints = bones.origin[:, carriers] + (bones.rotation[:, carriers] @ local[..., None])[..., 0]
        joints[:, list(TIP_JOINTS)] = vertices[:, arrays.tip_vertices].mean(-2)
        return PosedHands(vertices, joints.astype(dtype), rest, rest_joints, bones.rotation, bones.origin)
