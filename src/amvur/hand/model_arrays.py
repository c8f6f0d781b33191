"""The arrays of a hand model and what needs no more than numpy: mirroring, the order of bones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

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
