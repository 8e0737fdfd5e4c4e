"""The median of very many numbers that lie sorted in several parts, exact, without all of them in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray


def median_of_sorted(parts: Callable[[], Iterator[NDArray[np.float64]]]) -> float:
    """The number that `numpy.median` gives of all parts together; there must be one number at least.

    ``parts`` gives the parts each time that it is called: sorted arrays of float64, none negative or NaN. The bits of
    such numbers, read as whole numbers, have the same order, so 64 bisections find the middle one.
    """
    size = sum(len(part) for part in parts())
    middle = [_ranked(parts, (size - 1) // 2)]
    if size % 2 == 0:
        middle.append(_ranked(parts, size // 2))
    return float(np.median(middle))


def _ranked(parts: Callable[[], Iterator[NDArray[np.float64]]], rank: int) -> float:
    """The number with so many before it in the order of all."""
    low, high = 0, int(np.float64(np.inf).view(np.int64))
    while low < high:
        guess = (low + high) // 2
        value = np.int64(guess).view(np.float64)
        if sum(int(np.searchsorted(part, value, side="right")) for part in parts()) > rank:
            high = guess
        else:
            low = guess + 1
    return float(np.int64(low).view(np.float64))
