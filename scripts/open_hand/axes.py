"""Joint axes, the clinical angles of the rest pose, and the limits relative to it."""

from __future__ import annotations

import numpy as np

from . import anatomy
from .preview import vertex_normals


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x)


def dorsal_directions(vertices: np.ndarray, faces: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Unit direction (5,3) that the nail of every finger faces, square to its distal bone."""
    normals = vertex_normals(vertices, faces)
    result = np.zeros((5, 3))
    for f in range(5):
        dip, tip = joints[3 + 4 * f], joints[4 + 4 * f]
        bone = _unit(tip - dip)
        along = (vertices - dip) @ bone / np.linalg.norm(tip - dip)
        near = np.linalg.norm(vertices - dip - np.outer((vertices - dip) @ bone, bone), axis=1) < 0.012
        guess = np.array([0.0, 1.0, 0.0]) if f else _unit(np.array([-0.5, 0.3, 0.8]))
        for _ in range(5):
            facing = near & (along > 0.5) & (along < 0.95) & (normals @ guess > 0.8)
            guess = normals[facing].mean(0)
            guess = _unit(guess - bone * (guess @ bone))
        result[f] = guess
    return result


def joint_axes(vertices: np.ndarray, faces: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Rows flexion, abduction, twist (15,3,3), orthonormal and right-handed, world-aligned rest frame.

    The hinge of a finger is the mean of two estimates that agree within some ten degrees: square to
    the nail's normal, and square to the plane in which the rest pose bends from metacarpal to middle
    phalanx (the thumb: the nail alone). Flexion turns the bone towards the pad side. Abduction turns
    a finger away from the middle one (the middle finger itself towards the thumb) and the thumb away
    from the palm.
    """
    axes = np.zeros((15, 3, 3))
    dorsal = dorsal_directions(vertices, faces, joints)
    for f in range(5):
        chain = joints[1 + 4 * f : 5 + 4 * f]
        bones = np.diff(chain, axis=0)
        bones /= np.linalg.norm(bones, axis=1, keepdims=True)
        hinge = _unit(np.cross(dorsal[f], bones[2]))
        if f:
            hinge = _unit(hinge + _unit(np.cross(chain[0] - joints[0], bones[1])))
        for k in range(3):
            flexion = _unit(hinge - bones[k] * (hinge @ bones[k]))
            up = np.cross(bones[k], flexion)
            abduction = -up if f in (3, 4) else up
            axes[anatomy.FIRST_BONE[f] - 1 + k] = flexion, abduction, np.cross(flexion, abduction)
    return axes


def _signed(a: np.ndarray, b: np.ndarray, axis: np.ndarray) -> float:
    """Angle (rad) from direction a to b about `axis`, both projected square to it."""
    a, b = a - axis * (a @ axis), b - axis * (b @ axis)
    return float(np.arctan2(np.cross(a, b) @ axis, a @ b))


def rest_angles(joints: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Clinical flexion, abduction, twist (15,3) rad of the rest pose.

    MCP flexion counts from the line wrist-MCP, MCP abduction from `NEUTRAL_FAN_DEG` about the middle
    metacarpal in the palm's plane; the other flexions between neighbouring bones. The thumb's palmar
    abduction is the height of its metacarpal over the palm's plane; its CMC flexion is 0 at rest.
    """
    rest = np.zeros((15, 3))
    up = np.array([0.0, 1.0, 0.0])
    for f in range(5):
        chain = np.vstack([joints[0], joints[1 + 4 * f : 5 + 4 * f]])
        bones = np.diff(chain, axis=0)
        first = anatomy.FIRST_BONE[f] - 1
        for k in range(3):
            rest[first + k, 0] = _signed(bones[k], bones[k + 1], axes[first + k, 0])
        if f == 0:
            metacarpal = _unit(bones[1])
            rest[first] = 0.0, np.arcsin(-metacarpal[1]), 0.0
            continue
        fan = np.radians(anatomy.NEUTRAL_FAN_DEG[f - 1])
        middle = joints[9] - joints[0]
        angle = _signed(middle, bones[1], up) - fan
        rest[first, 1] = -angle if f in (3, 4) else angle
    return rest


def relative_limits(rest: np.ndarray) -> np.ndarray:
    """Clinical limits minus the rest pose's own angles, (15,3,2) rad; the rest pose is inside them."""
    clinical = np.radians([anatomy.RANGE_DEG[anatomy.joint_kind(k)] for k in range(1, 16)])
    limits = clinical - rest[:, :, None]
    limits[..., 0] = np.minimum(limits[..., 0], 0.0)
    limits[..., 1] = np.maximum(limits[..., 1], 0.0)
    return limits
