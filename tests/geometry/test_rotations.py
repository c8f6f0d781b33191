"""Rotations against scipy, autograd and finite differences."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from amvur.geometry.rotations import (
    axis_angle_to_matrix,
    inverse_right_jacobian,
    matrix_to_axis_angle,
    skew,
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
    np.testing.assert_allclose(jacobian.permute(2, 0, 1), skew(torch.eye(3, dtype=torch.float64)), atol=1e-15)


def test_skew_is_the_cross_product(rng):
    a, b = tensor(rng.normal(size=(4, 5, 3))), tensor(rng.normal(size=(4, 5, 3)))
    ours = (skew(a) @ b[..., None])[..., 0]
    np.testing.assert_allclose(ours, np.cross(a.numpy(), b.numpy()), atol=1e-14)


def log_after_a_turn(vector, turn):
    """log(exp(vector) exp(turn)) by scipy, on the branch that continues `vector`."""
    log = (Rotation.from_rotvec(vector) * Rotation.from_rotvec(turn)).as_rotvec()
    angle = np.linalg.norm(log)
    if angle == 0:
        return log
    branches = [log / angle * (angle + 2 * math.pi * k) for k in (-1, 0, 1)]
    return min(branches, key=lambda branch: np.linalg.norm(branch - vector))


@settings(deadline=None)
@given(AXES, st.one_of(ANGLES, st.floats(math.pi, 2 * math.pi - 0.3)))
def test_inverse_right_jacobian_against_finite_differences(axis, angle):
    vector, step = rotation_vector(axis, angle), 1e-5
    columns = [
        (log_after_a_turn(vector, step * e) - log_after_a_turn(vector, -step * e)) / (2 * step)
        for e in np.eye(3)
    ]
    ours = inverse_right_jacobian(tensor(vector)).numpy()
    np.testing.assert_allclose(ours, np.stack(columns, 1), atol=1e-6 * (1 + np.abs(ours).max()))


@pytest.mark.parametrize("angle", [1e-4, 0.01, 0.5, 2.0, 3.0])
def test_inverse_right_jacobian_against_autograd(angle):
    vector = tensor(rotation_vector([0.2, 0.9, -0.4], angle))
    start = axis_angle_to_matrix(vector)

    def log(turn):
        return matrix_to_axis_angle(start @ axis_angle_to_matrix(turn))

    expected = torch.autograd.functional.jacobian(log, torch.zeros(3, dtype=torch.float64))
    np.testing.assert_allclose(inverse_right_jacobian(vector), expected, atol=1e-6)


@settings(deadline=None)
@given(AXES, ANGLES)
def test_inverse_right_jacobian_keeps_the_axis(axis, angle):
    vector = tensor(rotation_vector(axis, angle))
    np.testing.assert_allclose(inverse_right_jacobian(vector) @ vector, vector, atol=1e-12)


def test_inverse_right_jacobian_is_smooth_where_the_series_ends():
    vectors = tensor([[0.999999e-3, 0, 0], [1.000001e-3, 0, 0]])
    below, above = inverse_right_jacobian(vectors)
    np.testing.assert_allclose(below, above, atol=1e-8)
    low, high = inverse_right_jacobian(vectors.float())
    np.testing.assert_allclose(low, high, atol=1e-6)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-3, 1.0, math.pi])
def test_inverse_right_jacobian_has_finite_gradients(angle):
    vector = tensor(rotation_vector([0.0, 0.6, 0.8], angle)).requires_grad_()
    inverse_right_jacobian(vector).square().sum().backward()
    assert torch.isfinite(vector.grad).all()


def test_any_batch_axes():
    vectors = torch.rand(2, 3, 4, 3, dtype=torch.float64)
    for function in (axis_angle_to_matrix, inverse_right_jacobian, skew):
        whole = function(vectors)
        assert whole.shape == (2, 3, 4, 3, 3)
        np.testing.assert_allclose(whole[1, 2, 3], function(vectors[1, 2, 3]), atol=1e-15)
    assert matrix_to_axis_angle(axis_angle_to_matrix(vectors)).shape == vectors.shape
