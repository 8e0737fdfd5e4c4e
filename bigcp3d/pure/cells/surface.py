"""Surface areas of cells by Crofton's formula: count where lines in 13 directions leave a cell.

The mean area of a body's shadow over all directions is a quarter of its surface. A line that enters a body leaves it
again, so a shadow is the number of exits times the area that a line stands for. The lines run to the 26 neighbours of a
voxel. Each direction stands for the part of the sphere nearest to it, in micrometres, so voxels may have any shape. A
ball comes out within a few percent from a radius of 3 voxels; counting voxel faces gives about 50 % too much at any
resolution. Exits are counts of neighbouring voxels, so surfaces do not depend on blocks.

Source: Ohser and Muecklich, "Statistical Analysis of Microstructures in Materials Science" (2000), chapter 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import SphericalVoronoi

from bigcp3d.pure.group.seams import HALF_NEIGHBOURS


def direction_weights(scale: Sequence[float]) -> NDArray[np.float64]:
    """Share of the sphere for each of `HALF_NEIGHBOURS` and its opposite; ``scale`` is a voxel's size."""
    steps = np.asarray(HALF_NEIGHBOURS, np.float64) * np.asarray(scale, np.float64)
    unit = steps / np.linalg.norm(steps, axis=1, keepdims=True)
    areas = SphericalVoronoi(np.concatenate([unit, -unit])).calculate_areas()
    shares: NDArray[np.float64] = (areas[: len(unit)] + areas[len(unit) :]) / areas.sum()
    return shares


def surfaces(exits: NDArray[np.int64], scale: Sequence[float]) -> NDArray[np.float64]:
    """Surface of each cell, float64 (n,), in units of ``scale`` squared; ``scale`` is a voxel's size.

    ``exits`` (n, 13) are those of `bigcp3d.pure.cells.cell_sums.CellSums`; a cell ends where the volume ends.
    """
    steps = np.linalg.norm(np.asarray(HALF_NEIGHBOURS) * np.asarray(scale, np.float64), axis=1)
    per_exit = 4 * direction_weights(scale) * float(np.prod(np.asarray(scale, np.float64))) / steps
    areas: NDArray[np.float64] = (exits * per_exit).sum(axis=1)  # unlike @, to the last bit the same for any rows
    return areas
