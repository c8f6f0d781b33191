"""Matrix products in blocks so small that BLAS computes each on one thread.

The matrices of a hand are small: on several threads, which wait for each other after each product, they take
longer (ten times on a busy machine) and are rounded otherwise than on one.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

_ALONE = 2**18
"""OpenBLAS multiplies on one thread up to so many multiplications (its `SMP_THRESHOLD_MIN` times
`GEMM_MULTITHREAD_THRESHOLD`, interface/gemm.c), ..."""
_ALONE_VECTOR = 9216
"""... and a vector by a matrix up to so many (interface/gemv.c)."""


def summed_products(
    left: Float[np.ndarray, "B R P"], right: Float[np.ndarray, "B R Q"]
) -> Float[np.ndarray, "B P Q"]:
    """Return `leftᵀ @ right` of B pairs of matrices, summed over blocks of their R rows."""
    rows, width = left.shape[1:]
    most = _ALONE_VECTOR // right.shape[2] if width == 1 else _ALONE // (width * right.shape[2])
    size = max(1, min(rows, most))
    blocks = -(-rows // size)
    a, b = (_blocks(x, blocks, size) for x in (left, right))
    product: np.ndarray = (a.swapaxes(-1, -2) @ b).sum(1)
    return product


def column_blocks(matrix: Float[np.ndarray, "K N"], rows: int = 48) -> Float[np.ndarray, "C K n"]:
    """Cut a matrix into blocks of columns for `product_of_blocks` with up to `rows` rows at a time."""
    depth, count = matrix.shape
    size = max(1, min(_ALONE // (depth * rows), _ALONE_VECTOR // depth))
    blocks = -(-count // size)
    padded = np.pad(matrix, [(0, 0), (0, blocks * size - count)])
    return np.ascontiguousarray(padded.reshape(depth, blocks, size).swapaxes(0, 1))


def product_of_blocks(
    left: Float[np.ndarray, "B K"], blocks: Float[np.ndarray, "C K n"], columns: int, rows: int = 48
) -> Float[np.ndarray, "B columns"]:
    """Return `left @ matrix` of the matrix with so many columns that `column_blocks` cut."""
    parts = [left[start : start + rows] @ blocks for start in range(0, max(len(left), 1), rows)]
    whole = np.concatenate(parts, axis=1).swapaxes(0, 1)
    product: np.ndarray = whole.reshape(len(left), whole.shape[1] * whole.shape[2])[:, :columns]
    return product


def _blocks(values: Float[np.ndarray, "B R P"], blocks: int, size: int) -> Float[np.ndarray, "B C r P"]:
    """Cut rows into blocks, the last filled with zeros."""
    missing = blocks * size - values.shape[1]
    padded = np.pad(values, [(0, 0), (0, missing), (0, 0)]) if missing else values
    return padded.reshape(len(values), blocks, size, values.shape[2])
