"""Endless synthetic hands: a seed and an index are a picture, whatever the batch, worker or restart."""

from __future__ import annotations

import hashlib
import itertools
import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from amvur.data.samples import HandBatch
from amvur.data.synthetic.poses import PoseKind, draw_hands
from amvur.data.synthetic.render_batch import SceneRenderer
from amvur.data.synthetic.scene import SceneConfig
from amvur.errors import ImageError, InputError
from amvur.hand.loading import OPEN_HAND, load_hand_model
from amvur.hand.model import HandModel
from amvur.image import find_images, load_image
from amvur.reading import open_regular

RESERVED_SEEDS = {"synth-v1": 20_230_622}
"""Seeds of benchmark sets: refused for anything else, so that nobody trains on a benchmark by accident."""

MAX_SEED = 2**31 - 1
MAX_INDEX = 2**31 - 1
MAX_BACKGROUNDS = 1000
"""Pictures taken from a folder (a few hundred already saturate what a network gains from them)."""


@dataclass(frozen=True)
class Backgrounds:
    """Pictures that can be read, the sha256 of their contents, and why others were skipped."""

    paths: tuple[Path, ...]
    sha256: str
    skipped: tuple[str, ...]


class SyntheticHands:
    """Pictures of random hands with exact labels; sample `index` depends on seed and index only.

    Images are the same to the bit whatever the batch size, the number of workers and the place where a
    run was resumed; labels agree to float32 rounding. Objects can be pickled, so they serve workers.
    """

    def __init__(
        self,
        seed: int,
        hand_model: str | Path = OPEN_HAND,
        size_px: int = 224,
        device: str | torch.device = "cpu",
        backgrounds: str | Path | Backgrounds | None = None,
        config: SceneConfig | None = None,
        *,
        allow_reserved_seed: bool = False,
    ) -> None:
        """Load the hand model and the background folder (None: drawn backgrounds only).

        Raises `InputError` for a seed of a benchmark set (unless allowed), a size below 32 px or a
        useless background folder, and `ModelFileError` for the hand model.
        """
        if not 0 <= seed <= MAX_SEED:
            raise InputError(f"A seed is a whole number from 0 to {MAX_SEED}, found {seed}.")
        if seed in RESERVED_SEEDS.values() and not allow_reserved_seed:
            raise InputError(
                f"Seed {seed} is reserved for a benchmark set, never to be trained on: use another."
            )
        if size_px < 32:
            raise InputError(f"Pictures need at least 32 pixels a side, found {size_px}.")
        if isinstance(backgrounds, str | Path):
            backgrounds = load_backgrounds(Path(backgrounds))
        self.seed, self.size_px, self.config = seed, size_px, config or SceneConfig()
        self.backgrounds = backgrounds
        drawing = HandModel(load_hand_model(hand_model))
        # Hands are drawn on the CPU in small steps, wherever they are rendered, so that they are the same.
        self._drawing = drawing
        self.model = drawing if torch.device(device).type == "cpu" else HandModel(drawing.arrays).to(device)
        paths = () if backgrounds is None else backgrounds.paths
        self._renderer = SceneRenderer(self.model, size_px, self.config, paths)

    def batch(self, indices: Sequence[int] | Int64[Tensor, "B"]) -> HandBatch:
        """Return the samples of these indices, in their order."""
        return self.named_samples(indices)[0]

    def named_samples(
        self, positions: Sequence[int] | Int64[Tensor, "B"]
    ) -> tuple[HandBatch, tuple[str, ...]]:
        """Return the samples of these indices and the names of their kinds of pose; raises `InputError`."""
        numbers = torch.as_tensor(positions, dtype=torch.int64)
        if numbers.ndim != 1 or not len(numbers) or numbers.min() < 0 or numbers.max() > MAX_INDEX:
            raise InputError(f"Indices are a list of whole numbers from 0 to {MAX_INDEX}, found {positions}.")
        with torch.no_grad():
            draws = draw_hands(self._drawing, self.seed, numbers)
            batch = self._renderer.render(self.seed, numbers, draws.betas, draws.hand_pose)
        return batch, tuple(PoseKind(kind).name.lower() for kind in draws.kind.tolist())

    def batches(self, start: int = 0, count: int | None = None, batch_size: int = 32) -> Iterator[HandBatch]:
        """Yield samples start, start + 1, ... in batches; endless where `count` is None."""
        for indices in _index_batches(start, count, batch_size):
            yield self.batch(indices)

    def stream(self, start: int = 0, count: int | None = None, batch_size: int = 32) -> HandStream:
        """Return the same batches as a dataset for torch's `DataLoader(..., batch_size=None)`."""
        return HandStream(self, start, count, batch_size)

    def identity(self) -> dict[str, Any]:
        """Return all that the pictures depend on, in JSON's types."""
        pictures = self.backgrounds
        identity = {
            "amvur": version("amvur"),
            "seed": self.seed,
            "size_px": self.size_px,
            "hand_model": self.model.name,
            "hand_model_sha256": self.model.arrays.sha256,
            "scene": asdict(self.config),
            "backgrounds": None
            if pictures is None
            else {"pictures": len(pictures.paths), "sha256": pictures.sha256},
        }
        plain: dict[str, Any] = json.loads(json.dumps(identity, default=str))
        return plain


