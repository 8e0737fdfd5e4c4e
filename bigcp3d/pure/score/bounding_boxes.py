"""CellBoxes: the smallest box around each label, and which labels a block grid cuts.

A cell *touches a seam* if it has voxels on both sides of a plane between two blocks, that is in two blocks. Its box
tells: on some axis the first and the last voxel lie in different blocks. For a cell that is connected through voxel
faces this is the same as "two of its voxels are face neighbours and lie in different blocks". ::

      block 0      |    block 1
        a a a      |  b b            a: no     b: no, it only lies against the plane
            c c c  |  c              c: yes

Lowest and highest coordinates are integers and merge in any order, so the answer is exact whatever parts the labels are
read in; those have nothing to do with the grid that is asked about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.score.overlaps import Ids, run_starts


@dataclass(frozen=True)
class CellBoxes:
    """Half-open boxes around labels, sorted by id; background has none.

    Attributes
    ----------
    ids : ndarray of uint64, shape (n,)
    start, stop : ndarray of int64, shape (n, 3)
        (z, y, x), in voxels of the whole volume.
    """

    ids: Ids
    start: NDArray[np.int64]
    stop: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


def find_boxes(labels: NDArray[np.integer], origin: Vec3 = (0, 0, 0)) -> CellBoxes:
    """CellBoxes of the labels of an array.

    Parameters
    ----------
    labels : ndarray of int, shape (z, y, x)
    origin : tuple of int
        Where its first voxel lies.
    """
    starts = run_starts(labels)
    ids = np.ravel(labels)[starts].astype(np.uint64)
    length, cell = np.diff(starts, append=labels.size), ids > 0
    first = np.stack(np.unravel_index(starts[cell], labels.shape), axis=1) + np.array(origin, np.int64)
    last = first + 1
    last[:, 2] += length[cell] - 1
    return merge_boxes([CellBoxes(ids[cell], first, last)])


def merge_boxes(parts: Sequence[CellBoxes]) -> CellBoxes:
    """The extents in a volume from those in parts that cover it."""
    none = np.empty((0, 3), np.int64)
    ids = np.concatenate([np.empty(0, np.uint64), *(part.ids for part in parts)])
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    first = np.flatnonzero(np.concatenate([np.ones(min(1, len(ids)), bool), ids[1:] != ids[:-1]]))
    if not len(first):
        return CellBoxes(ids, none, none)
    start = np.concatenate([none, *(part.start for part in parts)])[order]
    stop = np.concatenate([none, *(part.stop for part in parts)])[order]
    return CellBoxes(ids[first], np.minimum.reduceat(start, first), np.maximum.reduceat(stop, first))


def cross_seams(
    start: NDArray[np.int64], stop: NDArray[np.int64], blocks: tuple[float, float, float]
) -> NDArray[np.bool_]:
    """Whether each extent has voxels in two blocks.

    Parameters
    ----------
    start, stop : ndarray of int64, shape (n, 3)
        Half-open extents.
    blocks : tuple of float
        Voxels of a block, (z, y, x), the first at the volume's origin. Voxel i lies in block ``floor((i + 0.5) / b)``,
        which is ``i // b`` for whole numbers; a fraction is a block of a working grid times its factor.

    Returns
    -------
    crosses : ndarray of bool, shape (n,)
    """
    size = np.asarray(blocks, np.float64)
    crosses: NDArray[np.bool_] = (np.floor((start + 0.5) / size) != np.floor((stop - 0.5) / size)).any(axis=1)
    return crosses


def look_up_boxes(
    ids: Ids, time: NDArray[np.int64], extents: Sequence[CellBoxes]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Start and stop, shape (n, 3), of cells that are given by id and time point.

    Parameters
    ----------
    ids, time : ndarray, shape (n,)
        Cells in the order of time.
    extents : sequence of CellBoxes
        Of each time point; each cell is in them.
    """
    before = np.cumsum([0, *(len(known) for known in extents)])
    rows = [np.searchsorted(known.ids, ids[time == t]) + before[t] for t, known in enumerate(extents)]
    row = np.concatenate(rows)
    return np.concatenate([e.start for e in extents])[row], np.concatenate([e.stop for e in extents])[row]
