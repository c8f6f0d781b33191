"""Rotations against scipy, autograd and finite differences."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

torch = pytest.importorskip("torch")

from amvur.geometry.rotations import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
)

# Every scale of angle, with the neighbourhoods of 0 and π sampled on purpose.
ANGLES = st.one_of(
    st.floats(0, math.pi),
    st.floats(-18, -1).map(lambda exponent: 10.0**exponent),
    st.floats(-15, -1).map(lambda exponent: math.pi - 10.0**exponent),
    st.sampled_from([0.0, math.pi, math.pi / 2, 1e-3, 1e-3 * (1 - 1e-9)]),
)
AXES = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.1)


def rotation_vector(axis, angle):
    return np.array(axis) / np.linalg.norm(axis) * angle


def tensor(array, dtype=torch.float64):
    return torch.as_tensor(np.asarray(array), dtype=dtype)


@settings(deadline=None)
@given(AXES, ANGLES)
def test_axis_angle_to_matrix_is_scipys(axis, angle):
    vector = rotation_vector(axis, angle)
    ours = axis_angle_to_matrix(tensor(vector)).numpy()
    np.testing.assert_allclose(ours, Rotation.from_rotvec(vector).as_matrix(), atol=1e-12)


@settings(deadline=None)
@given(AXES, ANGLES)
def test_matrix_to_axis_angle_undoes_it(axis, angle):
    vector = rotation_vector(axis, angle)
    back = matrix_to_axis_angle(axis_angle_to_matrix(tensor(vector))).numpy()
    assert np.linalg.norm(back) <= math.pi + 1e-12
    # At π the axis' sign is free, so the turns are compared, not the vectors.
    difference = Rotation.from_rotvec(back).inv() * Rotation.from_rotvec(vector)
    assert difference.magnitude() < 1e-7
    if angle < math.pi - 1e-6:
        np.testing.assert_allclose(back, vector, atol=1e-8)


@settings(deadline=None, max_examples=30)
@given(AXES, ANGLES)
def test_float32_stays_close_near_0_and_pi(axis, angle):
    vector = rotation_vector(axis, angle)
    matrix = axis_angle_to_matrix(tensor(vector, torch.float32))
    np.testing.assert_allclose(matrix.numpy(), Rotation.from_rotvec(vector).as_matrix(), atol=2e-6)
    back = matrix_to_axis_angle(matrix).double().numpy()
    assert (Rotation.from_rotvec(back).inv() * Rotation.from_rotvec(vector)).magnitude() < 2e-3


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-7, 1e-3, 1.0, 3.0, math.pi - 1e-6])
def test_gradient_of_the_matrix_is_finite_and_right(angle):
    vector = tensor(rotation_vector([0.3, -0.5, 0.8], angle)).requires_grad_()
    assert torch.autograd.gradcheck(axis_angle_to_matrix, vector, eps=1e-6, atol=1e-6)


def test_derivative_at_0_is_the_cross_product():
    jacobian = torch.autograd.functional.jacobian(axis_angle_to_matrix, torch.zeros(3, dtype=torch.float64))
    crossed = np.stack([np.cross(axis, np.eye(3)).T for axis in np.eye(3)])
    np.testing.assert_allclose(jacobian.permute(2, 0, 1), crossed, atol=1e-15)


def test_any_batch_axes():
    vectors = torch.rand(2, 3, 4, 3, dtype=torch.float64)
    whole = axis_angle_to_matrix(vectors)
    assert whole.shape == (2, 3, 4, 3, 3)
    np.testing.assert_allclose(whole[1, 2, 3], axis_angle_to_matrix(vectors[1, 2, 3]), atol=1e-15)
    assert matrix_to_axis_angle(axis_angle_to_matrix(vectors)).shape == vectors.shape
