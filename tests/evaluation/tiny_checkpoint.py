"""A small untrained network as a checkpoint folder."""

from dataclasses import asdict

import torch

from amvur.checkpoint import save_checkpoint
from amvur.models.network import NetworkConfig, make_network
from amvur.models.prior_net import PriorNetConfig


def write_checkpoint(folder, seed=0, hand_model="open", image_px=64):
    torch.manual_seed(seed)
    config = NetworkConfig(
        backbone="mobilenetv3_small_050",
        feature_width=16,
        amvur_hidden=8,
        image_px=image_px,
        hand_model=str(hand_model),
        prior_net=PriorNetConfig(hidden=16),
    )
    network = make_network(config)
    save_checkpoint(
        folder,
        asdict(config),
        network.state_dict(),
        hand_model=network.hand.name,
        hand_model_sha256=network.hand.arrays.sha256,
    )
    return folder
