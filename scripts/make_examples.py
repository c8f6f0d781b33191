"""Render the sample pictures of `examples/` (no photograph may be shipped).

python scripts/make_examples.py
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rendered_hands import with_forearm
from scipy.ndimage import gaussian_filter
from skin import make_pattern

from amvur.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from amvur.hand.model import HandModel
from amvur.hand.open_hand import load_open_hand
from amvur.hand.poses import named_pose
from amvur.render import Lighting, render_hand

WIDTH, HEIGHT, FOCAL = 640, 480, 620.0
EXAMPLES = Path(__file__).parents[1] / "examples"


@dataclass(frozen=True)
class Placed:
    """A hand in a picture: pose by name, turns about x, y, z (degrees), position (m), seed of its skin."""

    pose: str
    turn_deg: tuple[float, float, float]
    position: tuple[float, float, float]
    skin: int
    left: bool = False


PICTURES = {
    "open_palm": [Placed("spread", (0, 15, 0), (0.0, 0.09, 0.48), 3)],
    "pointing_left": [Placed("point", (10, 200, 15), (0.02, 0.09, 0.45), 15, left=True)],
    "pinch": [Placed("pinch", (0, 60, -20), (0.0, 0.07, 0.42), 8)],
    "two_hands": [
        Placed("relaxed", (5, 170, -10), (0.12, 0.09, 0.55), 22),
        Placed("victory", (0, 10, 10), (-0.12, 0.10, 0.55), 22, left=True),
    ],
}


def main() -> None:
    EXAMPLES.mkdir(exist_ok=True)
    model = HandModel(load_open_hand("right"), torch.float64)
    pattern = make_pattern(model)
    for number, (name, hands) in enumerate(PICTURES.items()):
        picture = _background(np.random.default_rng(number))
        for hand in hands:
            pixels, alpha = _render(model, pattern, hand)
            picture = alpha * pixels + (1 - alpha) * picture
        noise = np.random.default_rng(100 + number).normal(0, 0.012, picture.shape)
        picture = gaussian_filter(picture, (0.5, 0.5, 0)) + noise
        image = Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))
        image.save(EXAMPLES / f"{name}.jpg", quality=88)


def _render(model: HandModel, pattern, hand: Placed) -> tuple[np.ndarray, np.ndarray]:
    arrays = model.arrays
    pose = torch.as_tensor(named_pose(hand.pose, arrays.pose_axes, arrays.rest_angles))[None].double()
    # Fingers (-x) up, palm (-y) to the camera (OpenCV: y down, z forward), then the asked turns.
    upright = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    turns = [
        axis_angle_to_matrix(torch.eye(3, dtype=torch.float64)[i] * np.deg2rad(hand.turn_deg[i]))
        for i in range(3)
    ]
    rotation = turns[2] @ turns[1] @ turns[0] @ upright
    mirror = -1.0 if hand.left else 1.0
    position = torch.tensor([[mirror * hand.position[0], *hand.position[1:]]], dtype=torch.float64)
    mesh = model(matrix_to_axis_angle(rotation)[None], pose, torch.zeros(1, 10).double(), position)
    vertices, faces, colors = with_forearm(model, pattern, mesh, np.random.default_rng(hand.skin))
    vertices = vertices * torch.tensor([mirror, 1.0, 1.0])
    faces = faces.flip(-1) if hand.left else faces
    camera = torch.tensor([[[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]]])
    light = Lighting(
        torch.tensor([[[-0.5, -0.8, -1.0], [0.9, 0.0, -0.6]]]),
        torch.tensor([[[0.62, 0.6, 0.56], [0.14, 0.15, 0.18]]]),
        torch.tensor([[0.3, 0.3, 0.32]]),
        specular=0.05,
    )
    pixels, alpha = render_hand(
        vertices[None].float(), faces, camera, colors[None].float(), HEIGHT, WIDTH, lighting=light
    )
    return pixels[0].numpy(), alpha[0, ..., None].numpy()


def _background(rng: np.random.Generator) -> np.ndarray:
    """A blurred room: broad soft patches and a few out-of-focus edges."""
    base = rng.uniform(0.35, 0.6) + 0.05 * rng.normal(size=3)
    picture = np.tile(base, (HEIGHT, WIDTH, 1))
    for _ in range(12):
        x, y = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT)
        w, h = rng.uniform(30, 260, 2)
        x0, x1, y0, y1 = int(max(x - w, 0)), int(x + w), int(max(y - h, 0)), int(y + h)
        picture[y0:y1, x0:x1] += rng.normal(0, 0.09) + rng.normal(0, 0.02, 3)
    return np.clip(gaussian_filter(picture, (9, 9, 0)), 0, 1)


if __name__ == "__main__":
    main()
