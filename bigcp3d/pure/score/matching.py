"""Match found cells to true cells: the largest overlap of each cell, and pairs in which no cell occurs twice.

The cells of all time points are numbered densely; 0 is background. The numbers follow from time and id, so results do
not depend on the blocks in which overlaps were counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from bigcp3d.pure.score.overlaps import Ids, Overlaps

IOU_TENTHS = tuple(range(1, 10))
"""Thresholds of IoU in tenths, since integers compare without rounding."""

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Contingency:
    """Overlaps of T true and F found cells, numbered from 1; row 0 is background.

    Ids are sorted within each time point; ``true_vox`` and ``found_vox`` are the voxels of each cell, 0 for background.
    ``true``, ``found`` and ``count``, shape (n,), are pairs of rows and their voxels in common. Pairs with background
    are included, once for each time point.
    """

    true_ids: Ids
    found_ids: Ids
    true_time: Rows
    found_time: Rows
    true_vox: NDArray[np.int64]
    found_vox: NDArray[np.int64]
    true: Rows
    found: Rows
    count: NDArray[np.int64]

    @property
    def cells(self) -> Contingency:
        """The pairs of two cells, without those of a cell and background."""
        return self.select((self.true > 0) & (self.found > 0))

    def select(self, pairs: Mask | Rows) -> Contingency:
        """Some of the pairs, with the cells as they are."""
        return replace(self, true=self.true[pairs], found=self.found[pairs], count=self.count[pairs])

    def matches_at(self, tenths: int) -> Mask:
        """Whether each pair has an IoU of at least ``tenths / 10``."""
        union = self.true_vox[self.true] + self.found_vox[self.found] - self.count
        return (10 * self.count >= tenths * union) & (self.true > 0) & (self.found > 0)


def number_cells(times: Sequence[Overlaps]) -> Contingency:
    """Number the cells of the overlaps of each time point; a label is another cell at each of them."""
    count = np.concatenate([np.empty(0, np.int64), *(table.count for table in times)])
    true_ids, true_time, true = _number([table.truth for table in times])
    found_ids, found_time, found = _number([table.pred for table in times])
    true_vox, found_vox = np.zeros(len(true_ids), np.int64), np.zeros(len(found_ids), np.int64)
    np.add.at(true_vox, true, count)
    np.add.at(found_vox, found, count)
    true_vox[0] = found_vox[0] = 0
    return Contingency(true_ids, found_ids, true_time, found_time, true_vox, found_vox, true, found, count)


def _number(ids: Sequence[Ids]) -> tuple[Ids, Rows, Rows]:
    """Ids and time of each row, and the row of each id given."""
    names, times, rows, count = [np.zeros(1, np.uint64)], [np.zeros(1, np.int64)], [np.empty(0, np.int64)], 1
    for time, own in enumerate(ids):
        cells = np.unique(own[own > 0])
        names.append(cells)
        times.append(np.full(len(cells), time, np.int64))
        rows.append(np.where(own > 0, np.searchsorted(cells, own) + count, 0))
        count += len(cells)
    return np.concatenate(names), np.concatenate(times), np.concatenate(rows)


def find_partners(by: Rows, other: Rows, count: NDArray[np.int64], rows: int) -> Rows:
    """For each of ``rows`` cells the index of its largest pair, -1 if it has none.

    ``by``, ``other`` and ``count`` (n,) are the pairs: the cell, its partner, their voxels in common. Of equal pairs
    the one with the lower partner is taken.
    """
    order = np.lexsort((other, -count, by))
    pair = np.full(rows, -1, np.int64)
    sorted_by = by[order]
    first = np.flatnonzero(np.diff(sorted_by, prepend=-1))
    pair[sorted_by[first]] = order[first]
    return pair


def match_one_to_one(table: Contingency, tenths: int) -> tuple[Mask, Mask]:
    """Match as many cells as can be at an IoU of at least ``tenths / 10``, none of them twice.

    Returns which true cells, bool (T + 1,), and which found cells, bool (F + 1,), have a partner. Above 0.5 a cell can
    have one partner only. At and below, the number of matches is the largest possible (Hopcroft and Karp 1973); which
    cells they are may be one of several answers, the same for the same ids.
    """
    good = table.matches_at(tenths)
    matched, taken = np.zeros(len(table.true_vox), bool), np.zeros(len(table.found_vox), bool)
    if good.any():
        pairs = (table.true[good], table.found[good])
        graph = csr_array((np.ones(int(good.sum()), np.int8), pairs), shape=(len(matched), len(taken)))
        partner = maximum_bipartite_matching(graph, perm_type="column")
        matched = partner >= 0
        taken[partner[matched]] = True
    return matched, taken


def group_by_true_cell(table: Contingency, true: Mask, own: Mask) -> Mask:
    """Which found cells belong to a group: those whose largest overlap is with a true cell of it.

    ``true`` (T + 1,) are the true cells in the group; ``own`` (F + 1,) decides for found cells that meet no true cell.
    So the halves of a cell that was cut at a seam count as cells at seams, though neither half crosses it.
    """
    cells = table.cells
    pair = find_partners(cells.found, cells.true, cells.count, len(own))
    group, hit = own.copy(), pair >= 0
    group[hit] = true[cells.true[pair[hit]]]
    return group
