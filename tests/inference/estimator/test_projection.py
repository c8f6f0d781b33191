"""The camera, and its derivative against finite differences."""

import numpy as np
from truth import INTRINSICS, project_numpy

from amvur.inference.estimator.projection import project, project_with_jacobian

SKEWED = np.array([[800.0, 3, 320], [0, 780, 240], [0, 0, 1]])


def test_pixels_and_their_derivative(rng):
    points, cameras, h = rng.normal(size=(2, 5, 3)), np.stack([INTRINSICS, SKEWED]), 1e-6
    points[..., 2] += 4
    pixels, jacobian = project_with_jacobian(points, cameras)
    wanted = np.stack([project_numpy(p, k) for p, k in zip(points, cameras, strict=True)])
    np.testing.assert_allclose(pixels, wanted, rtol=1e-12)
    np.testing.assert_allclose(project(points, cameras), wanted, rtol=1e-12)
    for axis, step in enumerate(h * np.eye(3)):
        numeric = (project(points + step, cameras) - project(points - step, cameras)) / (2 * h)
        np.testing.assert_allclose(jacobian[..., axis], numeric, rtol=1e-4, atol=1e-4)


def test_in_and_behind_the_lens_all_stays_finite():
    points = np.array([[[0.1, 0.2, 0.0], [0.1, 0.2, -1.0]]])
    assert all(np.isfinite(x).all() for x in project_with_jacobian(points, INTRINSICS[None]))
