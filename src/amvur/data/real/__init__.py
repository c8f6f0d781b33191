"""Folders of real hand photographs in our conventions; `open_dataset` recognises them."""

from amvur.data.real.opening import open_dataset

__all__ = ["open_dataset"]
