"""The rasteriser's inner loop for CPUs, compiled by numba on first use and cached on disk.

Importing this module imports numba: `amvur.render` does so only when it rasterises on a CPU. The kernel
is the same arithmetic, in the same order, as `_raster_torch.nearest_faces`; a test compares the ids. It
runs on one thread without the interpreter's lock: numba's own threads abort the process when two Python
threads enter a parallel kernel at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64
from numpy.typing import NDArray

from amvur.compiled import compiled


def _fill(
    corners: Float64[NDArray[Any], "B F 3 3"],
    bounds: Int64[NDArray[Any], "B F 4"],
    sign: Float64[NDArray[Any], "B F"],
    nearest: Float32[NDArray[Any], "B H W"],
    pix_to_face: Int64[NDArray[Any], "B H W"],
    bary_coords: Float[NDArray[Any], "B H W 3"],
    zbuf: Float[NDArray[Any], "B H W"],
) -> None:
    """Draw every face, in order, into the last four arrays; the first three are a `Triangles`.

    `nearest` starts at infinity. Depths are compared as float32, so that two faces which meet in an
    edge tie there instead of being told apart by a rounding error; the first face drawn then stays.
    """
    for b in range(corners.shape[0]):
        for f in range(corners.shape[1]):
            s = sign[b, f]
            if s == 0.0:
                continue
            au, av, aw = corners[b, f, 0, 0], corners[b, f, 0, 1], corners[b, f, 0, 2]
            bu, bv, bw = corners[b, f, 1, 0], corners[b, f, 1, 1], corners[b, f, 1, 2]
            cu, cv, cw = corners[b, f, 2, 0], corners[b, f, 2, 1], corners[b, f, 2, 2]
            for y in range(bounds[b, f, 1], bounds[b, f, 3]):
                py = y + 0.5
                ay, by, cy = av - py, bv - py, cv - py
                for x in range(bounds[b, f, 0], bounds[b, f, 2]):
                    px = x + 0.5
                    ax, bx, cx = au - px, bu - px, cu - px
                    ea = s * (bx * cy - by * cx)
                    eb = s * (cx * ay - cy * ax)
                    ec = s * (ax * by - ay * bx)
                    if ea < 0.0 or eb < 0.0 or ec < 0.0:
                        continue
                    total = ea + eb + ec
                    if not total > 0.0:
                        continue
                    wa, wb, wc = ea * aw, eb * bw, ec * cw
                    inverse = 1.0 / (wa + wb + wc)
                    z = total * inverse
                    if np.float32(z) < nearest[b, y, x]:
                        nearest[b, y, x] = np.float32(z)
                        pix_to_face[b, y, x] = f
                        bary_coords[b, y, x, 0] = wa * inverse
                        bary_coords[b, y, x, 1] = wb * inverse
                        bary_coords[b, y, x, 2] = wc * inverse
                        zbuf[b, y, x] = z


fill: Callable[..., None] = compiled(_fill)
