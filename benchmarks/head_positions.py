"""How the unit of positions decides what the AMVUR head can learn (docs/experiments/attention.md).

    python benchmarks/head_positions.py

Fits 32 random hands, one free feature vector each, for 200 steps (half a minute a row on one core).
"""

import torch
from torch.distributions import Normal

from amvur.hand.loading import load_hand_model
from amvur.hand.model import HandModel
from amvur.hand.prior import make_prior
from amvur.losses import beta_negative_log_likelihood
from amvur.models.amvur import AmvurConfig, AmvurHead

HANDS, STEPS, EVERY, RATE = 32, 200, 5, 2e-3
ROWS = ((0.1, 2), (0.02, 2), (0.005, 2), (0.005, 3))


def error_mm(position_unit_m: float, layers: int) -> float:
    torch.manual_seed(0)
    hand = HandModel(load_hand_model("open"))
    generator, prior = torch.Generator().manual_seed(0), make_prior(hand)
    pose = prior.axis_angle(prior.sample(HANDS, generator))
    orient = torch.randn(HANDS, 3, generator=generator)
    mesh = hand(orient, pose, torch.randn(HANDS, 10, generator=generator))
    truth = 100 * (mesh.vertices - mesh.joints[:, :1])[:, ::EVERY]
    rest = hand(*(torch.zeros(1, n) for n in (3, 45, 10)))
    root = rest.joints[0, 0]
    config = AmvurConfig(256, 256, position_unit_m=position_unit_m, mlp_layers=layers)
    head = AmvurHead((rest.vertices[0] - root)[::EVERY], rest.joints[0] - root, config)
    feature = torch.nn.Parameter(torch.randn(HANDS, 256))
    optimizer = torch.optim.Adam([*head.parameters(), feature], RATE)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = RATE * min(1, (step + 1) / 50) * (1 - 0.95 * step / STEPS)
        found = head(feature)
        scaled = Normal(100 * found.loc, 100 * found.scale, validate_args=False)
        loss = beta_negative_log_likelihood(scaled, truth).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
    return float(10 * (scaled.loc - truth).norm(dim=-1).mean())


if __name__ == "__main__":
    torch.set_num_threads(1)
    for unit, layers in ROWS:
        print(f"unit {1000 * unit:5.0f} mm, {layers} layers: {error_mm(unit, layers):5.1f} mm", flush=True)
