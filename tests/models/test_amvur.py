"""The factored head against the dense one: outputs, gradients, all variants."""

import pytest
import torch

from amvur.models.amvur import AmvurConfig, AmvurHead
from amvur.models.attention import TokenNorm, feature_tokens
from amvur.models.folded import FoldedHead, folded

VARIANTS = {
    "paper": {},
    "heads": {"heads": 5},
    "deep": {"blocks": 2},
    "normalized": {"normalize": True},
    "all": {"blocks": 2, "heads": 5, "normalize": True},
    "deeper": {"mlp_layers": 3},
}


def make_head(dtype=torch.float64, vertices=60, design="template", **options):
    torch.manual_seed(0)
    template = torch.randn(vertices, 3) * 0.05
    joints = torch.randn(21, 3) * 0.05
    head = AmvurHead(
        template, joints, AmvurConfig(feature_width=32, hidden=16, position_unit_m=0.1, **options), design
    ).to(dtype)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return head


def relative(a, b):
    a, b = a.detach(), b.detach()
    return float((a - b).abs().max() / b.abs().max().clamp_min(1e-30))


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_factored_equals_dense(options, dtype, tolerance):
    head = make_head(dtype, **options)
    feature = torch.randn(3, 32, dtype=dtype)
    ours, reference = head(feature), head.dense(feature)
    assert relative(ours.loc, reference.loc) < tolerance
    assert relative(ours.scale, reference.scale) < tolerance


@pytest.mark.parametrize("options", [o for o in VARIANTS.values() if "normalize" not in o], ids=str)
@pytest.mark.parametrize("design", ["template", "cross", "self"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_folded_weights_are_the_same_function(options, design, dtype, tolerance):
    head = make_head(dtype, design=design, **options)
    feature = torch.randn(3, 32, dtype=dtype)
    ours, reference = FoldedHead(head)(feature), head.dense(feature)
    assert relative(ours.loc, reference.loc) < tolerance
    assert relative(ours.scale, reference.scale) < tolerance


def test_layer_norm_cannot_be_folded():
    head = make_head(normalize=True)
    assert folded(head) is head
    with pytest.raises(ValueError, match="LayerNorm"):
        FoldedHead(head)


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_gradients_are_those_of_the_dense_form(options):
    head = make_head(**options)
    feature = torch.randn(2, 32, dtype=torch.float64, requires_grad=True)
    target = torch.randn(2, 60, 3, dtype=torch.float64) * 0.1
    gradients = []
    for form in (head, head.dense):
        loss = -form(feature).log_prob(target).mean()
        gradients.append(torch.autograd.grad(loss, [feature, *head.parameters()]))
    # Against the largest one: that of a key's bias is 0, since softmax does not see it.
    largest = max(float(g.abs().max()) for g in gradients[1])
    for ours, reference in zip(*gradients, strict=True):
        assert (ours - reference).abs().max() <= 1e-9 * largest


def test_tokens_are_the_feature_with_the_coordinates():
    feature, points = torch.randn(2, 5), torch.randn(4, 3)
    tokens = feature_tokens(feature, points).dense()
    assert torch.equal(tokens[1, 2, :5], feature[1])
    assert torch.allclose(tokens[1, 2, 5:], points[2])


def test_layer_norm_is_torchs():
    norm = TokenNorm(35).double()
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    tokens = feature_tokens(torch.randn(2, 32).double(), torch.randn(7, 3).double())
    assert torch.allclose(norm.factored(tokens).dense(), norm(tokens.dense()), atol=1e-10)


def test_weights_hold_no_hand_model():
    assert not any("vertices" in key or "joints" in key for key in make_head().state_dict())


def test_scale_stays_between_its_limits():
    head = make_head()
    scale = head(1e3 * torch.randn(4, 32, dtype=torch.float64)).scale
    low, high = (head.config.length_unit_m * v for v in head.config.scale_range)
    assert scale.min() >= low * (1 - 1e-9)
    assert scale.max() <= high * (1 + 1e-9)


def test_a_new_head_predicts_the_template():
    template = torch.randn(10, 3) * 0.05
    head = AmvurHead(template, torch.randn(21, 3) * 0.05, AmvurConfig(feature_width=8, hidden=4))
    assert torch.allclose(head(torch.randn(2, 8)).loc, template.expand(2, -1, -1), atol=1e-6)
