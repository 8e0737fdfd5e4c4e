"""What a report says of seams: cells across them, and the last layers of cells that end there.

Only the layers are read, one voxel thick and as wide as a cell, of a number of cells that does not grow with the
volume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo, read_box
from bigcp3d.pure.boxes import Box, Vec3, vec3
from bigcp3d.pure.cells.cell_summary import CellRows, Parts
from bigcp3d.pure.cells.seam_cells import FLAT, Crossings, count_crossings, flatness, seam_planes
from bigcp3d.pure.grid import Factors

LOOKED_AT = 60
"""Ends of cells that are looked at, at seams and halfway, along each axis."""


@dataclass(frozen=True, eq=False)
class Seams:
    """Cells at the seams of one axis, or at the planes halfway between them.

    Attributes
    ----------
    crossings : Crossings
    looked : int
        Ends of cells whose last layer was read.
    flat : CellRows
        Those of them that are flat.
    flatness : ndarray of float64
        Of each flat one: its last layer over its mean layer.
    last : ndarray of int64
        Its last layer.
    """

    crossings: Crossings
    looked: int
    flat: CellRows
    flatness: NDArray[np.float64]
    last: NDArray[np.int64]


def look_at_seams(
    labels: ImageInfo, parts: Parts, *, shape: Vec3, block: Vec3, factors: Factors
) -> list[tuple[Seams, Seams]]:
    """For each axis that has seams: what is at them, and halfway between them.

    Parameters
    ----------
    labels : ImageInfo
    parts : callable
        Gives all cells.
    shape, block, factors
        Working grid, its blocks, and voxels of the labels per working voxel.
    """
    seams, halfway = seam_planes(shape, block, factors, labels.levels[0].shape)
    axes = [axis for axis in range(3) if seams[axis].at]
    found = count_crossings(parts, [planes[axis] for axis in axes for planes in (seams, halfway)])
    looks = [_look(labels, crossings) for crossings in found]
    return list(zip(looks[::2], looks[1::2], strict=True))


def _look(labels: ImageInfo, crossings: Crossings) -> Seams:
    """Read the last layers of some cells, evenly chosen."""
    most = len(crossings.rows)
    chosen = sorted({most * k // LOOKED_AT for k in range(LOOKED_AT)}) if most else []
    flat, values = [], []
    for row in chosen:
        value = _end_flatness(labels, crossings, row)
        if value >= FLAT:
            flat.append(row)
            values.append(value)
    kept = np.asarray(flat, np.int64)
    return Seams(crossings, len(chosen), crossings.rows.take(kept), np.asarray(values), crossings.last[kept])


def _end_flatness(labels: ImageInfo, crossings: Crossings, row: int) -> float:
    rows, axis, last = crossings.rows, crossings.planes.axis, int(crossings.last[row])
    box = cell_layer(rows, row, axis, last)
    layer = read_box(labels, 0, box, time=int(rows.time[row]))
    layers = int(rows.high[row, axis] - rows.low[row, axis])
    return flatness(int(np.count_nonzero(layer == rows.ids[row])), int(rows.volume[row]), layers)


def cell_layer(rows: CellRows, row: int, axis: int, at: int) -> Box:
    """One layer of a cell's box."""
    start, stop = rows.low[row].tolist(), rows.high[row].tolist()
    start[axis], stop[axis] = at, at + 1
    return Box(vec3(start), vec3(stop))


def total(values: Sequence[Seams], name: str) -> int:
    """A number added up over axes."""
    return sum(int(getattr(value, name)) for value in values)
