"""Which voxels of reviewed labels count as truth when a model is trained (``--from-edits``).

From the log of changes follow the cells that were decided good, or that a correction made, and the cells that were
deleted. Truth are

- the voxels of these cells;
- the background that lies within a quarter of a cell diameter of them and of no other cell. Voxels of deleted cells
  count as background there.

All else is not annotated. A voxel depends on the labels within the margin around it only, so windows agree.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.labels.edit_log import Change, EditLog, cell_box, updated_region
from bigcp3d.edge.stores.places import place
from bigcp3d.edge.stores.platforms import join_words
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.pure.label.mask_of import mask_of
from bigcp3d.pure.plural import count
from bigcp3d.work.find_cells import box_of, union

log = logging.getLogger(__name__)

MARGIN = 0.25
"""Diameters from a reviewed cell within which background counts."""

CONTEXT = 64
"""Voxels around the reviewed cells that samples may show too."""

Removed = tuple[Box, NDArray[np.bool_]]
"""The box of a deleted cell, and its voxels in it."""


@dataclass(frozen=True, eq=False)
class Reviewed:
    """The reviewed cells of some labels, at the first time point.

    ``ids`` are ascending, uint64, shape (n,); ``part`` is the box around all that was reviewed and its `CONTEXT`.
    ``last`` is the number of the last change.
    """

    ids: NDArray[np.uint64]
    removed: Sequence[Removed]
    part: Box
    last: int

    def __str__(self) -> str:
        """For the record of a training: it changes with each cell that is reviewed, and with each correction."""
        digest = hashlib.sha256(self.ids.tobytes() + f"{self.last}".encode())
        for box, mask in self.removed:
            digest.update(f"{box}".encode() + mask.tobytes())
        return digest.hexdigest()[:16]

    def hide(self, numbers: NDArray[np.int32], box: Box, margin: Vec3) -> NDArray[np.int32]:
        """The truth in a box: numbers of cells, 0 for background, -1 where nothing is known.

        ``numbers`` has 1 and more for reviewed cells, -1 for other cells. It is right where the labels within
        ``margin`` voxels lie in the box, or beyond the volume.
        """
        trusted, size = numbers > 0, [2 * m + 1 for m in margin]
        for where, mask in self.removed:
            if not (both := where.intersect(box)).empty:
                trusted[both.slices(box.start)] |= mask[both.slices(where.start)] & (
                    numbers[both.slices(box.start)] == 0
                )
        near = ndimage.maximum_filter(trusted, size) & ~ndimage.maximum_filter(numbers < 0, size)
        return np.where((numbers > 0) | near, numbers, -1).astype(np.int32)


def find_reviewed(labels: ImageInfo) -> Reviewed:
    """Read the log of labels; `InputError` where no cell was decided good or corrected."""
    changes = EditLog(place(labels.path))
    active = changes.active()
    cells, deleted = follow_review(active)
    if later := sum(change.time != 0 for change in active):
        log.warning("%s: %s at later time points; only the first is learned from", labels.path, count(later, "change"))
    if not cells:
        raise InputError(
            f"{labels.path}: no cell was decided good or corrected, so there is nothing to learn from; review some "
            f"cells first: {join_words(['bigcp3d', 'review', labels.path])}"
        )
    removed = [found for change in deleted for found in _read_removed(changes, change)]
    around = union([*cells.values(), *(box for box, _ in removed)]).grow(CONTEXT).clip(labels.levels[0].shape)
    return Reviewed(np.array(sorted(cells), np.uint64), removed, around, active[-1].number)


def follow_review(active: Iterable[Change]) -> tuple[dict[int, Box], list[Change]]:
    """The cells that count as true after some changes, with their boxes, and the changes that deleted cells."""
    cells, deleted = dict[int, Box](), list[Change]()
    for change in active:
        if change.kind == "renumber":
            if cells:
                log.warning(
                    "cells that were reviewed before `renumber` do not count; undo the renumbering, or review "
                    "them again"
                )
            cells, deleted = {}, []
        elif change.kind == "update":
            roi = updated_region(change)
            cells = {cell: box for cell, box in cells.items() if box.intersect(roi).empty}
            deleted = [d for d in deleted if all(cell_box(cell).intersect(roi).empty for cell in d.cells)]
        elif change.time == 0:
            good = change.kind == "decision" and change.given["decision"] == "good"
            if change.given.get("decision") not in ("good", "skip"):  # no other change has decisions
                for cell in change.cells:
                    cells.pop(cell["id"], None)
            cells |= {cell["id"]: cell_box(cell) for cell in (change.cells if good else change.made)}
            deleted += [change] if change.kind == "delete" else []
    return cells, deleted


def _read_removed(changes: EditLog, change: Change) -> list[Removed]:
    """The voxels of deleted cells, from those that were kept."""
    found = []
    for time, level, box, voxels in changes.kept(change.number):
        gone = mask_of(voxels, (cell["id"] for cell in change.cells))
        if level == 0 and time == 0 and (where := box_of(gone, box.start)) is not None:
            found.append((where, gone[where.slices(box.start)]))
    return found
