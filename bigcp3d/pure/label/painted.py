"""Tells what was painted on labels: cells deleted, merged and added as a whole, and voxels that only changed hands.

Ids of before are cells. Other numbers were painted anew: each is a new cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.errors import InputError

Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class Painted:
    """What was painted in a region. The parts change different voxels.

    Attributes
    ----------
    deleted : tuple of int
        Cells that are background now.
    merged : dict of int to tuple of int
        By cell, others that belong to it now with all their voxels.
    added : ndarray of int64, shape (z, y, x)
        New cells that lie on background alone; 0 elsewhere.
    rest : ndarray of int64, shape (z, y, x)
        All other voxels that changed, with what they are now; -1 elsewhere.
    new : tuple of int
        The numbers in ``rest`` that are new cells.
    cut : tuple of int
        Cells that changed and may go on outside of the region.
    """

    deleted: tuple[int, ...]
    merged: dict[int, tuple[int, ...]]
    added: NDArray[np.int64]
    rest: NDArray[np.int64]
    new: tuple[int, ...]
    cut: tuple[int, ...]

    @property
    def nothing(self) -> bool:
        """Whether no voxel changed."""
        return not (self.deleted or self.merged or self.added.any() or (self.rest >= 0).any())


def find_painted(before: Labels, after: Labels, open_faces: NDArray[np.bool_]) -> Painted:
    """What was painted in a region.

    Parameters
    ----------
    before, after : ndarray of integers, shape (z, y, x)
        Labels of the region.
    open_faces : ndarray of bool, shape (3, 2)
        Whether the volume goes on beyond the first and the last plane of each axis.
    """
    before, after = as_painted(before), as_painted(after)
    differ = before != after
    at_face = {int(cell) for plane in _planes(before, open_faces) for cell in np.unique(plane)}
    pairs = np.unique(np.stack([before[differ], after[differ]]), axis=1).T.tolist()
    became, onto = dict[int, set[int]](), dict[int, set[int]]()
    for old, new in pairs:
        became.setdefault(old, set()).add(new)
        onto.setdefault(new, set()).add(old)
    stay = set(np.unique(before[~differ]).tolist())
    known = set(np.unique(before).tolist()) - {0}
    to_one = {old: next(iter(new)) for old, new in became.items() if len(new) == 1}
    not_whole = {0, *stay, *at_face}
    whole = {old: new for old, new in to_one.items() if old not in not_whole}
    deleted = tuple(sorted(old for old, new in whole.items() if new == 0))
    merged = dict[int, tuple[int, ...]]()
    for old, new in sorted(whole.items()):
        if new in known & stay:
            merged[new] = (*merged.get(new, ()), old)
    fresh = sorted(set(onto) - known - {0})
    alone = [new for new in fresh if onto[new] == {0}]
    added = np.where(differ & np.isin(after, alone), after, 0)
    gone = [*deleted, *(old for olds in merged.values() for old in olds)]
    rest = np.where(differ & ~np.isin(before, gone) & (added == 0), after, -1)
    cut = tuple(sorted((set(became) | set(onto)) & known & at_face))
    return Painted(deleted, merged, added, rest, tuple(new for new in fresh if new not in alone), cut)


def as_painted(labels: Labels) -> NDArray[np.int64]:
    """Labels as signed integers; `InputError` for ids that these do not hold."""
    if labels.size and labels.max() > (largest := np.iinfo(np.int64).max):
        raise InputError(
            f"cell {labels.max()} cannot be painted, because its id is above {largest}; give all cells new ids first: "
            "bigcp3d edit STORE renumber"
        )
    return labels.astype(np.int64)


def _planes(labels: Labels, open_faces: NDArray[np.bool_]) -> list[Labels]:
    """The outermost planes beyond which the volume goes on."""
    ends = [(axis, end) for axis in range(3) for end in range(2) if open_faces[axis, end]]
    return [np.take(labels, -end, axis) for axis, end in ends]
