"""What is usual for the cells of a volume, and how far a cell lies from it, in robust standard deviations.

The report and the review of cells use the same rule. Volume and elongation are compared by their logarithm. Cells that
the border of the volume cuts do not say what is usual, unless there are hardly any others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

ROBUST = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""

LOGARITHMS = ("volume", "elongation")
"""Columns that are compared by their logarithm."""

LEAST_SPREAD = {"volume": 0.05, "elongation": 0.02, "lost": 0.02, "shared surface": 0.02}
"""Least standard deviation of a column, so that cells which are all alike have no odd ones; 0.01 for the others."""

ENOUGH = 5
"""So many whole cells say what is usual; if there are fewer, all cells do."""


@dataclass(frozen=True)
class Typical:
    """Median and robust standard deviation of a column."""

    name: str
    median: float
    spread: float

    @classmethod
    def of(cls, name: str, column: NDArray[np.float64], cut: NDArray[np.bool_]) -> Self | None:
        """What is usual in a column, shape (n,); None if it is known for no cell. The border ``cut`` some of them."""
        values = _compared(name, column)
        known = np.isfinite(values)
        if not known.any():
            return None
        whole = known & ~cut
        usual = values[whole if np.count_nonzero(whole) >= ENOUGH else known]
        middle = float(np.median(usual))
        spread = ROBUST * float(np.median(np.abs(usual - middle)))
        return cls(name, middle, max(spread, LEAST_SPREAD.get(name, 0.01)))

    def deviations(self, column: NDArray[np.float64]) -> NDArray[np.float64]:
        """How many standard deviations each value lies above the median, shape (n,); NaN counts as usual."""
        values = (_compared(self.name, column) - self.median) / self.spread
        return np.where(np.isfinite(values), values, 0.0)


def _compared(name: str, column: NDArray[np.float64]) -> NDArray[np.float64]:
    """A column, or its logarithm."""
    return np.log(np.maximum(column, 1e-9)) if name in LOGARITHMS else column
