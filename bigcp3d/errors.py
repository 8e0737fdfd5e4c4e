"""The error family: every message says what was found, what is allowed, and what to do.

Each error is also a builtin error, so that callers who know nothing of bigcp3d can catch it, and
carries the exit code with which the command line ends.
"""

from __future__ import annotations


class BigCP3DError(Exception):
    """Base of all errors that bigcp3d raises on purpose."""

    exit_code = 1


class InputError(BigCP3DError, ValueError):
    """The image, a parameter, or their combination cannot be used."""

    exit_code = 2


class ModelError(InputError):
    """A model file cannot be read, or does not fit the image."""


class TargetError(BigCP3DError, OSError):
    """The place to write to exists already, cannot be written, or is full."""

    exit_code = 3


class FullDiskError(TargetError):
    """The disk to write to has filled up. What was finished is kept."""


class LossError(TargetError):
    """An update or an undo would lose many cells, or changes by hand. With ``yes`` it goes on all the same."""


class BlockError(BigCP3DError, RuntimeError):
    """Some blocks failed; what was finished is kept."""

    exit_code = 4
