"""The median of very many numbers that lie sorted in several parts, exact, without all of them in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

BITS = 7
"""Bits that one look at all parts finds; 9 looks find all 63 bits of a number that is not negative."""


def median_of_sorted(parts: Callable[[], Iterator[NDArray[np.float64]]]) -> float:
    """The number that `numpy.median` gives of all parts together; there must be one number at least.

    ``parts`` gives the parts each time that it is called: sorted arrays of float64, none negative or NaN. The bits of
    such numbers, read as whole numbers, have the same order. So the middle one is found bit by bit, the highest first,
    and only one part must be open at a time.
    """
    size = sum(len(part) for part in parts())
    middle = [_ranked(parts, (size - 1) // 2)]
    if size % 2 == 0:
        middle.append(_ranked(parts, size // 2))
    return float(np.median(middle))


def _ranked(parts: Callable[[], Iterator[NDArray[np.float64]]], rank: int) -> float:
    """The number with so many before it in the order of all."""
    found = np.int64(0)
    for shift in range(63 - BITS, -1, -BITS):
        guesses = found + (np.arange(1, 2**BITS, dtype=np.int64) << shift)
        smaller = np.zeros(len(guesses), np.int64)
        for part in parts():
            smaller += np.searchsorted(part, guesses.view(np.float64))
        found += np.int64(np.searchsorted(smaller, rank, side="right")) << shift
    return float(found.view(np.float64))
