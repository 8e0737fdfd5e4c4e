"""Cells at seams: how many lie across each plane between blocks, and which end there, beside planes that are no seams.

Labels do not depend on blocks, so seams must look like any other plane. To see that they do, every count is made for
the planes halfway between seams too::

      |     :     |     :     |          |  seam          :  halfway
      |   aa:aaa  |  b  :    c|d         a crosses a halfway plane; b none; c and d end at a seam
      |     :     |     :     |

A cell that ends at a plane is *flat* there where its last layer is nearly as large as its mean layer: a ball's last
layer is about a third of it or less, that of a cell cut by a plane is all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.cells.cell_summary import CellRows, Parts
from bigcp3d.pure.grid import Factors, nearest_working

FLAT = 0.75
"""Share of a mean layer from which a last layer counts as flat."""

LEAST_LAYERS = 6
"""Cells of fewer layers end flat by nature, and are not looked at."""

KEEP = 4096
"""Ends that are kept while counting; thinned out evenly above it."""


@dataclass(frozen=True)
class Planes:
    """Planes across one axis, ascending; plane p lies before voxel p."""

    axis: int
    at: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Crossings:
    """Cells at planes.

    Attributes
    ----------
    planes : Planes
    cells : ndarray of int64, shape (p,)
        Cells with voxels on both sides of each plane.
    ends : int
        Cells, of enough layers, that end at one of the planes, counted at each end.
    rows : CellRows
        An even choice of them, `KEEP` at most.
    last : ndarray of int64, shape (n,)
        For each row, the layer that lies against the plane.
    """

    planes: Planes
    cells: NDArray[np.int64]
    ends: int
    rows: CellRows
    last: NDArray[np.int64]


def seam_planes(shape: Vec3, block: Vec3, factors: Factors, image_shape: Vec3) -> tuple[list[Planes], list[Planes]]:
    """Planes of the label image between blocks of the working grid, by axis; and those halfway before each.

    Parameters
    ----------
    shape, block : tuple of int
        Working grid and its blocks.
    factors : tuple of float
        Voxels of the label image per working voxel.
    image_shape : tuple of int
        Of the label image.
    """
    seams: list[Planes] = []
    halfway: list[Planes] = []
    for axis in range(3):
        working = nearest_working(0, image_shape[axis], factors[axis], shape[axis])
        inner = np.arange(block[axis], shape[axis], block[axis])
        for found, at in ((seams, inner), (halfway, inner - block[axis] // 2)):
            first = np.unique(np.searchsorted(working, at))
            found.append(Planes(axis, tuple(first[(first > 0) & (first < image_shape[axis])].tolist())))
    return seams, halfway


def count_crossings(parts: Parts, all_planes: Sequence[Planes]) -> list[Crossings]:
    """Count the cells across planes, and choose some that end there; one `Crossings` for each of ``all_planes``."""
    counts = [np.zeros(len(planes.at) + 1, np.int64) for planes in all_planes]
    ends = [0] * len(all_planes)
    chosen: list[list[tuple[CellRows, NDArray[np.int64]]]] = [[] for _ in all_planes]
    for rows in parts():
        for k, planes in enumerate(all_planes):
            at, low, high = np.asarray(planes.at, np.int64), rows.low[:, planes.axis], rows.high[:, planes.axis]
            first, stop = np.searchsorted(at, low, side="right"), np.searchsorted(at, high, side="left")
            crossing = first < stop
            np.add.at(counts[k], first[crossing], 1)
            np.add.at(counts[k], stop[crossing], -1)
            thick = high - low >= LEAST_LAYERS
            for lies, last in ((np.isin(low, at) & thick, low), (np.isin(high, at) & thick, high - 1)):
                ends[k] += int(lies.sum())
                chosen[k].append((rows.take(lies), last[lies]))
            chosen[k] = _thinned(chosen[k])
    found = []
    for k, planes in enumerate(all_planes):
        some, last = chosen[k][0] if chosen[k] else (None, np.empty(0, np.int64))
        if some is not None:
            found.append(Crossings(planes, np.cumsum(counts[k])[:-1], ends[k], some, last))
    return found


def _thinned(parts: list[tuple[CellRows, NDArray[np.int64]]]) -> list[tuple[CellRows, NDArray[np.int64]]]:
    """All parts as one; every second row where there are too many."""
    rows, last = CellRows.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    while len(rows) > KEEP:
        rows, last = rows.take(slice(None, None, 2)), last[::2]
    return [(rows, last)]


def flatness(area: int, volume: int, layers: int) -> float:
    """Last layer of a cell over its mean layer; 1 or more for a cell that a plane cuts through its widest part."""
    return area * layers / max(volume, 1)
