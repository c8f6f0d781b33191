"""Fingertips as long as in life: the tips of fingers and thumb end beyond the joints that are named so."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from . import anatomy
from .build import OpenHand
from .proportions import smoothstep
from .shape_space import SIZE_SPREAD

#: Where the distal segment begins to lengthen, in lengths of the bone from its joint; at 1 all is added.
FROM = 0.15
#: Where vertices lie whose mean may be the tip joint, in the same lengths, and how many they are.
RING_FROM, RING = 0.6, 3


def lengthen_fingertips(hand: OpenHand) -> OpenHand:
    """Return the hand with the flesh of its tips `anatomy.FLESH_BEYOND_TIP` longer; joints stay.

    A tip joint then lies within the finger, where it was to a fraction of a millimetre: it is the mean of
    three vertices around it (`tip_vertices` (5,3)), which are rigid with the distal bone.
    """
    space, weights, posedirs = hand.rest.space, hand.weights.copy(), hand.posedirs.copy()
    added, tips = np.zeros_like(space.v_template), []
    for f in range(5):
        base, tip = space.joint_template[[4 * f + 3, 4 * f + 4]]
        bone = anatomy.FIRST_BONE[f] + 2
        along = (space.v_template - base) @ (tip - base) / ((tip - base) @ (tip - base))
        share = weights[:, bone] * smoothstep((along - FROM) / (1 - FROM))
        axis = (tip - base) / np.linalg.norm(tip - base)
        added += anatomy.FLESH_BEYOND_TIP * share[:, None] * axis
        near = np.flatnonzero((weights[:, bone] > 0.999) & (along > RING_FROM))
        tips.append(_ring(space.v_template + added, near, tip))
        weights[tips[-1]] = np.eye(16)[bone]
        posedirs[tips[-1]] = 0
    vertices, shapedirs = space.v_template + added, space.shapedirs.copy()
    shapedirs[..., 0] += SIZE_SPREAD * added
    joints, joint_dirs = space.joint_template.copy(), space.joint_shapedirs.copy()
    joints[4::4], joint_dirs[4::4] = vertices[tips].mean(1), shapedirs[tips].mean(1)
    space = replace(
        space,
        v_template=vertices,
        shapedirs=shapedirs,
        joint_template=joints,
        joint_shapedirs=joint_dirs,
    )
    rest = replace(hand.rest, space=space, tip_vertices=np.array(tips, dtype=np.int32))
    return replace(hand, rest=rest, weights=weights, posedirs=posedirs)


def _ring(vertices: np.ndarray, candidates: np.ndarray, joint: np.ndarray) -> np.ndarray:
    """The vertices of `candidates` whose mean is nearest to `joint`."""
    choices = np.array(list(itertools.combinations(candidates, RING)))
    errors = np.linalg.norm(vertices[choices].mean(1) - joint, axis=1)
    return choices[errors.argmin()]
