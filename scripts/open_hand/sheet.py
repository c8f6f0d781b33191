"""Contact sheet of the finished asset in named poses (docs/images/open_hand_poses.png)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from .build import OpenHand
from .preview import render

#: Rows: image right, image down, viewing direction.
VIEWS = {
    "back": np.array([[0, 0, -1], [1, 0, 0], [0, -1, 0]], dtype=float),
    "palm": np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], dtype=float),
    "thumb side": np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1]], dtype=float),
}
POSES = (
    "rest",
    "flat",
    "relaxed",
    "spread",
    "pinch",
    "grasp",
    "point",
    "victory",
    "thumbs_up",
    "hook",
    "fist",
)


def write_sheet(hand: OpenHand, path: Path, cell: int = 190) -> None:
    """Draw every pose (column) from three sides (row) and save a small PNG."""
    from amvur.hand.poses import named_pose

    columns = []
    for name in POSES:
        pose = named_pose(name, hand.axes, hand.rest_angles).reshape(15, 3)
        vertices, _ = hand.forward(np.zeros(10), pose)
        center = 0.5 * (vertices.min(0) + vertices.max(0))
        cells = [
            render(vertices, hand.rest.faces, view, size=2 * cell, span=0.215, center=center)
            for view in VIEWS.values()
        ]
        columns.append(np.concatenate(cells, axis=0))
    picture = Image.fromarray(np.concatenate(columns, axis=1))
    picture = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(picture)
    for k, name in enumerate(POSES):
        draw.text((k * cell + 6, 4), name.replace("_", " "), fill=(60, 60, 60))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)
