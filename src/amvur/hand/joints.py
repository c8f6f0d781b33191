"""Joint orders and names of the field, and the maps between them (`formats.md` facts, one place)."""

from __future__ import annotations

JOINT_NAMES: tuple[str, ...] = (
    "wrist",
    "thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip",
    "index_mcp", "index_pip", "index_dip", "index_tip",
    "middle_mcp", "middle_pip", "middle_dip", "middle_tip",
    "ring_mcp", "ring_pip", "ring_dip", "ring_tip",
    "little_mcp", "little_pip", "little_dip", "little_tip",
)  # fmt: skip
"""The 21 joints in the order of this package (that of FreiHAND, OpenPose and MediaPipe)."""

BONE_NAMES: tuple[str, ...] = (
    "wrist",
    "index_mcp", "index_pip", "index_dip",
    "middle_mcp", "middle_pip", "middle_dip",
    "little_mcp", "little_pip", "little_dip",
    "ring_mcp", "ring_pip", "ring_dip",
    "thumb_cmc", "thumb_mcp", "thumb_ip",
)  # fmt: skip
"""The 16 bones in MANO's order, each named after the joint it turns about."""

BONE_PARENTS: tuple[int, ...] = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)

JOINT_PARENTS: tuple[int, ...] = tuple(-1 if j == 0 else (0 if j % 4 == 1 else j - 1) for j in range(21))
"""The parent of each of the 21 joints: the joint before it in its finger, or the wrist."""

JOINT_BONES: tuple[int, ...] = (0, 13, 14, 15, 15, 1, 2, 3, 3, 4, 5, 6, 6, 10, 11, 12, 12, 7, 8, 9, 9)
"""The bone that carries each of the 21 joints (a tip is carried by its last bone)."""

BONE_JOINTS: tuple[int, ...] = (0, 5, 6, 7, 9, 10, 11, 17, 18, 19, 13, 14, 15, 1, 2, 3)
"""The joint about which each of the 16 bones turns."""

TIP_JOINTS: tuple[int, ...] = (4, 8, 12, 16, 20)

FINGERS: tuple[str, ...] = ("thumb", "index", "middle", "ring", "little")
