"""From maps to labels of a volume that fits in memory: the passes of a run on one block, without a file.

Invariant: the labels are those that `bigcp3d.segment` writes for the same maps and settings. The functions are the
same; tiles are tracked, summed and labelled by threads, and what they find does not depend on tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import BlockGrid, Box, Vec3, vec3
from bigcp3d.pure.cluster import cluster_block
from bigcp3d.pure.labelling import label_box
from bigcp3d.pure.objects import Filters, dense_ids, keep_objects
from bigcp3d.pure.radius import closing_radius, path_reach, path_steps, smallest_volume
from bigcp3d.pure.sinks import Sinks, collect_sinks
from bigcp3d.pure.tracking import MAX_REACH, UNIT, tile_shape, track

T = TypeVar("T")


def label_maps(
    maps: NDArray[np.int8],
    radius_vox: float,
    *,
    foreground: float = 0.5,
    filters: Filters | None = None,
    threads: int = 1,
) -> NDArray[np.uint32]:
    """Label the cells of a volume from its predicted maps, in memory.

    Parameters
    ----------
    maps : ndarray of int8, shape (4, z, y, x)
        Foreground and flow (z, y, x; to the cell's centre, in voxels per step), each times 127.
    radius_vox : float
        Expected radius of a cell in voxels, up to 42. Paths take 10 times as many steps, and reach 3 times as far.
    foreground : float
        A voxel is foreground where the predicted foreground is at least this, 0 to 1.
    filters : Filters, optional
        Which cells are kept; default those of at least 5 % of the volume of a ball of the expected radius.
    threads : int
        Threads to use.

    Returns
    -------
    labels : ndarray of uint32, shape (z, y, x)
        0 is background; cells have 1..n in the order of their first voxels in raster order.

    Raises
    ------
    InputError
        Maps of another dtype or shape, a radius out of range, or a filter on the flow error, which needs a run.

    Notes
    -----
    About 16 bytes a voxel, the maps included. Deterministic; the number of threads does not matter.
    """
    shape, reach = _check(maps, radius_vox, filters)
    steps, closing = path_steps(radius_vox), closing_radius(radius_vox)
    threshold, whole = max(1, round(foreground * UNIT)), Box.of_shape(shape)
    if filters is None:
        filters = Filters(min_volume_vox=smallest_volume(radius_vox))
    offsets = np.empty((3, *shape), np.int8)
    labels = np.empty(shape, np.uint32)

    def follow(tile: Box) -> Sinks:
        found = track(maps, whole, tile, shape, foreground=threshold, steps=steps, reach=reach)
        offsets[(slice(None), *tile.slices())] = found
        return collect_sinks(found, tile, shape, foreground=maps[0][tile.slices()], intensity=None, reach=reach)

    grid = BlockGrid(shape, tile_shape(reach))
    tiles = [grid.core(index) for index in grid]
    sinks = Sinks.concatenate(_each(follow, tiles, threads))
    components = cluster_block(sinks, whole, shape, radius=closing)
    ids = dense_ids(components.sums, keep_objects(components.sums, filters)[0])
    sink_id = ids[components.sink_component.astype(np.int64) - 1]

    def name(tile: Box) -> None:
        labels[tile.slices()] = label_box(
            offsets[(slice(None), *tile.slices())],
            tile,
            shape,
            sink_voxel=components.sink_voxel,
            sink_id=sink_id,
            reach=reach,
        )

    _each(name, tiles, threads)
    return labels


def _check(maps: NDArray[np.int8], radius_vox: float, filters: Filters | None) -> tuple[Vec3, int]:
    """Shape of the volume, and how far paths reach; or an error."""
    if maps.dtype != np.int8 or maps.ndim != 4 or maps.shape[0] != 4:
        raise InputError(
            f"maps are {maps.dtype} of shape {maps.shape}; needed is int8 of shape (4, z, y, x): foreground and flow "
            "z, y, x, each times 127 and rounded"
        )
    if not 0 < radius_vox <= MAX_REACH / 3:
        raise InputError(
            f"radius is {radius_vox:g} voxels; allowed is up to {MAX_REACH // 3}, since paths are stored in int8: "
            "predict the maps on a coarser grid"
        )
    if filters is not None and filters.max_flow_error is not None:
        raise InputError("a filter on the flow error needs a run: use `bigcp3d.segment(..., max_flow_error=...)`")
    return vec3(maps.shape[1:]), path_reach(radius_vox)


def _each(task: Callable[[Box], T], boxes: list[Box], threads: int) -> list[T]:
    """Call a function on every box, by threads; results in the order of the boxes."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(task, boxes))
