"""Knows the errors that say nothing about the file that was read. The same read may succeed later."""

from __future__ import annotations

import errno

PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT)
"""Too many open files, no memory, or a network file system that does not answer."""


def is_passing(error: BaseException) -> bool:
    """Whether a read failed for lack of memory or files, or because a file system did not answer."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in PASSING)
