"""What a user names as training data becomes a source: data sets with weights, synthetic hands among them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from amvur.data.real import open_dataset
from amvur.data.synthetic.shard_reader import MANIFEST
from amvur.errors import InputError
from amvur.hand.loading import load_hand_model
from amvur.models.network import NetworkConfig
from amvur.training.config import TrainingConfig
from amvur.training.held_out import HeldOut, HeldSamples
from amvur.training.mixture import Mixture, Numbered, Rendered, Renders, ShuffledSet
from amvur.training.preparation import Preparation
from amvur.training.real_sources import Photos, check_dataset, has_3d
from amvur.training.stored_hands import StoredHands

SYNTHETIC = "synthetic"


@dataclass(frozen=True)
class DataChoice:
    """`synthetic` or a folder (a data set, photographs, stored synthetic hands), and its weight."""

    name: str
    weight: float = 1.0


def parse_choice(text: str) -> DataChoice:
    """Read `NAME` or `NAME=WEIGHT`; a path that exists may itself have an equals sign.

    Raises `InputError` for a weight that is no number above 0.
    """
    name, sign, weight = text.rpartition("=")
    if not sign or Path(text).exists():
        return DataChoice(text)
    try:
        value = float(weight)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0 and name):
        raise InputError(f"--data wants synthetic or a folder, then =WEIGHT above 0; found {text!r}.")
    return DataChoice(name, value)


def make_sources(
    texts: Sequence[str],
    synthetic: tuple[Rendered, Rendered],
    network: NetworkConfig,
    weak: bool,
    training: TrainingConfig,
    preparation: Preparation,
) -> tuple[Mixture, HeldOut | None]:
    """Open, check and mix data sets, and hold some pictures of each out; wrong samples are told.

    Held out are about `training.held_out` pictures in the sets' shares: samples that are not trained on
    (`ShuffledSet.hold_out`), and of `synthetic`, hands to train on and others, the latter. None: there are
    too few samples, which is told.

    3D labels of real sets are used only by supervised presets whose hand model is MANO, the model they
    belong to. Raises `InputError` for a data set that cannot be used, and where a supervised preset has
    nothing in 3D, and `TimeIsUp`.
    """
    choices = [parse_choice(text) for text in texts]
    hand = load_hand_model(network.hand_model)
    use_3d = not weak and network.hand_model != "open"
    sets: list[Numbered] = []
    any_3d = False
    for choice in choices:
        folder = Path(choice.name)
        if choice.name != SYNTHETIC and not folder.exists():
            raise InputError(
                f"--data wants {SYNTHETIC} or the folder of a data set, found nothing at {folder}. "
                "Check the path."
            )
        if choice.name == SYNTHETIC:
            sets.append(Renders(synthetic[0]))
            any_3d = True
        elif (folder / MANIFEST).is_file():
            sets.append(StoredHands(choice.name, folder, network.image_px, hand.sha256, training.seed))
            any_3d = True
        else:
            photos = _open_photos(
                choice.name, network.image_px, use_3d, hand.pose_mean, training.seed, preparation
            )
            sets.append(photos)
            any_3d = any_3d or (use_3d and _some_3d(photos.dataset))
    if not weak and not any_3d:
        raise InputError(
            "A supervised preset needs 3D labels, found none that fit in "
            f"{', '.join(c.name for c in choices)}: those of data sets are MANO's and need --hand-model "
            "FILE.pkl. Use --preset weak for 2D labels, or add --data synthetic."
        )
    mixture = Mixture(sets, [choice.weight for choice in choices], training.seed)
    return mixture, _hold_out(mixture, synthetic[1], network.image_px, training.held_out, preparation.say)


def _hold_out(
    mixture: Mixture, synthetic: Rendered, image_px: int, count: int, say: Callable[[str], None]
) -> HeldOut | None:
    """Take pictures of every set out of training, in its share of `count`; None where there are none."""
    parts: list[tuple[Numbered, int]] = []
    for one, share in zip(mixture.sets, mixture.shares, strict=True):
        wanted = max(1, round(count * float(share))) if count else 0
        if not isinstance(one, ShuffledSet):
            parts.append((Renders(synthetic), wanted))
            continue
        places = one.hold_out(wanted)
        parts.append((HeldSamples(one, places, image_px), len(places)))
        told = f"{one.name}: {one.count - len(one.places)} of {one.count} hands are held out of training"
        if wanted and not places:
            told = f"{one.name}: too few hands ({one.count}) to hold some out"
        say(f"{told}; trained on are {len(one.places)}")
    return HeldOut(parts) if sum(number for _, number in parts) else None


def _open_photos(
    name: str,
    image_px: int,
    use_3d: bool,
    pose_mean: Float[np.ndarray, "45"],
    seed: int,
    preparation: Preparation,
) -> Photos:
    """Open a data set of photographs and tell what is wrong with its samples."""
    dataset = open_dataset(Path(name), "training")
    photos = Photos(dataset, image_px, with_3d=use_3d, seed=seed, pose_mean=pose_mean, name=name)
    faults = check_dataset(dataset, use_3d, name, preparation)
    for fault in faults[:5]:
        preparation.say(f"will be skipped: {fault}")
    if len(faults) > 5:
        preparation.say(f"{name}: {len(faults)} samples in all will be skipped")
    return photos


def _some_3d(dataset: object) -> bool:
    """Whether one of the first usable samples has 3D labels."""
    for index in range(min(len(dataset), 50)):  # type: ignore[arg-type]
        try:
            return has_3d(dataset[index])  # type: ignore[index]
        except InputError:
            continue
    return False
