"""Functions compiled by numba: kept on disk where that can be, compiled in memory where not."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numba
from numba.core.caching import FunctionCache


def compiled(function: Callable[..., Any] | None = None, **options: Any) -> Callable[..., Any]:
    """Compile a function without the interpreter's lock, as a decorator with or without options of numba's.

    Where neither the package's folder nor a user's cache can be written to (a container with a read-only
    home, a full disk), it is compiled anew in every process, and one warning says so.
    """
    if function is None:
        return lambda f: compiled(f, **options)
    made: Any = numba.njit(nogil=True, **options)(function)
    try:
        made._cache = _Cache(function)  # as `njit(cache=True)` does with numba's own
    except (RuntimeError, OSError):  # numba found no place for its cache
        _warn_once()
    return made  # type: ignore[no-any-return]


class _Cache(FunctionCache):  # type: ignore[misc]
    """Numba's cache, of which a damaged or unreadable file and a full disk cost time only."""

    def load_overload(self, *arguments: Any) -> Any:
        """Return what is kept of a function, None where that cannot be read; its index begins anew then."""
        try:
            return super().load_overload(*arguments)
        except Exception:  # unpickling what is damaged raises anything
            with contextlib.suppress(OSError):
                self.flush()
            return None

    def save_overload(self, *arguments: Any) -> None:
        """Keep a function if that is possible."""
        try:
            super().save_overload(*arguments)
        except Exception:  # also of an index that cannot be read
            _warn_once()


@lru_cache(maxsize=1)
def _warn_once() -> None:
    warnings.warn(
        "Compiled functions cannot be kept, for no folder for a cache can be written to: every start takes "
        "some seconds longer. Set NUMBA_CACHE_DIR to a folder that can.",
        stacklevel=4,
    )
