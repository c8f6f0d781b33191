"""A posed hand's mesh in numpy: what `amvur.hand.model` does in PyTorch, without gradients, for inference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from amvur.geometry.products import column_blocks, product_of_blocks
from amvur.hand.joints import BONE_JOINTS, JOINT_BONES, TIP_JOINTS
from amvur.hand.kinematics import HandState, Kinematics
from amvur.hand.model_arrays import HandModelArrays
from amvur.hand.open_hand import VERSIONS, load_open_hand
from amvur.structures import Side


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
        self._template = arrays.v_template.astype(dtype)
        self._weights = column_blocks(arrays.lbs_weights.T.astype(dtype), rows=12)
        count = len(arrays.v_template)
        basis = np.concatenate([arrays.shapedirs, arrays.posedirs], -1)
        self._basis = column_blocks(basis.reshape(3 * count, -1).T.astype(dtype))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the model's arrays alone, and of an open hand that ships only its name."""
        dtype = self._template.dtype.type
        name, side = self.arrays.name, self.arrays.side
        if name in VERSIONS and load_open_hand(side, name) is self.arrays:
            return _of_open_hand, (side, name, dtype)
        return HandPoser, (self.arrays, dtype)

    def __call__(self, state: HandState) -> PosedHands:
        """Pose B hands; the wrist's rest place is the centre of the root's turn, the translation comes last.

        Joints are points fixed to bones; tips are the means of their vertices.
        """
        arrays, dtype, count = self.arrays, self._template.dtype, len(state)
        bones = self.hand.pose(state)
        feature = (state.rotations[:, 1:] - np.eye(3)).reshape(count, 135)
        coefficients = np.concatenate([state.betas, feature], 1).astype(dtype)
        offsets = product_of_blocks(coefficients, self._basis, self._template.size)
        rest = self._template + offsets.reshape(count, *self._template.shape)
        shift = bones.origin - (bones.rotation @ bones.pivots[..., None])[..., 0]
        transform = np.concatenate([bones.rotation, shift[..., None]], -1).reshape(count, 1, 16, 12)
        blended = self._weights.swapaxes(-1, -2) @ transform.astype(dtype)  # (B, blocks, vertices, 12)
        padded = blended.shape[1] * blended.shape[2]
        blended = blended.reshape(count, padded, 3, 4)[:, : rest.shape[1]]
        turned = (blended[..., axis] * rest[..., axis, None] for axis in range(3))
        vertices = sum(turned, start=blended[..., 3])
        rest_joints = arrays.joint_template + (arrays.joint_shapedirs @ state.betas[:, None, :, None])[..., 0]
        carriers = list(JOINT_BONES)
        local = rest_joints - rest_joints[:, list(BONE_JOINTS)][:, carriers]
        joints = bones.origin[:, carriers] + (bones.rotation[:, carriers] @ local[..., None])[..., 0]
        joints[:, list(TIP_JOINTS)] = vertices[:, arrays.tip_vertices].mean(-2)
        return PosedHands(vertices, joints.astype(dtype), rest, rest_joints, bones.rotation, bones.origin)


def _of_open_hand(side: Side, version: str, dtype: type[np.floating]) -> HandPoser:
    """Return the poser of an open hand."""
    return HandPoser(load_open_hand(side, version), dtype)
