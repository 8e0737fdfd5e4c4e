"""Bounding boxes of labels, and which cells a block grid cuts.

A cell *crosses a seam* if it has voxels in two blocks, that is, if on some axis its first and last voxel lie in
different blocks. ::

      block 0      |    block 1
        a a a      |  b b            a: no     b: no, it only touches the plane
            c c c  |  c              c: yes

Lowest and highest coordinates are integers and merge in any order, so the answer is exact in whatever parts the labels
are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.score.overlaps import Ids, known_ids, run_starts


@dataclass(frozen=True)
class CellBoxes:
    """Half-open boxes around n labels, sorted by id, without background."""

    ids: Ids
    start: NDArray[np.int64]
    """Shape (n, 3): (z, y, x), in voxels of the whole volume."""
    stop: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


def find_boxes(labels: NDArray[np.integer], origin: Vec3 = (0, 0, 0)) -> CellBoxes:
    """The boxes of labels (z, y, x), whose first voxel lies at ``origin``."""
    starts = run_starts(labels)
    ids = np.ravel(known_ids(labels))[starts].astype(np.uint64)
    length, cell = np.diff(starts, append=labels.size), ids > 0
    first = np.stack(np.unravel_index(starts[cell], labels.shape), axis=1) + np.array(origin, np.int64)
    last = first + 1
    last[:, 2] += length[cell] - 1
    return merge_boxes([CellBoxes(ids[cell], first, last)])


def merge_boxes(parts: Sequence[CellBoxes]) -> CellBoxes:
    """The boxes in a volume from those in parts that cover it."""
    none = np.empty((0, 3), np.int64)
    ids = np.concatenate([np.empty(0, np.uint64), *(part.ids for part in parts)])
    order = np.argsort(ids, kind="stable")
    ids, first = np.unique(ids[order], return_index=True)
    start = np.concatenate([none, *(part.start for part in parts)])[order]
    stop = np.concatenate([none, *(part.stop for part in parts)])[order]
    return CellBoxes(ids, np.minimum.reduceat(start, first), np.maximum.reduceat(stop, first))


def cross_seams(
    start: NDArray[np.int64], stop: NDArray[np.int64], blocks: tuple[float, float, float]
) -> NDArray[np.bool_]:
    """Whether each of n half-open boxes has voxels in two blocks, bool (n,); ``start`` and ``stop`` are (n, 3).

    A block has ``blocks`` voxels, (z, y, x), the first at the volume's origin: fractions if the blocks are those of a
    working grid. Voxel i lies in block ``floor((i + 0.5) / b)``.
    """
    size = np.asarray(blocks, np.float64)
    crosses: NDArray[np.bool_] = (np.floor((start + 0.5) / size) != np.floor((stop - 0.5) / size)).any(axis=1)
    return crosses


def look_up_boxes(
    ids: Ids, time: NDArray[np.int64], boxes: Sequence[CellBoxes]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Start and stop, shape (n, 3), of the boxes of cells given by id and, in ascending order, time point."""
    before = np.cumsum([0, *(len(known) for known in boxes)])
    rows = [np.searchsorted(known.ids, ids[time == t]) + before[t] for t, known in enumerate(boxes)]
    row = np.concatenate(rows)
    return np.concatenate([e.start for e in boxes])[row], np.concatenate([e.stop for e in boxes])[row]
