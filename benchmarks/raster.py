"""Time rasterising, shading and texturing one open hand; print one JSON object.

Warm medians in milliseconds, without the first call's compilation; ratios are to the torch reference of
the same run, which a busy machine slows as much. Usage: `python benchmarks/raster.py [--repeats 30]`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import torch
from timing import machine

from amvur.geometry.cameras import project
from amvur.hand.model import HandModel
from amvur.hand.open_hand import load_open_hand
from amvur.inference.texture.sampling import sample_vertex_colors
from amvur.render import rasterize, render_hand, shade

SIZES = ((224, 224), (640, 480))
FILL = 0.8


def median_ms(function: Callable[[], object], repeats: int) -> float:
    for _ in range(3):
        function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return round(1e3 * float(np.median(times)), 2)


def posed_hand() -> tuple[torch.Tensor, torch.Tensor]:
    model = HandModel(load_open_hand())
    pose = 0.2 * torch.randn(1, 45, generator=torch.Generator().manual_seed(0))
    mesh = model(torch.tensor([[1.2, 0.3, 0.4]]), pose, torch.zeros(1, 10))
    return mesh.vertices - mesh.vertices.mean(1, keepdim=True) + torch.tensor([0, 0, 0.5]), model.faces


def camera_around(vertices: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """The camera in which the hand fills most of the image's shorter side."""
    places = project(vertices, torch.eye(3)[None])[0]
    low, high = places.amin(0), places.amax(0)
    focal = FILL * min(width, height) / float((high - low).max())
    x, y = (torch.tensor([width, height]) / 2 - focal * (low + high) / 2).tolist()
    return torch.tensor([[[focal, 0, x], [0, focal, y], [0, 0, 1]]])


def measure(repeats: int) -> dict[str, object]:
    vertices, faces = posed_hand()
    colors = torch.tensor([0.78, 0.6, 0.51]).expand_as(vertices)
    results: dict[str, object] = {}
    for width, height in SIZES:
        camera = camera_around(vertices, width, height)
        raster = rasterize(vertices, faces, camera, height, width)
        size = (vertices, faces, camera, height, width)
        reference = median_ms(lambda size=size: rasterize(*size, backend="torch"), repeats)
        fast = median_ms(lambda size=size: rasterize(*size, backend="numba"), repeats)
        shading = median_ms(lambda r=raster: shade(r, vertices, faces, colors), repeats)
        rendering = median_ms(
            lambda c=camera, h=height, w=width: render_hand(vertices, faces, c, colors, h, w), repeats
        )
        results[f"{width}x{height}"] = {
            "covered": round(float(raster.mask.float().mean()), 3),
            "torch_ms": reference,
            "numba_ms": fast,
            "shade_ms": shading,
            "render_hand_ms": rendering,
            "numba_over_torch": round(fast / reference, 4),
        }
    for width, height in (*SIZES, (4000, 3000)):
        image = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
        camera = camera_around(vertices, width, height)[0].numpy()
        arguments = (image, vertices[0].numpy(), faces.numpy(), camera)
        results[f"texture_{width}x{height}_ms"] = median_ms(
            lambda a=arguments: sample_vertex_colors(*a), repeats
        )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=30)
    repeats = parser.parse_args().repeats
    print(json.dumps({**machine(), **measure(repeats)}, indent=1))


if __name__ == "__main__":
    main()
