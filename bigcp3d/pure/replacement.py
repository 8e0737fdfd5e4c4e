"""Which cells change when a region is segmented again, and which ids the new cells get.

Old labels cover the volume, new ones a region and its surroundings. A cell is *inside* if all its voxels lie in the
region.

- Old cells that are not inside stay, and new ones that are not inside are not taken. So nothing changes at the border.
- An old cell inside stays if its largest overlap is with a new cell that is not taken.
- All other old cells inside go. New cells inside come, on voxels that no staying cell holds.
- A new cell gets the id of the old one with which it shares more than half of their union, else an unused id.

The rules use tables of overlaps only (`bigcp3d.pure.score.overlaps`), so blocks do not matter. Applying a replacement
twice changes nothing more, so an update that was stopped is applied again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.score.overlaps import Ids, Overlaps, sum_by_label


@dataclass(frozen=True)
class Replacement:
    """What to do with a region's voxels; the arrays are uint64."""

    staying: Ids
    """Old ids whose voxels keep them, ascending."""
    found: Ids
    """New labels that come, ascending."""
    ids: Ids
    """The ids that these get."""
    gone: int
    """Old cells without a successor."""
    kept: int
    """New cells with the id of an old one, their successors."""
    same: int
    """New cells with exactly the voxels of an old one."""

    def apply(self, old: NDArray[np.integer], new: NDArray[np.integer]) -> NDArray[np.integer]:
        """Labels of a piece of the region, in the dtype of ``old``, from the old and new ones there."""
        ids = np.zeros_like(old)
        if len(self.found):
            row = np.minimum(np.searchsorted(self.found, new), len(self.found) - 1)
            ids = np.where(self.found[row] == new, self.ids[row], 0).astype(old.dtype)
        return np.where(np.isin(old.astype(np.uint64), self.staying), old, ids)


def plan_replacement(inside: Overlaps, old_outside: Ids, new_outside: Ids, next_id: int) -> Replacement:
    """Decide which cells stay, go and come.

    ``inside`` are the overlaps in the region: new labels as ``pred``, old ones as ``truth``. ``old_outside`` and
    ``new_outside`` are ids with voxels outside the region. ``next_id`` is the smallest id that was never used.
    `OverflowError` where a new id would be above 2^64 - 1.
    """
    old_ids, old_row, old_vox = sum_by_label(inside.truth, inside.count)
    new_ids, new_row, new_vox = sum_by_label(inside.pred, inside.count)
    comes = ~np.isin(new_ids, new_outside) & (new_ids > 0)
    # the new label (or background) with the largest overlap; in a tie one that comes, then the smaller id
    order = np.lexsort((inside.pred, ~comes[new_row], -inside.count, old_row))
    first = np.ones(len(order), bool)
    first[1:] = old_row[order][1:] != old_row[order][:-1]
    largest = np.zeros(len(old_ids), np.uint64)
    largest[old_row[order][first]] = inside.pred[order][first]
    not_taken = np.isin(largest, new_ids[~comes & (new_ids > 0)])
    stays = (np.isin(old_ids, old_outside) | not_taken) & (old_ids > 0)
    union = old_vox[old_row] + new_vox[new_row] - inside.count
    heir = (2 * inside.count > union) & comes[new_row] & ~stays[old_row] & (inside.truth > 0)
    ids = np.zeros(len(new_ids), np.uint64)
    ids[new_row[heir]] = inside.truth[heir]
    fresh = comes & (ids == 0)
    number = int(fresh.sum())
    ids[fresh] = np.fromiter(range(next_id, next_id + number), np.uint64, number)
    return Replacement(
        staying=old_ids[stays],
        found=new_ids[comes],
        ids=ids[comes],
        gone=int(np.count_nonzero(~stays & (old_ids > 0))) - int(heir.sum()),
        kept=int(heir.sum()),
        same=int(np.count_nonzero(heir & (inside.count == union))),
    )
