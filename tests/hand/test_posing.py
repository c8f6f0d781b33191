"""A posed mesh in numpy: against the model in torch, for the open hand, a MANO file and random numbers."""

from dataclasses import fields

import numpy as np
import pytest
from factories import random_hand
from test_kinematics import random_state

torch = pytest.importorskip("torch")

from amvur.hand.loading import load_hand_model
from amvur.hand.model import HandModel
from amvur.hand.posing import HandPoser


@pytest.fixture(params=["open", "mano", "random"])
def arrays(request):
    if request.param == "random":
        return random_hand(3)
    name = "open" if request.param == "open" else str(request.getfixturevalue("mano"))
    return load_hand_model(name, "right")


@pytest.mark.parametrize(("dtype", "atol"), [(np.float64, 1e-12), (np.float32, 2e-6)])
def test_the_mesh_is_that_of_the_model_in_torch(arrays, dtype, atol):
    state = random_state(4)
    wanted = HandModel(arrays, torch.float64).from_matrices(
        *(torch.as_tensor(x) for x in vars(state).values())
    )
    found = HandPoser(arrays, dtype)(state)
    for field in fields(found):
        ours = getattr(found, field.name)
        np.testing.assert_allclose(ours, getattr(wanted, field.name), atol=atol, err_msg=field.name)
    assert found.vertices.dtype == found.joints.dtype == dtype


@pytest.mark.parametrize("n", [0, 1])
def test_any_number_of_hands_is_posed(n):
    found = HandPoser(random_hand(3))(random_state(2)[:n])
    assert found.vertices.shape == (n, 23, 3)
    assert found.joints.shape == (n, 21, 3)
