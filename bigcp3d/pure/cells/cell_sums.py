"""Sums over the cells of labels, block by block. The table of cells is made from them.

A block is its core and one voxel around it, zeros beyond the volume::

      0 0 0 0 0 0      Each voxel of the core is compared with 13 of its 26 neighbours: those after it in raster
      0 a a b b b      order. So every pair of voxels is seen once, by the block of its first voxel.
      0 a a b b b

Invariant: every number is an integer, and each voxel and pair belongs to one block. So tables of blocks that tile a
volume add up to that of the volume, in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.cells.light_sums import sum_light
from bigcp3d.pure.compiled import compiled
from bigcp3d.pure.group.seams import HALF_NEIGHBOURS
from bigcp3d.pure.score.overlaps import Ids, Overlaps, merge_overlaps, run_starts
from bigcp3d.pure.track.sinks import Sums


@dataclass(frozen=True, eq=False)
class CellSums:
    """Sums over n cells, sorted by id, and which of them touch."""

    ids: Ids
    sums: Sums
    """Voxels, coordinates and their products, boxes, first voxels; foreground and intensity stay 0."""
    exits: NDArray[np.int64]
    """Shape (n, 13): voxels of the cell whose neighbour in a direction (`HALF_NEIGHBOURS`) is outside the cell."""
    light: NDArray[np.int64]
    """Shape (n, d): sums of intensities and of their squares, the digits of each channel after those of the last
    (`bigcp3d.pure.cells.light_sums`)."""
    contacts: Overlaps
    """Pairs of cells that share voxel faces (6-neighbours), the smaller id first, and the number of these faces."""
    unknown_vox: int = 0
    """Voxels with a negative id: they were not annotated, and count as background."""

    def __len__(self) -> int:
        return len(self.ids) + len(self.contacts)


def sum_cells(labels: NDArray[np.integer], start: Vec3, shape: Vec3, light: Sequence[NDArray[np.generic]]) -> CellSums:
    """Sum over the cells of one block; ``contacts`` may also name cells of the halo.

    ``labels`` (z + 2, y + 2, x + 2) are the ids of the core and one voxel around it, 0 beyond the volume. The core
    begins at ``start`` in a volume of ``shape``. ``light`` has the core's intensities, (z, y, x) for each channel.
    Memory: 4 bytes a voxel beside the input, and 4 more for floats.
    """
    begin = run_starts(labels)
    ids, row = np.unique(np.ravel(labels)[begin], return_inverse=True)
    first = int(np.searchsorted(ids, 0, side="right"))  # negative ids are background too
    unknown = int(np.count_nonzero(labels[1:-1, 1:-1, 1:-1] < 0)) if first and ids[0] < 0 else 0
    number = np.maximum(row - first + 1, 0).astype(np.int32)
    rows = np.repeat(number, np.diff(begin, append=labels.size)).reshape(labels.shape)
    n = len(ids) - first
    sums, exits = Sums.empty(n), np.zeros((n, len(HALF_NEIGHBOURS)), np.int64)
    _add_runs(rows, start, shape, sums.count, sums.coordinates, sums.products, sums.low, sums.high, sums.first)
    bright = np.concatenate([np.empty((n, 0), np.int64), *(sum_light(rows, values, n) for values in light)], axis=1)
    pairs = _find_contacts(rows, n, exits)
    kept, names = np.flatnonzero(sums.count), ids[first:].astype(np.uint64)
    one, other = names[pairs[:, 0] - 1], names[pairs[:, 1] - 1]
    touching = merge_overlaps([Overlaps(np.minimum(one, other), np.maximum(one, other), pairs[:, 2])])
    return CellSums(names[kept], sums.take(kept), exits[kept], bright[kept], touching, unknown)


def merge_cell_sums(parts: Sequence[CellSums], digits: int) -> CellSums:
    """The sums of a volume, or a part of it, from those of disjoint blocks; ``light`` has so many digits."""
    contacts, unknown = merge_overlaps([p.contacts for p in parts]), sum(p.unknown_vox for p in parts)
    ids = np.unique(np.concatenate([np.empty(0, np.uint64), *(p.ids for p in parts)]))
    sums, exits = Sums.empty(len(ids)), np.zeros((len(ids), len(HALF_NEIGHBOURS)), np.int64)
    light = np.zeros((len(ids), digits), np.int64)
    for part in parts:  # one by one, since copies of all rows together would double the memory
        rows = np.searchsorted(ids, part.ids)
        sums.add(part.sums, rows)
        exits[rows] += part.exits  # a part has each id once
        light[rows] += part.light
    return CellSums(ids, sums, exits, light, contacts, unknown)


@compiled
def _add_runs(rows, start, shape, count, coordinates, products, low, high, first):  # type: ignore[no-untyped-def]
    """Add the geometry of the core's cells, run by run along x."""
    nz, ny, nx = rows.shape
    for z in range(1, nz - 1):
        gz = z - 1 + start[0]
        for y in range(1, ny - 1):
            gy = y - 1 + start[1]
            x = 1
            while x < nx - 1:
                own = rows[z, y, x]
                a = x
                while x < nx - 1 and rows[z, y, x] == own:
                    x += 1
                if own == 0:
                    continue
                i, n = own - 1, np.int64(x - a)
                low_x, high_x = np.int64(a - 1 + start[2]), np.int64(x - 1 + start[2])
                sum_x = (low_x + high_x - 1) * n // 2
                square_x = ((high_x - 1) * high_x * (2 * high_x - 1) - (low_x - 1) * low_x * (2 * low_x - 1)) // 6
                count[i] += n
                coordinates[i, 0] += gz * n
                coordinates[i, 1] += gy * n
                coordinates[i, 2] += sum_x
                products[i, 0] += gz * gz * n
                products[i, 1] += gy * gy * n
                products[i, 2] += square_x
                products[i, 3] += gz * gy * n
                products[i, 4] += gz * sum_x
                products[i, 5] += gy * sum_x
                low[i, 0], high[i, 0] = min(low[i, 0], gz), max(high[i, 0], gz + 1)
                low[i, 1], high[i, 1] = min(low[i, 1], gy), max(high[i, 1], gy + 1)
                low[i, 2], high[i, 2] = min(low[i, 2], low_x), max(high[i, 2], high_x)
                first[i] = min(first[i], (gz * shape[1] + gy) * shape[2] + low_x)


