"""The order in which cells should be looked at: the most doubtful first; and an error rate from a random sample.

A cell is doubtful if it lies far out among all cells (`bigcp3d.pure.cells.typical`). As in the report, it is long,
fills its ellipsoid badly or has a weak foreground. Here its volume counts too, in both directions, since two cells in
one are large and parts of one are small. Parts of one also share much of their surface. With maps, the share of the
voxels that a higher threshold would lose counts too, and the flow error where it is known. All follows from sums over
whole cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bigcp3d.pure.cells.cell_sums import CellSums
from bigcp3d.pure.cells.typical import Typical
from bigcp3d.pure.group.seams import HALF_NEIGHBOURS

SIGNS: dict[str, tuple[int, ...]] = {
    "volume": (1, -1),
    "elongation": (1,),
    "fill": (-1,),
    "foreground": (-1,),
    "lost": (1,),
    "shared surface": (1,),
    "flow_error": (1,),
}
"""Columns, and in which directions a value is doubtful."""

SHAPE = ("volume", "elongation", "fill")
"""Columns that a border of the volume changes."""


def doubts(columns: Mapping[str, NDArray[np.float64]], cut: NDArray[np.bool_]) -> tuple[NDArray[np.float64], list[str]]:
    """How doubtful each cell is, shape (n,), and in which column it is so most.

    ``columns`` have shape (n,); NaN counts as usual. Cells that the volume's border ``cut``, bool (n,), are not
    doubtful for their shape.
    """
    names, scores = [], []
    for name, signs in SIGNS.items():
        typical = Typical.of(name, columns[name], cut) if name in columns else None
        if typical is None:
            continue
        out = typical.deviations(columns[name])
        for sign in signs:
            score = sign * out
            names.append(f"{'large' if sign > 0 else 'small'} {name}")
            scores.append(np.where(cut, 0.0, score) if name in SHAPE and (name, sign) != ("volume", 1) else score)
    if not scores:
        return np.zeros(len(cut)), [""] * len(cut)
    table = np.stack(scores)
    return table.max(axis=0), [names[k] for k in table.argmax(axis=0)]


def largest_contacts(cells: CellSums) -> NDArray[np.float64]:
    """Share of the voxel faces of each cell that one neighbour has too, shape (n,); high for parts of a cell."""
    face = [k for k, step in enumerate(HALF_NEIGHBOURS) if np.abs(step).sum() == 1]
    faces, most = 2 * cells.exits[:, face].sum(axis=1), np.zeros(len(cells.ids), np.int64)
    for side in (cells.contacts.pred, cells.contacts.truth):
        np.maximum.at(most, np.searchsorted(cells.ids, side), cells.contacts.count)
    shares: NDArray[np.float64] = most / np.maximum(faces, 1)
    return shares


def random_order(ids: NDArray[np.integer]) -> NDArray[np.int64]:
    """A random order of cells that stays the same for each id, whatever other cells there are (splitmix64)."""
    with np.errstate(over="ignore"):
        mixed = ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return np.argsort(mixed, kind="stable")


@dataclass(frozen=True)
class ErrorRate:
    """Wrong cells of a random sample, and the 95 % interval (Wilson) of their share among all cells."""

    wrong: int
    checked: int
    low: float
    high: float

    def __str__(self) -> str:
        return (
            f"{self.wrong / self.checked:.1%} of the cells are wrong (95 % interval {self.low:.1%} to {self.high:.1%}; "
            f"{self.wrong} of {self.checked} in the random sample)"
        )


def error_rate(wrong: int, checked: int) -> ErrorRate | None:
    """The error rate of all cells from a random sample; None where nothing was checked."""
    if not checked:
        return None
    interval = stats.binomtest(wrong, checked).proportion_ci(0.95, method="wilson")
    return ErrorRate(wrong, checked, float(interval.low), float(interval.high))
