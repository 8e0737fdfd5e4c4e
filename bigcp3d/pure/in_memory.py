"""From maps to labels in memory: the passes of a run on one volume, or a box of it, without files.

Invariant: labels equal those that `bigcp3d.segment` writes for the same maps and settings. The functions are the same.
Threads work on tiles, and the result does not depend on tiles.

`find_objects` tracks and groups, which takes nearly all of the time. Filters and ids follow from sums over whole
objects, so trying other filters costs almost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import BlockGrid, Box, Vec3, vec3
from bigcp3d.pure.cells.found import Found, sum_up_one_part
from bigcp3d.pure.group.cluster import Components, cluster_block
from bigcp3d.pure.group.filters import Filters
from bigcp3d.pure.group.objects import centroids, dense_ids, keep_objects, squared_flow_error
from bigcp3d.pure.label.labelling import label_box
from bigcp3d.pure.track.path_error import path_squares
from bigcp3d.pure.track.radius import closing_radius, expected_diameter, path_reach, path_steps, smallest_volume
from bigcp3d.pure.track.sinks import Sinks, collect_sinks
from bigcp3d.pure.track.tracking import tile_shape, track
from bigcp3d.pure.track.units import MAX_REACH, UNIT

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """Settings of tracking and closing: threshold 1 to 127, steps, reach and closing radius in voxels."""

    foreground: int
    steps: int
    reach: int
    radius: int

    @classmethod
    def of(cls, radius_vox: float, foreground: float = 0.5) -> Limits:
        """Defaults for cells of a radius; ``foreground`` is the threshold as a probability."""
        threshold = max(1, round(foreground * UNIT))
        return cls(threshold, path_steps(radius_vox), path_reach(radius_vox), closing_radius(radius_vox))


@dataclass(frozen=True, eq=False)
class Objects:
    """All objects found in a box of a volume, before any filter."""

    maps: NDArray[np.int8]
    """Shape (4, z, y, x), of ``region``."""
    region: Box
    box: Box
    """The part whose voxels were tracked."""
    shape: Vec3
    """The whole volume."""
    limits: Limits
    offsets: NDArray[np.int8]
    """Shape (3, z, y, x), of ``box``."""
    components: Components
    """Each is one object."""

    @property
    def foreground_vox(self) -> int:
        """Foreground voxels of the box."""
        return int(np.count_nonzero(self.maps[0][self.box.slices(self.region.start)] >= self.limits.foreground))

    def squares(self, representation: str, scale_vox: float) -> NDArray[np.int64]:
        """Squared flow error of each object, summed over its voxels (`bigcp3d.pure.group.objects`)."""
        sums, total = self.components.sums, np.zeros(len(self.components), np.int64)
        grid = BlockGrid(self.box.shape, tile_shape(self.limits.reach))
        for tile in (grid.core(index) for index in grid):
            core = tile.shift(self.box.start)
            objects = self.label(core, np.arange(1, len(sums) + 1))
            at = np.nonzero(objects)
            present, local = np.unique(objects[at].astype(np.int64) - 1, return_inverse=True)
            flow = self.maps[(slice(1, None), *core.slices(self.region.start))].reshape(3, -1)
            total[present] += squared_flow_error(
                flow[:, np.flatnonzero(objects)],
                local,
                centroids(sums.take(present)),
                np.stack(at, axis=1) + np.asarray(core.start),
                representation=representation,
                scale_vox=scale_vox,
            )
        return total

    def label(self, core: Box, ids: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Labels in ``core``, a part of the box; ``ids`` has the id of each object, 0 where it is removed."""
        labels: NDArray[np.uint32] = label_box(
            self.offsets[(slice(None), *core.slices(self.box.start))],
            core,
            self.shape,
            sink_voxel=self.components.sink_voxel,
            sink_id=ids[self.components.sink_component.astype(np.int64) - 1],
            reach=self.limits.reach,
        )
        return labels