def _find_contacts(rows: NDArray[np.int32], n: int, exits: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs of rows that share faces, and how many, shape (m, 3); adds to ``exits``."""
    steps = np.array(HALF_NEIGHBOURS)
    size = 1 << max(10, int(16 * n).bit_length())
    while True:
        keys, counts = np.full(size, -1, np.int64), np.zeros(size, np.int64)
        found = np.zeros_like(exits)
        if _touch(rows, steps, np.abs(steps).sum(axis=1) == 1, n, found, keys, counts):
            exits += found
            at = np.flatnonzero(keys >= 0)
            return np.stack([keys[at] // (n + 1), keys[at] % (n + 1), counts[at]], axis=1)
        size *= 4


@compiled
def _touch(rows, steps, face, n, exits, keys, counts):  # type: ignore[no-untyped-def]
    """Count exits, and pairs across the steps that are a ``face``; False if the hash table of pairs is too small."""
    nz, ny, nx = rows.shape
    room = len(keys) // 2
    mask = len(keys) - 1
    for z in range(1, nz - 1):
        for y in range(1, ny - 1):
            x = 1
            while x < nx - 1:
                own = rows[z, y, x]
                a = x
                while x < nx - 1 and rows[z, y, x] == own:
                    x += 1
                if own == 0:
                    continue
                for d in range(len(steps)):
                    near, shift = rows[z + steps[d, 0], y + steps[d, 1]], steps[d, 2]
                    differ = 0
                    for k in range(a + shift, x + shift):
                        differ += near[k] != own
                    if differ == 0:
                        continue
                    exits[own - 1, d] += differ
                    if not face[d]:
                        continue
                    last, slot = own, 0
                    for k in range(a + shift, x + shift):
                        other = near[k]
                        if other == own or other == 0:
                            continue
                        if other != last:
                            last = other
                            key = np.int64(min(own, other)) * (n + 1) + max(own, other)
                            slot = ((key * np.int64(0x9E3779B1)) >> 7) & mask
                            while keys[slot] != key and keys[slot] >= 0:
                                slot = (slot + 1) & mask
                            if keys[slot] < 0:
                                keys[slot] = key
                                room -= 1
                                if room == 0:
                                    return False
                        counts[slot] += 1
    return True
