"""Move a checkpoint that was trained with an earlier version of the open hand to version 4.

    python scripts/adopt_open_hand.py src/amvur/assets/default

All have the same joints (fingertips to 0.3 mm), skinning and first five betas. Version 3 has less flesh over
the thumb's metacarpal than version 2, version 4 longer fingertips than version 3. The last five betas of
version 1 (0.15 mm and less) were replaced by proportions that its pictures did not vary, so a network trained
on those says 0 of them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from calibrate_uncertainty import write

from amvur.checkpoint import SHARD_BYTES, WEIGHTS, load_checkpoint, save_checkpoint
from amvur.checkpoint_folder import add_onnx, read_config
from amvur.errors import InputError
from amvur.hand.open_hand import load_open_hand
from amvur.models.network import NetworkConfig
from amvur.models.prior_net import output_sizes
from amvur.pretrained import networks_of

KEPT_BETAS = 5
"""The first betas, which mean the same in all versions."""
VERSIONS_BETWEEN = (
    "f781f8f9ff8a55a8dc109427ddfd2e3576bfa7a263a85e9aa02886e5ddc809c8",
    "54e48d4ba0e4a325edd1eaabb492f4e01f73ea610d56766dc11533a7d7faddd7",
)
"""The sha256 of versions 2 and 3."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    args = parser.parse_args()
    found = load_checkpoint(args.checkpoint)
    version_1, newest = (load_open_hand(version=name).sha256 for name in ("open-v1", "open"))
    trained_with = found.config["hand_model"]["sha256"]
    if trained_with not in (version_1, *VERSIONS_BETWEEN):
        raise InputError(f"{args.checkpoint} was not trained with an earlier version of the open hand.")
    if trained_with == version_1 and "prior_net.head.weight" in found.state:  # a texture head knows no betas
        orientation, pose, betas, *_ = output_sizes(NetworkConfig.from_json(found.network).prior_net)
        start = orientation + pose
        for name in ("prior_net.head.weight", "prior_net.head.bias"):
            found.state[name][start + KEPT_BETAS : start + betas] = 0
    made = ("schema", "network", "hand_model", "weights", "onnx")
    rest = {k: v for k, v in found.config.items() if k not in made}
    save_checkpoint(
        args.checkpoint,
        found.network,
        found.state,
        hand_model="open",
        hand_model_sha256=newest,
        dtype=found.config["weights"]["dtype"],
        shard_bytes=None if WEIGHTS in found.config["weights"]["files"] else SHARD_BYTES,
    )
    write(args.checkpoint / "config.json", read_config(args.checkpoint) | rest)
    add_onnx(args.checkpoint, networks_of(args.checkpoint))


if __name__ == "__main__":
    main()
