"""Push-forwards against Monte Carlo, losses against the written-out formulas."""

import math

import pytest
import torch
from torch.distributions import Normal

from amvur.distributions import joint_distribution, prior_distribution, project_distribution
from amvur.geometry.cameras import project_weak_perspective
from amvur.geometry.rotations import axis_angle_to_matrix
from amvur.losses import beta_negative_log_likelihood, camera_error, divergence, negative_log_likelihood


@pytest.fixture
def vertices():
    generator = torch.Generator().manual_seed(0)
    loc = torch.randn(2, 30, 3, generator=generator).double()
    return Normal(loc, 0.05 + torch.rand(2, 30, 3, generator=generator).double())


@pytest.fixture
def regressor():
    weights = torch.rand(5, 30, generator=torch.Generator().manual_seed(1)).double() ** 4
    return weights / weights.sum(1, keepdim=True)


def test_joints_of_independent_vertices(vertices, regressor):
    torch.manual_seed(0)
    drawn = regressor @ vertices.sample((40_000,))
    joints = joint_distribution(vertices, regressor, "independent")
    torch.testing.assert_close(drawn.std(0), joints.scale, rtol=0.02, atol=0)
    torch.testing.assert_close(drawn.mean(0), joints.loc, rtol=0, atol=0.02)


def test_joints_of_vertices_that_move_together(vertices, regressor):
    torch.manual_seed(0)
    noise = torch.randn(40_000, 2, 1, 3, dtype=torch.float64)
    drawn = regressor @ (vertices.loc + vertices.scale * noise)
    joints = joint_distribution(vertices, regressor)
    torch.testing.assert_close(drawn.std(0), joints.scale, rtol=0.02, atol=0)
    assert (joints.scale >= joint_distribution(vertices, regressor, "independent").scale - 1e-12).all()


def test_projection_moves_the_mean_and_turns_the_scale():
    torch.manual_seed(0)
    joints = Normal(torch.randn(2, 7, 3).double(), 0.01 + torch.rand(2, 7, 3).double())
    camera = (
        torch.tensor([300.0, 200.0]).double(),
        axis_angle_to_matrix(torch.randn(2, 3).double()),
        torch.tensor([[100.0, 50.0], [-300.0, 7.0]]).double(),
    )
    projected = project_distribution(joints, *camera)
    drawn = project_weak_perspective(joints.sample((40_000,)), *camera)
    torch.testing.assert_close(drawn.std(0), projected.scale, rtol=0.02, atol=0)
    exact = project_weak_perspective(joints.loc, *camera)
    torch.testing.assert_close(projected.loc, exact)
    moved = project_distribution(joints, camera[0], camera[1], camera[2] + 1000)
    torch.testing.assert_close(moved.scale, projected.scale)


def test_terms_are_the_written_formulas():
    torch.manual_seed(0)
    q = Normal(torch.randn(4, 3).double(), torch.rand(4, 3).double() + 0.1)
    p = prior_distribution(torch.randn(4, 3).double(), 0.7)
    x = torch.randn(4, 3).double()
    nll = (x - q.loc) ** 2 / (2 * q.scale**2) + (q.scale * math.sqrt(2 * math.pi)).log()
    kl = (p.scale / q.scale).log() + (q.scale**2 + (q.loc - p.loc) ** 2) / (2 * p.scale**2) - 0.5
    torch.testing.assert_close(negative_log_likelihood(q, x), nll)
    torch.testing.assert_close(divergence(q, p), kl)
    assert (divergence(q, p) >= 0).all()
    torch.testing.assert_close(camera_error(x, x + 2), torch.full_like(x, 4))


def test_kl_against_monte_carlo():
    torch.manual_seed(0)
    q = Normal(torch.tensor([0.3]), torch.tensor([0.5]))
    p = Normal(torch.tensor([-0.2]), torch.tensor([0.9]))
    x = q.sample((200_000,))
    torch.testing.assert_close(divergence(q, p), (q.log_prob(x) - p.log_prob(x)).mean(0), rtol=0.02, atol=0)


def test_the_sum_of_both_terms_is_smallest_where_the_variance_is_the_error():
    """formats.md, 5b.4: with σ_p = 1 the two logarithms cancel and the loss is an L1 in disguise."""
    scale = torch.linspace(0.05, 2, 4000).double()[:, None]
    for error in (0.2, 0.7, 1.3):
        q = Normal(torch.zeros_like(scale), scale)
        total = negative_log_likelihood(q, torch.full_like(scale, error)) + divergence(
            q, prior_distribution(torch.zeros_like(scale), 1.0)
        )
        best = int(total[:, 0].argmin())
        assert float(scale[best]) ** 2 == pytest.approx(error, abs=2e-3)
        assert float(total[best]) == pytest.approx(error + 0.5 * math.log(2 * math.pi) - 0.5, abs=1e-5)


def test_beta_weighs_by_the_scale_without_a_gradient():
    raw = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
    loc = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    beta_negative_log_likelihood(Normal(loc, raw), torch.ones(2).double(), beta=1.0).sum().backward()
    torch.testing.assert_close(loc.grad, torch.full((2,), -1.0).double())
