"""Compiles functions with numba, once for each user of an installation.

Compiling takes about ten seconds, so numba keeps the result on disk: beside the module, or where that cannot be written
in the user's cache folder (``~/.cache/numba``; ``NUMBA_CACHE_DIR`` names another). Workers of a cluster that share the
installation or the home folder share it. Where no folder can be written, each process compiles anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from numba import njit


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function, which then runs without Python's lock."""
    return _compile(function, inline="never")


def inlined(function: Callable[..., Any]) -> Any:
    """The same for a function whose text is put into those that call it."""
    return _compile(function, inline="always")


def _compile(function: Callable[..., Any], inline: Literal["never", "always"]) -> Any:
    try:
        return njit(nogil=True, cache=True, inline=inline)(function)
    except RuntimeError:  # numba found no folder for its cache
        return njit(nogil=True, inline=inline)(function)
