"""What a network has to know of its hand model, as arrays: inputs of its ONNX file, which holds no hand."""

from __future__ import annotations

import numpy as np

from amvur.hand.kinematics import HandState, rotation_matrices
from amvur.hand.model_arrays import HandModelArrays
from amvur.hand.posing import HandPoser
from amvur.hand.prior_arrays import prior_arrays

HAND_ARRAYS = (
    "v_template",
    "shapedirs",
    "posedirs",
    "lbs_weights",
    "joint_template",
    "joint_shapedirs",
    "joint_regressor",
)
"""The fields of `HandModelArrays` that pose a hand."""


def network_constants(arrays: HandModelArrays) -> dict[str, np.ndarray]:
    """Return `HAND_ARRAYS`, the zero pose relative to its wrist (m) and the prior's pose, all float32.

    `template` (V,3) and `template_joints` (21,3) are vertices and joints where `hand_pose` and betas are 0;
    `pose_axes` (15,3,3) are the bones' anatomical axes, `angle_mean` (45) the prior's mean angles (rad) along
    them, and `pose_mean` (45) the same as local axis-angles.
    """
    prior = prior_arrays(arrays)
    local = np.concatenate([np.zeros((1, 3)), arrays.pose_mean.reshape(15, 3)])
    zero = HandState(rotation_matrices(local[None]), np.zeros((1, 10)), np.zeros((1, 3)))
    posed = HandPoser(arrays, np.float64)(zero)
    wrist = posed.joints[0, :1]
    found = {name: getattr(arrays, name) for name in HAND_ARRAYS}
    found |= {"template": posed.vertices[0] - wrist, "template_joints": posed.joints[0] - wrist}
    pose_mean = prior.local_axis_angle(prior.mean).ravel()
    found |= {"pose_axes": prior.axes, "angle_mean": prior.mean, "pose_mean": pose_mean}
    return {name: np.asarray(values, np.float32) for name, values in found.items()}
