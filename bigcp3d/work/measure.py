"""The cells of a label image, measured block by block: sizes, centres, which are cut by the border.

Sums of blocks add up, so the numbers do not depend on the blocks, and memory holds one block and one row a cell.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image import ImageInfo, read_box
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import BlockGrid, Box, vec3

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cells:
    """Ids, voxels, centroids (n, 3) in voxels, and whether a cell touches the border, of all cells of a volume."""

    ids: NDArray[np.int64]
    count: NDArray[np.int64]
    centre: NDArray[np.float64]
    cut: NDArray[np.bool_]


def measure_cells(labels: ImageInfo, box: Box) -> Cells:
    """Measure the cells in a box of a label image, block by block."""
    table: dict[int, NDArray[np.float64]] = {}
    for index in (grid := BlockGrid(box.shape, (64, 256, 256))):
        core = grid.core(index)
        where = Box(
            vec3(a + o for a, o in zip(core.start, box.start, strict=True)),
            vec3(a + o for a, o in zip(core.stop, box.start, strict=True)),
        )
        block = read_box(labels, 0, where)
        at = np.nonzero(block)
        ids, inverse = np.unique(block[at].astype(np.int64), return_inverse=True)
        points = np.stack(at, axis=1) + np.array(where.start)
        edge = ((points == box.start) | (points == np.array(box.stop) - 1)).any(axis=1)
        sums = [np.bincount(inverse, w, len(ids)) for w in (None, *points.T.astype(float), edge.astype(float))]
        for row, key in enumerate(ids.tolist()):
            table[key] = table.get(key, np.zeros(5)) + np.array([s[row] for s in sums])
    rows = np.array([table[key] for key in sorted(table)]).reshape(-1, 5)
    count = np.maximum(rows[:, :1], 1)
    return Cells(np.array(sorted(table), np.int64), rows[:, 0].astype(int), rows[:, 1:4] / count, rows[:, 4] > 0)


def measure_diameter(cells: Cells, scale: Sequence[float], name: str) -> float:
    """Median diameter, as a ball, of the whole cells (of all, if under five are whole), in units of ``scale``."""
    if len(cells.ids) == 0:
        raise InputError(f"{name}: found no labelled voxel; training needs cells: check the labels' name")
    whole = ~cells.cut
    if whole.sum() < 5:
        log.warning(
            "%s: only %d cells are whole; the diameter is that of cut cells: give --diameter", name, whole.sum()
        )
        whole[:] = True
    return float(np.median((6 / np.pi * cells.count[whole] * np.prod(scale)) ** (1 / 3)))
