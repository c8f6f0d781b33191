"""A few points of the skin: against the whole mesh, and their Jacobian against finite differences."""

import numpy as np
import pytest
import torch
from factories import random_hand
from test_landmark_chain import ZERO, moved, random_state

from amvur.hand.landmarks import N_PARAMETERS, make_chain
from amvur.hand.model import HandModel
from amvur.hand.open_hand import load_open_hand
from amvur.hand.surface import surface_and_jacobian, surface_points


@pytest.fixture(params=["random", "open"])
def model(request):
    arrays = random_hand(3) if request.param == "random" else load_open_hand("right")
    return HandModel(arrays, torch.float64)


def some_vertices(model, n=3, m=7):
    return torch.as_tensor(np.random.default_rng(1).integers(0, len(model.v_template), (n, m)))


def test_the_points_are_the_meshs_vertices(model):
    state, chosen = random_state(), some_vertices(model)
    mesh = model.from_matrices(state.rotations, state.betas, state.transl)
    points, _ = surface_and_jacobian(make_chain(model, ZERO), surface_points(model, state, chosen), state)
    wanted = torch.take_along_dim(mesh.vertices, chosen[..., None], 1)
    np.testing.assert_allclose(points, wanted, atol=1e-12)


def test_the_jacobian_is_the_finite_difference(model):
    chain, state, h = make_chain(model, ZERO), random_state(), 1e-6
    surface = surface_points(model, state, some_vertices(model))
    _, jacobian = surface_and_jacobian(chain, surface, state)
    for parameter in range(N_PARAMETERS):
        step = np.zeros(N_PARAMETERS)
        step[parameter] = h
        ahead, _ = surface_and_jacobian(chain, surface, moved(state, step))
        behind, _ = surface_and_jacobian(chain, surface, moved(state, -step))
        np.testing.assert_allclose(jacobian[..., parameter], (ahead - behind) / (2 * h), atol=1e-8)
