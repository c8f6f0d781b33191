"""Posed hands and what they cover, in numpy: for tests that run without PyTorch too."""

from functools import cache

import numpy as np

from amvur.hand.kinematics import HandState, rotation_matrices
from amvur.hand.loading import load_hand_model
from amvur.hand.posing import HandPoser
from amvur.raster import rasterize


@cache
def poser(hand_model="open", side="right"):
    return HandPoser(load_hand_model(hand_model, side), np.float64)


def posed(orient, hand_pose=None, betas=None, transl=(0.0, 0.0, 0.0), hand_model="open", side="right"):
    """Vertices and joints (m) of a hand by its parameters: axis-angle of the wrist (3) and the fingers (45)."""
    pose = poser(hand_model, side)
    fingers = (np.zeros(45) if hand_pose is None else np.asarray(hand_pose)) + pose.arrays.pose_mean
    axis_angle = np.concatenate([np.reshape(orient, (1, 3)), fingers.reshape(15, 3)])
    shape = np.zeros(10) if betas is None else np.asarray(betas, np.float64)
    state = HandState(rotation_matrices(axis_angle[None]), shape[None], np.asarray(transl, np.float64)[None])
    mesh = pose(state)
    return mesh.vertices[0], mesh.joints[0]


def covered(vertices, faces, intrinsics, height, width):
    """The pixels of a picture that a mesh covers."""
    return rasterize(np.asarray(vertices), np.asarray(faces, np.int64), intrinsics, height, width).mask
