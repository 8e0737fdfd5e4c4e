"""Tracking: follow the flow from every foreground voxel to the point where its path comes to rest.

The maps are int8, so a step is a whole number of 1/127 voxels and a position, kept relative to the start, is three
integers in that unit. Nothing is rounded: a voxel's path is the same in every block, on every machine. 127 is odd, so
the nearest voxel ``floor((p + 63) / 127)`` is never a tie. (-128 in the maps counts as -127.)

Invariant: an end point depends on the flow within ``reach`` voxels of the start and on the volume's border only. So a
block that reads its core grown by ``reach`` finds what the whole volume finds.

A path adds the flow (which points to the centre, see `bigcp3d.pure.learn.targets`) and ends

- where it has come to rest: 12 steps (`PAUSE`) have moved it by less than a fifth of a voxel (`STILL`), as at a fixed
  point, in a short cycle, or circling a centre; the end is the lowest position of those steps in raster order;
- after ``steps`` steps, where it happens to be;
- nowhere, once the nearest voxel is further than ``reach`` from the start on any axis: the voxel is unassigned.

`bigcp3d.pure.track.tracking_numba` computes hundreds of paths side by side, `bigcp3d.pure.track.tracking_torch`
millions on a GPU. A block is tracked in tiles, which fit the caches and change no end point; a tile without foreground
costs nothing.

Follows Stringer et al. 2021 (Cellpose, Euler steps along the flow) and Eschweiler and Stegmaier 2021, section 2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import BlockGrid, Box, Vec3, vec3
from bigcp3d.pure.track.tracking_numba import follow_tile
from bigcp3d.pure.track.units import MAX_REACH, UNASSIGNED


def tile_shape(reach: int) -> Vec3:
    """Tile in which a block is tracked, in voxels; grown by ``reach`` it has four to five times its volume."""
    side = max(64, 4 * reach)
    return side // 2, side, side


def check_reach(region: Box, core: Box, shape: Vec3, reach: int) -> None:
    """Raise `ValueError` if ``reach`` does not fit int8, or ``region`` is too small for ``core`` and ``reach``."""
    if not 1 <= reach <= MAX_REACH:
        raise ValueError(f"reach is {reach} voxels; offsets are stored in int8, so 1 to {MAX_REACH} are allowed")
    needed = core.grow(reach).clip(shape)
    if region.intersect(needed) != needed:
        raise ValueError(f"tracking {core} with reach {reach} needs {needed}, but the maps cover {region} only")


def track(
    maps: NDArray[np.int8],
    region: Box,
    core: Box,
    shape: Vec3,
    *,
    foreground: int,
    steps: int,
    reach: int,
) -> NDArray[np.int8]:
    """Follow the flow from every foreground voxel of ``core`` to its end point.

    Parameters
    ----------
    maps : ndarray of int8, shape (4, Z, Y, X)
        Foreground and flow (z, y, x) of ``region``, each times 127; the flow in voxels per step.
    region, core : Box
        Voxels of ``core`` are tracked; ``region`` holds ``core`` grown by ``reach``, clipped to the volume.
    shape : tuple of int
        The whole volume, in voxels: paths do not leave it.
    foreground : int
        A voxel is foreground where the stored foreground is at least this (0.5 is 64).
    steps : int
        Largest number of Euler steps.
    reach : int
        Largest distance from the start on each axis, in voxels, 1 to 127.

    Returns
    -------
    offsets : ndarray of int8, shape (3, z, y, x)
        End voxel minus start voxel; -128 in all three where the voxel is background or unassigned.

    Raises
    ------
    ValueError
        If ``reach`` does not fit int8, or ``region`` is too small for ``core`` and ``reach``.

    Notes
    -----
    Exact under blocking; halo ``reach``; deterministic. Beside the input 3 bytes a voxel of ``core``, and 4 bytes a
    voxel of what one tile sees (`tile_shape` grown by ``reach``, within ``region``).
    """
    check_reach(region, core, shape, reach)
    offsets = np.full((3, *core.shape), UNASSIGNED, np.int8)
    own = maps[0][core.slices(region.start)]
    low = vec3(-b for b in region.start)
    high = vec3(s - b - 1 for s, b in zip(shape, region.start, strict=True))
    origin = vec3(a - b for a, b in zip(core.start, region.start, strict=True))
    here = Box(vec3(-a for a in origin), vec3(b - a for a, b in zip(origin, region.shape, strict=True)))
    tiles = BlockGrid(core.shape, tile_shape(reach))
    seen = {tile: tiles.core(tile).grow(reach).intersect(here) for tile in tiles}
    words = np.empty(1 + max((box.size for box in seen.values()), default=0), np.int32)
    for index, box in seen.items():
        tile = tiles.core(index)
        if (own[tile.slices()] >= foreground).any():
            sees = vec3(a + b for a, b in zip(box.start, origin, strict=True)), box.shape
            limits = low, high, foreground, steps, reach
            follow_tile(maps, *sees, tile.start, tile.stop, origin, *limits, words, offsets)
    return offsets
