"""Reads what the review of cells needs: sums over cells, and from kept maps the foreground in and beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bigcp3d.edge.image.given_maps import open_maps, read_maps
from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.pure.boxes import Box, Vec3, vec3
from bigcp3d.pure.cells.cell_summary import CellRows
from bigcp3d.pure.cells.review_order import largest_contacts
from bigcp3d.pure.grid import nearest_working
from bigcp3d.pure.track.units import UNIT
from bigcp3d.work.analyse.measure import block_grid, sum_box
from bigcp3d.work.analyse.report_cells import rows_of

HIGHER = 0.2
"""The second threshold lies this much above the first."""


@dataclass(frozen=True, eq=False)
class Doubtful:
    """The cells of a time point, with what maps say of them (NaN without maps), and foreground without a label."""

    rows: CellRows
    shared: NDArray[np.float64]
    """Share of the voxel faces that a cell has in common with the neighbour that it touches most."""
    foreground: NDArray[np.float64]
    """Mean predicted foreground."""
    lost: NDArray[np.float64]
    """Share of the voxels that are no foreground at the higher threshold."""
    missing: list[tuple[Vec3, int]]
    """A voxel and the number of voxels of each large piece of foreground that has no label."""


def read_cells(labels: ImageInfo, maps: str | Path | None, said: Mapping[str, Any], time: int) -> Doubtful:
    """Read the cells of labels block by block; ``said`` are the parameters that the labels record, where they do.

    A piece of foreground that a block's border cuts counts as two.
    """
    whole = labels.levels[0].shape
    sums = sum_box(labels, Box.of_shape(whole), time)
    cells = rows_of(sums, labels, time)
    shared = largest_contacts(sums)
    none = np.full(len(cells), np.nan)
    if maps is None:
        return Doubtful(cells, shared, none, none, [])
    shape = vec3(said.get("shape") or whole)
    array = open_maps(maps, shape, labels.times, time)
    threshold = round(float(said.get("foreground") or 0.5) * (1 if (said.get("foreground") or 0.5) > 1 else UNIT))
    grid = block_grid(labels, whole)
    total, below = np.zeros((2, len(cells)), np.int64)
    missing, least = [], 0.1 * float(np.median(cells.volume)) if len(cells) else 1.0
    for index in grid:
        core = grid.core(index)
        ids, bright = read_box(labels, 0, core, time=time), _foreground(array, core, whole, shape, time)
        at = ids > 0
        here, place = np.unique(ids[at], return_inverse=True)
        row = np.searchsorted(cells.ids, here.astype(cells.ids.dtype))
        total[row] += np.bincount(place, bright[at], len(here)).astype(np.int64)
        below[row] += np.bincount(place, bright[at] < threshold + HIGHER * UNIT, len(here)).astype(np.int64)
        missing += _missing(~at & (bright >= threshold), core, least)
    return Doubtful(cells, shared, total / cells.volume / UNIT, below / cells.volume, missing)


def _foreground(array: Any, box: Box, whole: Vec3, shape: Vec3, time: int) -> NDArray[np.int8]:
    """The predicted foreground times 127 at the voxels of a box of the labels."""
    factors = [n / s for n, s in zip(whole, shape, strict=True)]
    near = [nearest_working(a, b, f, s) for a, b, f, s in zip(box.start, box.stop, factors, shape, strict=True)]
    seen = Box(vec3(int(n.min()) for n in near), vec3(int(n.max()) + 1 for n in near))
    maps = read_maps(array, time, seen)[0]
    found: NDArray[np.int8] = maps[np.ix_(*(n - a for n, a in zip(near, seen.start, strict=True)))]
    return found


def _missing(free: NDArray[np.bool_], core: Box, least: float) -> list[tuple[Vec3, int]]:
    """Large pieces of foreground without a label; its outermost voxels do not count, so thin seams are none."""
    pieces, n = cc3d.connected_components(ndimage.binary_erosion(free), connectivity=6, return_N=True)
    counts = np.bincount(pieces.ravel(), minlength=n + 1)
    found = []
    for piece in np.flatnonzero(counts[1:] >= least) + 1:
        at = np.argwhere(pieces == piece)
        middle = at[np.linalg.norm(at - at.mean(axis=0), axis=1).argmin()]
        found.append((vec3(np.add(middle, core.start)), int(counts[piece])))
    return found
