"""The median of sorted parts is that of all numbers together, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from bigcp3d.pure.cells.median import median_of_sorted


@pytest.mark.parametrize("size", [1, 2, 5, 8, 1000])
def test_the_median_of_parts_is_that_of_all(size):
    rng = np.random.default_rng(size)
    numbers = rng.random(size) * 10.0 ** rng.integers(0, 9, size)
    numbers[::3] = numbers[0]
    numbers[1::7] = 0.0
    numbers[5::9] = np.finfo(float).max / 2
    parts = [np.sort(part) for part in np.array_split(numbers, 3)]
    assert median_of_sorted(lambda: iter(parts)) == np.median(numbers)
