"""The checker of stated types that `conftest.py` puts around all of `amvur`."""

import contextlib
import typing

from beartype import beartype


def checked(function):
    """Check `function` with beartype, which refuses protocols that do not allow `isinstance`."""
    hints = {}
    with contextlib.suppress(NameError, AttributeError):  # names that only type checkers see
        hints = typing.get_type_hints(function)
    for hint in hints.values():
        for part in (hint, *typing.get_args(hint)):
            protocol = typing.get_origin(part) or part
            if isinstance(protocol, type) and getattr(protocol, "_is_protocol", False):
                typing.runtime_checkable(protocol)
    return beartype(function)
