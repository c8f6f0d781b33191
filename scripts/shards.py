"""Files of rendered training pictures and of what is computed from them: written whole, labels packed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from amvur.data.samples import HandBatch
from amvur.data.synthetic.labels import mirror_some
from amvur.training.targets import as_right_hands


def write(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_suffix(f".{os.getpid()}.tmp")
    save_file({n: t.contiguous() for n, t in tensors.items()}, staged)
    os.replace(staged, path)
    print(path.name, time.strftime("%H:%M:%S"), flush=True)


def pending(shards: Sequence[Path], folder: Path, part: int, parts: int) -> Iterator[tuple[Path, Path]]:
    """Yield the shards of one part of several that have no file of their name in a folder, and that file."""
    for shard in shards[part::parts]:
        path = folder / shard.name
        if not path.exists():
            yield shard, path


def write_rows(rows: Iterable[dict[str, Tensor] | None], path: Path) -> None:
    """Write what is stored of pictures, without those of which nothing is."""
    kept = [row for row in rows if row is not None]
    write({name: torch.stack([row[name] for row in kept]) for name in kept[0]}, path)


def stored_labels(batch: HandBatch, names: Sequence[str]) -> dict[str, Tensor]:
    """Return a batch as right hands, with what the texture head learns from packed in bytes and bits."""
    right = mirror_some(batch, batch.is_left)
    labels = as_right_hands(batch)
    stored = {name: getattr(labels, name) for name in names}
    stored["vertex_colors"] = (right.vertex_colors.clamp(0, 1) * 255).round().to(torch.uint8)
    for name in ("visible_vertices", "unoccluded_vertices", "mask"):
        packed = np.packbits(getattr(right, name).flatten(1).numpy(), axis=1)
        stored[name] = torch.from_numpy(packed)
    return stored


def bits(packed: Tensor, count: int) -> Tensor:
    """Return packed bits as booleans."""
    return torch.from_numpy(np.unpackbits(packed.numpy())[:count].astype(bool))
