"""Products in blocks: those of whole matrices, whatever the sizes."""

import numpy as np
import pytest

from amvur.geometry.products import column_blocks, product_of_blocks, summed_products


@pytest.mark.parametrize(
    "shape", [(1, 1, 61, 61), (2, 63, 61, 61), (3, 900, 61, 61), (2, 700, 1, 61), (1, 5, 3, 2)]
)
def test_sums_over_rows(rng, shape):
    count, rows, left, right = shape
    a, b = rng.normal(size=(count, rows, left)), rng.normal(size=(count, rows, right))
    np.testing.assert_allclose(summed_products(a, b), a.swapaxes(1, 2) @ b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("rows", [1, 2, 48, 49, 130])
@pytest.mark.parametrize("columns", [1, 63, 64, 4830])
def test_blocks_of_columns(rng, rows, columns):
    a, b = rng.normal(size=(rows, 145)), rng.normal(size=(145, columns))
    np.testing.assert_allclose(product_of_blocks(a, column_blocks(b), columns), a @ b, rtol=1e-10, atol=1e-10)
