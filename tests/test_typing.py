"""The run-time check of shapes, which silently checks nothing when it is set up wrongly."""

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from amvur.geometry.cameras import project
from amvur.geometry.rotations import axis_angle_to_matrix
from amvur.structures import Camera


def test_a_wrong_shape_raises():
    with pytest.raises(TypeCheckError, match="axis_angle"):
        axis_angle_to_matrix(torch.zeros(5, 4))


def test_shapes_that_contradict_each_other_raise():
    with pytest.raises(TypeCheckError):
        project(torch.ones(2, 7, 3), torch.ones(3, 3, 3))


def test_a_wrong_dtype_raises():
    with pytest.raises(TypeCheckError):
        axis_angle_to_matrix(torch.zeros(5, 3, dtype=torch.int64))


def test_a_dataclass_checks_its_fields():
    Camera(np.eye(3), "given", 4, 3)
    with pytest.raises(TypeCheckError):
        Camera(np.eye(4), "given", 4, 3)
    with pytest.raises(TypeCheckError):
        Camera(np.eye(3), "guessed", 4, 3)
