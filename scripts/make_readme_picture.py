"""Make docs/images/readme.jpg from the program's own results: python scripts/make_readme_picture.py"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from amvur import HandReconstruction, Reconstructor, draw_overlay, load_image
from amvur.geometry.rotations import axis_angle_to_matrix
from amvur.render import render_hand

ROOT = Path(__file__).parents[1]
TILE = 320
NAMES = ("open_palm", "pointing_left", "pinch")
TURNS_DEG = (0.0, 75.0, 180.0)


def main() -> None:
    reconstructor = Reconstructor()
    rows = []
    for name in NAMES:
        image = load_image(ROOT / "examples" / f"{name}.jpg").pixels
        hands = reconstructor(image)
        window = _window(hands[0], image.shape)
        drawn = Image.fromarray(draw_overlay(image, hands))
        overlay = np.asarray(drawn.resize((image.shape[1], image.shape[0])))
        tiles = [_crop(image, window), _crop(overlay, window)]
        tiles += [_turned(hands[0], angle) for angle in TURNS_DEG]
        rows.append(np.concatenate(tiles, axis=1))
    Image.fromarray(np.concatenate(rows)).save(ROOT / "docs/images/readme.jpg", quality=85)


def _window(hand: HandReconstruction, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return left, top and side of a square around the hand, inside the picture."""
    low, high = hand.joints_2d.min(0), hand.joints_2d.max(0)
    side = int(min(1.6 * (high - low).max(), min(shape[:2])))
    corner = np.clip((low + high) / 2 - side / 2, 0, [shape[1] - side, shape[0] - side]).astype(int)
    return int(corner[0]), int(corner[1]), side


def _crop(image: np.ndarray, window: tuple[int, int, int]) -> np.ndarray:
    x, y, side = window
    crop = Image.fromarray(image[y : y + side, x : x + side])
    return np.asarray(crop.resize((TILE, TILE), Image.Resampling.LANCZOS))


def _turned(hand: HandReconstruction, angle_deg: float) -> np.ndarray:
    """Render the textured mesh turned about the vertical axis."""
    vertices = torch.as_tensor(hand.vertices).double()
    middle = (vertices.max(0).values + vertices.min(0).values) / 2
    turn = axis_angle_to_matrix(torch.tensor([0.0, np.deg2rad(angle_deg), 0.0], dtype=torch.float64))
    moved = (vertices - middle) @ turn.T + torch.tensor([0.0, 0.0, 0.6])
    reach = float((vertices - middle).norm(dim=-1).max())
    focal = 0.5 * TILE * (0.6 - reach) / reach  # whatever the turn, the hand fits
    camera = torch.tensor([[[focal, 0, TILE / 2], [0, focal, TILE / 2], [0, 0, 1.0]]])
    pixels, alpha = render_hand(
        moved[None].float(),
        torch.as_tensor(hand.faces),
        camera,
        torch.as_tensor(hand.vertex_colors)[None],
        TILE,
        TILE,
    )
    cover = alpha[0, ..., None].numpy()
    return (255 * np.clip(cover * pixels[0].numpy() + (1 - cover) * 0.96, 0, 1)).astype(np.uint8)


if __name__ == "__main__":
    main()