class HandStream(IterableDataset[HandBatch]):
    """Batches of `SyntheticHands` for a `DataLoader` with `batch_size=None` and any number of workers.

    Worker w of W takes batches w, w + W, ...; the loader asks its workers in turn, so the order is that
    of a loop without workers. To resume after n samples, start at n.
    """

    def __init__(self, hands: SyntheticHands, start: int, count: int | None, batch_size: int) -> None:
        """Remember what to yield: `count` samples from `start`, endless where it is None."""
        self.hands, self.start, self.count, self.batch_size = hands, start, count, batch_size

    def __iter__(self) -> Iterator[HandBatch]:
        """Yield this worker's share of the batches."""
        worker = get_worker_info()
        share = (0, 1) if worker is None else (worker.id, worker.num_workers)
        batches = _index_batches(self.start, self.count, self.batch_size)
        for indices in itertools.islice(batches, share[0], None, share[1]):
            yield self.hands.batch(indices)


def load_backgrounds(folder: Path) -> Backgrounds:
    """Find the pictures of a folder and open every one, so that a broken one is known before rendering.

    A picture that cannot be read is skipped with a warning; of more than 1,000 every n-th is taken.
    Raises `InputError` for a folder that is missing, has no pictures or none that can be read.
    """
    if not folder.is_dir():
        raise InputError(f"Wanted a folder with background pictures, found none at {folder}. Check the path.")
    files = find_images([folder])
    digest, paths, skipped = hashlib.sha256(), [], []
    for file in files[:: -(-len(files) // MAX_BACKGROUNDS)]:
        try:
            load_image(file, at_least_px=512)
            with open_regular(file) as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        except (ImageError, OSError) as error:
            skipped.append(str(error))
            warnings.warn(f"Background skipped: {error}", stacklevel=2)
        else:
            paths.append(file)
    if not paths:
        raise InputError(
            f"None of the {len(files)} pictures in {folder} can be used as a background. "
            f"The first: {skipped[0]} Give a folder of JPEG or PNG photographs."
        )
    return Backgrounds(tuple(paths), digest.hexdigest(), tuple(skipped))


def _index_batches(start: int, count: int | None, batch_size: int) -> Iterator[range]:
    """Yield the indices of consecutive batches; the last one may be shorter."""
    if start < 0 or batch_size < 1 or (count is not None and count < 0):
        raise InputError(
            f"Wanted start ≥ 0, batch_size ≥ 1 and count ≥ 0 or None, found {start}, {batch_size}, {count}."
        )
    for first in itertools.count(start, batch_size):
        last = first + batch_size if count is None else min(first + batch_size, start + count)
        if first >= last:
            return
        yield range(first, last)
