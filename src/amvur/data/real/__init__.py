"""Folders of real hand photographs in our conventions."""

from __future__ import annotations

from pathlib import Path

from amvur.data.real.samples import HandDataset


def open_dataset(path: Path, split: str = "training") -> HandDataset:
    """Open a folder of labelled photographs; raises `InputError` for anything else."""
    from amvur.data.real.photographs import open_photographs

    return open_photographs(path, split)
