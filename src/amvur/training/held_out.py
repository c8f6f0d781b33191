"""How wrong a network is on pictures it never learns from: of the data at hand, or of another seed."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import IterableDataset

from amvur.errors import AmvurError
from amvur.geometry.procrustes import align_similarity
from amvur.hand.model import HandModel
from amvur.training.augment import as_pixels
from amvur.training.mixture import Numbered, NumberedStream, ShuffledSet
from amvur.training.objective import detector_shift, flat_shift
from amvur.training.pool import PoolConfig, SamplePool, SourceEndedError
from amvur.training.preparation import Preparation
from amvur.training.sources import Delivery, Skipped, SkippedSamples, Source
from amvur.training.targets import LabelledImages, targets_of

_CHUNK = 8
_LEAST_JOINTS = 2
"""So many labelled joints a hand must have for its size to be known."""


@dataclass(frozen=True)
class HeldOutErrors:
    """Mean errors: PA-MPJPE (mm) of pictures with 3D truth, and of the others that of 2D joints.

    The latter in percent of the hand's size, the longer side of the box of its labelled joints. None: there
    are no such pictures, or they were not measured. `prior_pa_mpjpe_mm` is that of the prior-net's own hand,
    P, in a network that has AMVUR's, Q, too.
    """

    pa_mpjpe_mm: float | None = None
    error_2d_percent: float | None = None
    prior_pa_mpjpe_mm: float | None = None

    @property
    def figure(self) -> float | None:
        """Return the number that says which of two networks of a run is better: in 3D, if that is known."""
        return self.error_2d_percent if self.pa_mpjpe_mm is None else self.pa_mpjpe_mm

    def __str__(self) -> str:
        """Say what was measured, on what."""
        told = []
        if self.pa_mpjpe_mm is not None:
            prior = self.prior_pa_mpjpe_mm
            beside = "" if prior is None else f" (the prior-net's own hand {prior:.2f} mm)"
            told.append(f"PA-MPJPE of held-out pictures with 3D truth {self.pa_mpjpe_mm:.2f} mm{beside}")
        if self.error_2d_percent is not None:
            told.append(
                f"2D error of held-out pictures {self.error_2d_percent:.2f} % of the hand's size "
                "(against their 2D labels)"
            )
        return ", ".join(told)


class HeldSamples:
    """Samples that a stored set does not train on, each once."""

    def __init__(self, stored: ShuffledSet, places: Sequence[int], image_px: int) -> None:
        """Remember which samples of the set they are."""
        self.stored, self.places, self.image_px = stored, tuple(places), image_px

    def picture(self, number: int) -> Delivery:
        """Return a sample, nothing for one that cannot be used."""
        index = self.places[number]
        try:
            return Delivery(self.stored.image(index))
        except AmvurError as error:
            return Delivery(_no_images(self.image_px), (Skipped(self.stored.name, index, str(error)),))

    def identity(self) -> dict[str, Any]:
        """Return all that the pictures depend on."""
        return {**self.stored.identity(), "places": list(self.places)}


class HeldOut:
    """The held-out parts of several sets, one behind the other; a `Source` that ends."""

    def __init__(self, parts: Sequence[tuple[Numbered, int]]) -> None:
        """Take pictures 0 to n - 1 of every part."""
        self._parts = tuple(parts)
        self._places = [(part, number) for part, count in parts for number in range(count)]

    def __len__(self) -> int:
        """Return the number of pictures, unusable ones included."""
        return len(self._places)

    def picture(self, number: int) -> Delivery:
        """Return picture `number`, or none of a sample that cannot be used."""
        part, own = self._places[number]
        return part.picture(own)

    def stream(self, start: int, count: int | None, batch_size: int) -> IterableDataset[Delivery]:
        """Return pictures start, start + 1, ... as a dataset of batches, each worker its share."""
        left = max(0, len(self) - start)
        return NumberedStream(self, start, left if count is None else min(count, left), batch_size)

    def identity(self) -> dict[str, Any]:
        """Return all that the pictures depend on."""
        return {"held_out": [[part.identity(), count] for part, count in self._parts]}


def draw_held_out(
    source: Source, config: PoolConfig, file: Path, skipped: SkippedSamples, preparation: Preparation
) -> LabelledImages | None:
    """Return the first `config.size` pictures of a source (all of `HeldOut`), None without any.

    They are kept in `file` and taken from there the next time; unusable ones are added to `skipped`. Raises
    `TimeIsUp`.
    """
    whole = isinstance(source, HeldOut)
    count = len(source) if isinstance(source, HeldOut) else config.size
    pool = SamplePool(source, replace(config, size=count, chunk=_CHUNK))
    pool.skipped = skipped
    try:
        if not pool.load(file) or (len(pool) < count and not whole):
            with contextlib.suppress(SourceEndedError):
                chunks = range(0, count, _CHUNK)
                for done in preparation.each(chunks, f"held-out pictures, {_CHUNK} at a time", len(chunks)):
                    pool.fill(done + _CHUNK)
            pool.save(file)
        return pool.take(torch.arange(len(pool))) if len(pool) else None
    finally:
        pool.close()


@torch.no_grad()
def held_out_errors(
    network: nn.Module, images: LabelledImages, hand: HandModel, batch_size: int = 64
) -> HeldOutErrors:
    """Return how wrong a network is on average; network, pictures and hand are on one device.

    The network is put into evaluation mode and back.
    """
    training = network.training
    network.eval()
    solid, flat, prior = [], [], []
    both = getattr(getattr(network, "config", None), "setting", "") == "final"
    for first in range(0, len(images), batch_size):
        part = images[first : first + batch_size]
        prediction = network(as_pixels(part.images))
        if bool(part.has_3d.any()):
            truth = targets_of(part[part.has_3d], hand).joints
            solid.append(_pa_mpjpe_mm(prediction.joints.loc.float()[part.has_3d], truth))
            if both:
                prior.append(_pa_mpjpe_mm(prediction.prior_joints.loc.float()[part.has_3d], truth))
        if not bool(part.has_3d.all()):
            flat.append(_errors_2d_percent(prediction, part, hand)[~part.has_3d])
    network.train(training)
    return HeldOutErrors(_mean(solid), _mean(flat), _mean(prior))


def _mean(errors: Sequence[Tensor]) -> float | None:
    """Return the mean of what could be measured."""
    values = torch.cat([values[~values.isnan()] for values in errors]) if errors else torch.empty(0)
    return float(values.mean()) if len(values) else None


def _pa_mpjpe_mm(found: Float[Tensor, "B 21 3"], truth: Float[Tensor, "B 21 3"]) -> Float[Tensor, "B"]:
    """Return every picture's mean joint error in mm after alignment by a similarity (PA-MPJPE)."""
    # a network that diverged is infinitely wrong; the decomposition would not take its output
    valid = torch.isfinite(found).all(-1).all(-1)
    aligned = align_similarity(torch.where(valid[:, None, None], found, truth), truth)
    error: Tensor = 1000 * torch.linalg.vector_norm(aligned - truth, dim=-1).mean(-1)
    return error.masked_fill(~valid, torch.inf)


