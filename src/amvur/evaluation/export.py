"""The first loop: predictions for a data set, streamed into a folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from amvur.evaluation.estimates import Estimates, join
from amvur.evaluation.files import VERTICES
from amvur.evaluation.pictures import Picture, PictureSource
from amvur.evaluation.prediction_files import PredictionFolder
from amvur.hand.mano import TIP_VERTICES

PREDICTIONS = "predictions"
"""Name of the folder of predictions inside that of an evaluation."""


class Subject(Protocol):
    """What is evaluated: see `amvur.evaluation.subjects`.

    `identity` is what tells it from others, in JSON's types; it wants crops of `crop_scale` times the joints'
    box, `image_px` a side.
    """

    @property
    def identity(self) -> dict[str, Any]:
        """What predictions follow from, in JSON's types."""

    @property
    def num_vertices(self) -> int:
        """Vertices of its hand model."""

    @property
    def image_px(self) -> int:
        """Side of the crops that it wants."""

    @property
    def crop_scale(self) -> float:
        """How much of a photograph it wants, in units of the longer side of the joints' box."""

    def estimate(
        self, pictures: Sequence[Picture], with_vertices: bool, tips: Sequence[int] | None
    ) -> Estimates:
        """Return what it says of pictures; `tips` are vertices that take the place of fingertips."""
        ...


@dataclass(frozen=True)
class ExportSettings:
    """`limit` takes the first samples only; the batch size has no influence on results beyond rounding."""

    limit: int | None = None
    batch_size: int = 32
    with_vertices: bool = True


def configuration_of(subject: Subject, source: PictureSource, settings: ExportSettings) -> dict[str, Any]:
    """Return all that predictions follow from, in JSON's types."""
    plain: dict[str, Any] = json.loads(
        json.dumps(
            {
                "amvur": version("amvur"),
                "checkpoint": subject.identity,
                "data": {"name": source.name, **source.identity()},
                "settings": {
                    "with_vertices": settings.with_vertices,
                    "crop_scale": subject.crop_scale,
                    "tips": tips_of(subject, source),
                },
            },
            default=str,
        )
    )
    return plain


def tips_of(subject: Subject, source: PictureSource) -> tuple[int, ...] | None:
    """Return the vertices that the data set calls fingertips, where they are not the hand model's own.

    HO3D puts them on other vertices of MANO than FreiHAND, whose places networks are trained for.
    """
    return TIP_VERTICES["ho3d"] if source.protocol == "ho3d" and subject.num_vertices == VERTICES else None


def export_predictions(
    subject: Subject,
    source: PictureSource,
    output: Path,
    settings: ExportSettings,
    progress: Callable[[int], object] = lambda _: None,
) -> PredictionFolder:
    """Predict what is missing in `output`/predictions and return that folder.

    `progress` is told how many samples are done. Memory holds one part (256 samples), however large the
    set. Raises `OutputError` if the folder holds predictions of another configuration or cannot be
    written, and what reading pictures raises.
    """
    count = len(source) if settings.limit is None else min(settings.limit, len(source))
    folder = PredictionFolder(output / PREDICTIONS, count, configuration_of(subject, source, settings))
    folder.begin()
    missing = folder.missing()
    progress(count - sum(map(len, missing)))
    tips = tips_of(subject, source)
    for part in missing:
        keys, rows = list[str](), list[Estimates]()
        pictures = source.pictures(part.start, part.stop, subject.image_px, subject.crop_scale)
        for batch in _batches(pictures, settings.batch_size):
            keys += [picture.key for picture in batch]
            rows.append(subject.estimate(batch, settings.with_vertices, tips))
            progress(len(batch))
        folder.write(part, keys, join(rows))
    return folder


def _batches(pictures: Iterator[Picture], size: int) -> Iterator[list[Picture]]:
    """Yield pictures in lists of `size`."""
    while batch := list(islice(pictures, size)):
        yield batch
