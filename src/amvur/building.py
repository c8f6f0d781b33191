"""Building what a checkpoint's settings describe: never larger than its weights warrant."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from amvur.errors import AmvurError, ModelFileError
from amvur.reading import LimitError, reason


class _Room(TorchFunctionMode):
    """Lets tensors be made until a number of elements is reached: settings may ask for any size."""

    def __init__(self, elements: int) -> None:
        """Leave room for so many elements."""
        super().__init__()
        self.elements = elements

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count what layers make."""
        if func in (torch.empty, torch.zeros, torch.ones):
            sizes = args[0] if args and isinstance(args[0], Sequence) else args
            self.elements -= math.prod(size for size in sizes if isinstance(size, int))
            if self.elements < 0:
                raise LimitError("its settings ask for a larger network than its weights fill")
        return func(*args, **(kwargs or {}))


@contextmanager
def described(folder: Path, what: str, remedy: str, state: Mapping[str, Tensor]) -> Iterator[None]:
    """Make of settings that do not fit a `ModelFileError`, which says that the folder describes no `what`.

    What is built meanwhile may be four times as large as the weights `state`, beside 2^26 numbers.
    """
    try:
        with _Room(2**26 + 4 * sum(tensor.numel() for tensor in state.values())):
            yield
    except AmvurError:
        raise
    except Exception as error:
        raise ModelFileError(
            f"The checkpoint {folder} describes no {what} that this version of amvur knows "
            f"({reason(error)}). {remedy}"
        ) from error
