"""Functions compiled by numba: kept on disk where that can be, compiled in memory where not."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numba


def compiled(function: Callable[..., Any] | None = None, **options: Any) -> Callable[..., Any]:
    """Compile a function without the interpreter's lock, as a decorator with or without options of numba's.

    Where neither the package's folder nor a user's cache can be written to (a container with a read-only
    home), it is compiled anew in every process, and one warning says so.
    """
    if function is None:
        return lambda f: compiled(f, **options)
    try:
        made: Callable[..., Any] = numba.njit(cache=True, nogil=True, **options)(function)
    except RuntimeError:  # numba found no place for its cache
        _warn_once()
        made = numba.njit(nogil=True, **options)(function)
    return made


@lru_cache(maxsize=1)
def _warn_once() -> None:
    warnings.warn(
        "Compiled functions cannot be kept, for no folder for a cache can be written to: every start takes "
        "some seconds longer. Set NUMBA_CACHE_DIR to a folder that can.",
        stacklevel=4,
    )