def _errors_2d_percent(prediction: Any, images: LabelledImages, hand: HandModel) -> Float[Tensor, "B"]:
    """Return every picture's mean 2D joint error in percent of the hand's size; NaN without labels."""
    found = prediction.joints_2d.loc.float()
    if bool(images.by_detector.any()):
        shift = detector_shift(prediction, hand) * images.by_detector[:, None, None]
        found = found + flat_shift(prediction, shift)
    known = images.joint_confidence > 0
    truth = images.joints_2d * (2 / images.images.shape[1]) - 1
    inside = known[..., None]
    extent = truth.masked_fill(~inside, -torch.inf).amax(1) - truth.masked_fill(~inside, torch.inf).amin(1)
    error = torch.linalg.vector_norm(torch.where(inside, found - truth, 0), dim=-1)
    percent = 100 * error.sum(1) / known.sum(1) / extent.amax(1)
    percent = torch.where(percent.isfinite(), percent, torch.inf)
    errors: Tensor = percent.masked_fill(known.sum(1) < _LEAST_JOINTS, torch.nan)
    return errors


def _no_images(image_px: int) -> LabelledImages:
    """Return a batch of none."""
    shapes = ((3, 3), (3,), (45,), (10,), (3,), (21, 2), (21,))
    return LabelledImages(
        torch.empty(0, image_px, image_px, 3, dtype=torch.uint8), *(torch.empty(0, *s) for s in shapes)
    )