def find_objects(
    maps: NDArray[np.int8],
    region: Box,
    box: Box,
    shape: Vec3,
    limits: Limits,
    *,
    threads: int = 1,
) -> Objects:
    """Track the voxels of a box and group their end points; voxels outside count as background.

    ``maps`` (4, z, y, x) cover ``region``: at least ``box`` grown by the reach, clipped to the volume of ``shape``.
    ``threads`` do not change the result. Memory: about 16 bytes a voxel, the maps included.
    """
    offsets = np.empty((3, *box.shape), np.int8)
    how = {"foreground": limits.foreground, "steps": limits.steps, "reach": limits.reach}

    def follow(tile: Box) -> Sinks:
        core = tile.shift(box.start)
        found = track(maps, region, core, shape, **how)
        offsets[(slice(None), *tile.slices())] = found
        return collect_sinks(
            found,
            core,
            shape,
            foreground=maps[0][core.slices(region.start)],
            reach=limits.reach,
        )

    grid = BlockGrid(box.shape, tile_shape(limits.reach))
    sinks = Sinks.concatenate(_each(follow, [grid.core(index) for index in grid], threads))
    around = box.grow(limits.reach + limits.radius).clip(shape)
    components = cluster_block(sinks, around, radius=limits.radius)
    return Objects(maps, region, box, shape, limits, offsets, components)


def find_in(
    objects: Objects, keep: NDArray[np.bool_], removed: Mapping[str, int], *, representation: str, scale_vox: float
) -> Found:
    """What is found, for the check of plausibility (`bigcp3d.pure.cells.plausibility`).

    ``keep`` and ``removed`` come from `keep_objects`; ``representation`` and ``scale_vox`` say what flow means, as in a
    model's card.
    """
    sums, limits = objects.components.sums, objects.limits
    flow = objects.maps[(slice(1, None), *objects.box.slices(objects.region.start))]
    return Found(
        diameter_vox=expected_diameter(limits.reach),
        volume_vox=objects.box.size,
        foreground_vox=objects.foreground_vox,
        assigned_vox=int(sums.count.sum()),
        path_squares=path_squares(flow, objects.offsets, representation=representation, scale_vox=scale_vox),
        **sum_up_one_part(sums, keep, removed, objects.shape),
    )


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
        Which cells are kept; default: those of at least a fortieth of the volume of a ball of the expected radius.
    threads : int
        Does not change the result.

    Returns
    -------
    labels : ndarray of uint32, shape (z, y, x)
        0 is background; cells are 1..n in the raster order of their first voxels.

    Raises
    ------
    InputError
        Maps of another dtype or shape, a radius out of range, or a filter on the flow error, which needs a run.

    Notes
    -----
    About 16 bytes a voxel, the maps included.
    """
    _check(maps, radius_vox, filters)
    shape, limits = vec3(maps.shape[1:]), Limits.of(radius_vox, foreground)
    if filters is None:
        filters = Filters(min_volume_vox=smallest_volume(radius_vox))
    whole = Box.of_shape(shape)
    objects = find_objects(maps, whole, whole, shape, limits, threads=threads)
    ids = dense_ids(objects.components.sums, keep_objects(objects.components.sums, filters)[0])
    labels = np.empty(shape, np.uint32)

    def fill(tile: Box) -> None:
        labels[tile.slices()] = objects.label(tile, ids)

    grid = BlockGrid(shape, tile_shape(limits.reach))
    _each(fill, [grid.core(index) for index in grid], threads)
    return labels


def _check(maps: NDArray[np.int8], radius_vox: float, filters: Filters | None) -> None:
    """Refuse unusable arguments."""
    if maps.dtype != np.int8 or maps.ndim != 4 or maps.shape[0] != 4:
        raise InputError(
            f"maps are {maps.dtype} of shape {maps.shape}; give int8 of shape (4, z, y, x): foreground and flow "
            "z, y, x, each times 127 and rounded"
        )
    if not 0 < radius_vox <= MAX_REACH / 3:
        raise InputError(
            f"radius is {radius_vox:g} voxels; use at most {MAX_REACH // 3}, because paths are stored in int8: "
            "predict the maps on a coarser grid"
        )
    if filters is not None and filters.max_flow_error is not None:
        raise InputError("a filter on the flow error needs a run: use `bigcp3d.segment(..., max_flow_error=...)`")


def _each(task: Callable[[Box], T], boxes: list[Box], threads: int) -> list[T]:
    """Call a function on every box, in threads; results in the order of the boxes."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(task, boxes))
