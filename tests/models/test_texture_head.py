"""The texture head: factored against dense, what hidden vertices may depend on, colors and scales in bounds."""

import pytest
import torch

from amvur.models.landmark_trunk import LandmarkTrunk
from amvur.models.texture import GlobalColors, TextureConfig, TextureHead, VertexEvidence


def make_head(dtype=torch.float64, heads=2):
    torch.manual_seed(0)
    head = TextureHead(TextureConfig(features=7, pooled=11, shared=9, token=5, heads=heads, hidden=16)).to(
        dtype
    )
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return head


def make_evidence(dtype=torch.float64, batch=2, vertices=40):
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64).to(dtype)

    visible = draw(batch, vertices) < 0.5
    return VertexEvidence(draw(batch, vertices, 7), draw(batch, vertices, 3), visible, draw(batch, 11))


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_factored_equals_dense(heads, dtype, tolerance):
    head, evidence = make_head(dtype, heads), make_evidence(dtype)
    ours, reference = head(evidence), head(evidence, dense=True)
    for name in ("loc", "scale", "visibility_logit"):
        torch.testing.assert_close(getattr(ours, name), getattr(reference, name), rtol=0, atol=tolerance)


def test_gradients_are_those_of_the_dense_form():
    head, evidence = make_head(), make_evidence()
    gradients = []
    for dense in (False, True):
        found = head(evidence, dense=dense)
        loss = (found.loc.square().sum() + found.scale.log().sum()) + found.visibility_logit.sum()
        gradients.append(torch.autograd.grad(loss, list(head.parameters())))
    largest = max(float(g.abs().max()) for g in gradients[1])
    for ours, reference in zip(*gradients, strict=True):
        assert (ours - reference).abs().max() <= 1e-9 * largest


def test_queries_are_exact_and_keys_only_lose_what_is_hidden():
    head, evidence = make_head(), make_evidence(batch=1)
    whole = head(evidence)
    queries = torch.tensor([[5, 0, 39, 5]])
    seen = evidence.visible[0].nonzero().T
    some = head(evidence, queries, seen)
    torch.testing.assert_close(some.loc, whole.loc[:, queries[0]], rtol=0, atol=1e-9)
    fewer = head(evidence, queries, seen[:, 1:])
    assert (fewer.loc - some.loc).abs().max() > 1e-6


def test_what_lies_before_a_hidden_vertex_reaches_no_other_vertex():
    head, evidence = make_head(), make_evidence(batch=1)
    hidden = int((~evidence.visible[0]).nonzero()[0])
    colors = evidence.colors.clone()
    colors[0, hidden] = 1 - colors[0, hidden]
    changed = head(VertexEvidence(evidence.features, colors, evidence.visible, evidence.pooled))
    others = torch.arange(40) != hidden
    torch.testing.assert_close(changed.loc[0, others], head(evidence).loc[0, others], rtol=0, atol=1e-9)


def test_no_visible_vertex_still_gives_finite_colors():
    head, evidence = make_head(torch.float32), make_evidence(torch.float32)
    nothing = VertexEvidence(
        evidence.features, evidence.colors, torch.zeros_like(evidence.visible), evidence.pooled
    )
    found = head(nothing)
    assert torch.isfinite(found.loc).all()
    assert ((found.loc >= 0) & (found.loc <= 1)).all()
    assert ((found.scale > 0) & (found.scale < 0.5)).all()


def test_an_untrained_head_returns_the_picture_and_means_of_it():
    torch.manual_seed(0)
    head, evidence = TextureHead(TextureConfig(features=7, pooled=11)), make_evidence(torch.float32, batch=1)
    found, visible = head(evidence).loc[0], evidence.visible[0]
    seen = evidence.colors[0, visible]
    assert ((found[~visible] >= seen.amin(0) - 1e-5) & (found[~visible] <= seen.amax(0) + 1e-5)).all()
    assert (found[visible] - seen).abs().mean() < 0.1


def test_the_baseline_knows_one_color_a_vertex():
    network = GlobalColors(11, 40)
    colors = network(torch.randn(3, 11))
    assert colors.shape == (3, 40, 3)
    assert ((colors > 0) & (colors < 1)).all()


def test_the_pyramid_is_what_the_trunk_sees_at_four_strides():
    trunk = LandmarkTrunk()
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    maps = trunk.pyramid(images)
    coarsest, shallow = trunk.early(images)
    torch.testing.assert_close(maps[0], shallow)
    torch.testing.assert_close(maps[-1], coarsest)
    assert [m.shape[-1] for m in maps] == [112, 56, 28, 14]
    assert tuple(m.shape[1] for m in maps) == trunk.level_widths
    moved = trunk.pyramid(images.roll(32, -1))  # maps follow the picture, away from what the edges see
    torch.testing.assert_close(moved[1][..., 20:36, 24:36], maps[1][..., 20:36, 16:28], rtol=0.05, atol=0.05)
