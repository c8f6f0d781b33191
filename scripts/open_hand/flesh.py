"""Less flesh where MakeHuman's hand has too much of it: off the palm and behind the thumb's metacarpal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from . import anatomy
from .build import OpenHand
from .proportions import smoothstep

#: Where flesh is taken off, along the thumb's metacarpal (0: base, 1: head), and how much of the excess.
ALONG, SHARE = [-0.6, 0.0, 1.0, 1.35], [0.0, 0.85, 0.85, 0.0]
#: The middle of the skin over the bone, from the way off the palm towards the back of the thumb (degrees).
MIDDLE_DEG = 35.0
#: Cosines to that middle from which on some of the excess is taken off, and all of that share.
SECTOR = 0.0, 0.75


def thin_thumb_base(hand: OpenHand) -> OpenHand:
    """Return the hand with the thumb's metacarpal about `anatomy.THUMB_METACARPAL_DEPTH` under its skin.

    MakeHuman's sculpted hand has 15 to 23 mm there, so that its outline bulges beside the thumb's base and
    the wrist, most of all where the thumb lies before the palm. Towards palm and index finger, where
    muscles are, nothing is taken off. Joints, skinning, correctives and shape directions stay.
    """
    space = hand.rest.space
    moved = space.v_template + _taken_off(space.v_template, space.joint_template)
    return replace(hand, rest=replace(hand.rest, space=replace(space, v_template=moved)))


def _taken_off(vertices: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Displacement (V,3) of the skin towards the line of the thumb's metacarpal, m."""
    base, head, index = joints[1], joints[2], joints[5]
    length = np.linalg.norm(head - base)
    bone = (head - base) / length
    outward = base - index
    outward = outward - bone * (outward @ bone)
    outward = outward / np.linalg.norm(outward)
    middle = np.radians(MIDDLE_DEG)
    facing = np.cos(middle) * outward + np.sin(middle) * np.cross(bone, outward)
    along = (vertices - base) @ bone
    off = vertices - base - np.outer(along, bone)
    depth = np.linalg.norm(off, axis=1)
    towards = off / depth.clip(1e-9)[:, None]
    excess = (depth - anatomy.THUMB_METACARPAL_DEPTH).clip(0)
    sector = smoothstep((towards @ facing - SECTOR[0]) / (SECTOR[1] - SECTOR[0]))
    share = sector * np.interp(along / length, ALONG, SHARE)
    return -(share * excess)[:, None] * towards
