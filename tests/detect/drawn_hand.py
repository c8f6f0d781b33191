"""A hand drawn from circles and strokes: enough for MediaPipe, and no photograph."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SKIN, SHADOW, NAIL = (224, 172, 140), (196, 140, 112), (240, 205, 190)

# In a square of side 1, palm towards the viewer, fingers up: a left hand (thumb on the left).
JOINTS = np.array([
    [0.52, 0.92],
    [0.40, 0.83], [0.31, 0.74], [0.24, 0.66], [0.18, 0.58],
    [0.39, 0.54], [0.36, 0.41], [0.345, 0.33], [0.335, 0.25],
    [0.49, 0.52], [0.485, 0.37], [0.48, 0.28], [0.478, 0.19],
    [0.58, 0.54], [0.60, 0.40], [0.61, 0.31], [0.62, 0.23],
    [0.66, 0.59], [0.70, 0.48], [0.72, 0.42], [0.74, 0.35],
])  # fmt: skip
WIDTHS = (0.085, 0.078, 0.08, 0.076, 0.066)


def draw_hand(size=320, background=(90, 120, 150)):
    """The picture, (size, size, 3) uint8, and its joints in pixels, (21, 2)."""
    scale = size * 2
    image = Image.new("RGB", (scale, scale), background)
    draw = ImageDraw.Draw(image)

    def stroke(points, width, color):
        points = [tuple(p) for p in np.asarray(points) * scale]
        width = width * scale
        draw.line(points, fill=color, width=round(width), joint="curve")
        for x, y in points:
            draw.ellipse([x - width / 2, y - width / 2, x + width / 2, y + width / 2], fill=color)

    stroke([[0.53, 0.90], [0.55, 1.05]], 0.21, SKIN)
    for inset, color in ((0.012, SHADOW), (0, SKIN)):
        palm = [*JOINTS[[1, 5, 9, 13, 17]].tolist(), [0.64, 0.84], [0.52, 0.92], [0.44, 0.9]]
        draw.polygon([tuple(p) for p in np.array(palm) * scale], fill=SKIN)
        stroke([*palm, palm[0]], 0.06 + inset, SKIN)
        for finger in range(5):
            chain = JOINTS[1 + 4 * finger : 5 + 4 * finger]
            stroke(chain, WIDTHS[finger] + inset, color)
    for finger in range(5):
        chain = JOINTS[1 + 4 * finger : 5 + 4 * finger]
        for joint in chain[1:3]:
            across = np.array([0.6, 0.15]) * WIDTHS[finger] * 0.5
            stroke([joint - across, joint + across], 0.006, SHADOW)
    stroke([[0.37, 0.62], [0.46, 0.60], [0.58, 0.64]], 0.008, SHADOW)
    stroke([[0.37, 0.60], [0.46, 0.72], [0.50, 0.86]], 0.008, SHADOW)
    image = image.filter(ImageFilter.GaussianBlur(scale / 200)).resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(image), JOINTS * size
