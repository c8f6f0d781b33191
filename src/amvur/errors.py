"""Errors a user can meet.

Every message says what was wanted, what was found (with the path where there is one) and what to do.
"""


class AmvurError(Exception):
    """Base of all errors that `amvur` raises on purpose; its arguments are the lines of its message."""

    def __str__(self) -> str:
        """Return the message."""
        return "\n".join(map(str, self.args))


class ImageError(AmvurError):
    """An image cannot be read or used."""


class ModelFileError(AmvurError):
    """A hand-model file is missing, damaged, unsafe or of the wrong kind."""


class DetectorError(AmvurError):
    """A hand detector cannot be loaded or run."""


class InputError(AmvurError):
    """A value given by the user (box, intrinsics, joints, option) cannot be used."""


class OutputError(AmvurError):
    """A result cannot be written."""
