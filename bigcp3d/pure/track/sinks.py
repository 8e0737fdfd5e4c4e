"""Sinks: the voxels where paths end, each with sums over the voxels whose paths end there.

There are about a thousand times fewer sinks than voxels. All sums are integers, so they do not depend on the order of
adding. Several blocks may reach a sink: each writes its part, and whoever needs the sink adds the parts. So volume,
centroid, axes, bounding box and foreground of a whole cell are known before a label is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.pure.compiled import compiled
from bigcp3d.pure.track.units import UNASSIGNED

PRODUCTS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
"""Pairs of axes, in the order in which `Sums.products` holds them."""


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over the voxels of n things (sinks, components or objects): arrays of int64, a row for each thing."""

    count: NDArray[np.int64]
    """Voxels."""
    foreground: NDArray[np.int64]
    """Stored foreground (times 127)."""
    first: NDArray[np.int64]
    """Lowest raster index of a voxel."""
    coordinates: NDArray[np.int64]
    """Shape (n, 3): sums of z, y, x."""
    products: NDArray[np.int64]
    """Shape (n, 6): sums of zz, yy, xx, zy, zx, yx."""
    low: NDArray[np.int64]
    """Shape (n, 3): first voxel of the bounding box."""
    high: NDArray[np.int64]
    """Shape (n, 3): one past its last voxel."""
    image_vox: NDArray[np.int64]
    """Voxels of the label image that take their label from these voxels."""

    @classmethod
    def empty(cls, n: int) -> Sums:
        """Sums over no voxels, for n things."""
        most, wide = np.iinfo(np.int64).max, {"coordinates": 3, "products": 6, "low": 3, "high": 3}
        shapes = {f.name: (n, wide[f.name]) if f.name in wide else (n,) for f in fields(cls)}
        return cls(**{k: np.full(s, most if k in ("first", "low") else 0, np.int64) for k, s in shapes.items()})

    def __len__(self) -> int:
        return len(self.count)

    def arrays(self) -> dict[str, NDArray[np.int64]]:
        """The columns by name, as they are stored."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.int64]]) -> Sums:
        """Columns as `arrays` gave them; other keys are ignored."""
        return cls(**{field.name: arrays[field.name] for field in fields(cls)})

    def rows(self) -> NDArray[np.int64]:
        """The columns side by side, shape (n, `ROW`): a file of them can be read in parts."""
        columns = self.arrays()
        out = np.empty((len(self), ROW), np.int64)
        for name, where in _COLUMNS.items():
            out[:, where] = columns[name].reshape(len(self), where.stop - where.start)
        return out

    @classmethod
    def from_rows(cls, rows: NDArray[np.int64]) -> Sums:
        """Columns of what `rows` gave."""
        columns = {name: np.ascontiguousarray(rows[:, where]) for name, where in _COLUMNS.items()}
        return cls(**{name: column if column.shape[1] > 1 else column[:, 0] for name, column in columns.items()})

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Sums:
        """Some rows."""
        return Sums(**{name: column[rows] for name, column in self.arrays().items()})

    def group(self, group: NDArray[np.int64], n: int) -> Sums:
        """Add up rows: row i belongs to thing ``group[i]`` of ``n``."""
        total = Sums.empty(n)
        total.add(self, group)
        return total

    def add(self, more: Sums, group: NDArray[np.int64]) -> None:
        """Add rows in place: row i of ``more`` belongs to thing ``group[i]``."""
        columns = more.arrays()
        for name, column in self.arrays().items():
            combine = {"first": np.minimum, "low": np.minimum, "high": np.maximum}.get(name, np.add)
            combine.at(column, group, columns[name])

    @classmethod
    def concatenate(cls, parts: Sequence[Sums]) -> Sums:
        """Rows of all parts, one after the other."""
        if not parts:
            return cls.empty(0)
        return cls(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)})


def _columns() -> dict[str, slice]:
    """Where `Sums.rows` has each column."""
    where, begin = {}, 0
    for name, column in Sums.empty(1).arrays().items():
        where[name] = slice(begin, begin + column.size)
        begin += column.size
    return where


_COLUMNS = _columns()

ROW = max(where.stop for where in _COLUMNS.values())
"""Numbers of a row of `Sums.rows`."""

FIRST = _COLUMNS["first"].start
"""Which of them is the lowest raster index."""


@dataclass(frozen=True, eq=False)
class Sinks:
    """Sinks reached from one block: ``voxel`` (int32, shape (n, 3), coordinates of the volume) and their sums."""

    voxel: NDArray[np.int32]
    sums: Sums

    def within(self, box: Box) -> Sinks:
        """The sinks whose voxel lies in ``box``."""
        inside = np.all((self.voxel >= box.start) & (self.voxel < box.stop), axis=1)
        return Sinks(self.voxel[inside], self.sums.take(inside))

    @classmethod
    def concatenate(cls, parts: Sequence[Sinks]) -> Sinks:
        """All rows; a voxel that several blocks reach has several."""
        voxel = np.concatenate([np.empty((0, 3), np.int32), *(p.voxel for p in parts)])
        return cls(voxel, Sums.concatenate([p.sums for p in parts]))


_ROW = np.dtype(
    [("voxel", np.int64, 3)] + [(name, np.int64, column.shape[1:]) for name, column in Sums.empty(0).arrays().items()]
)
"""A sink while it is summed: its voxel and a row of `Sums`, side by side in memory."""


@compiled
def _number(offsets, start, slot):  # type: ignore[no-untyped-def]
    """Give each end voxel a number in ``slot`` (over the core grown by the reach); return how many there are."""
    n = 0
    _, nz, ny, nx = offsets.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if offsets[0, z, y, x] == UNASSIGNED:
                    continue
                ez = z + start[0] + offsets[0, z, y, x]
                ey = y + start[1] + offsets[1, z, y, x]
                ex = x + start[2] + offsets[2, z, y, x]
                if slot[ez, ey, ex] < 0:
                    slot[ez, ey, ex] = n
                    n += 1
    return n


@compiled
def _add_voxels(offsets, start, slot, core_start, shape, foreground, takers, rows):  # type: ignore[no-untyped-def]
    """Add every assigned voxel of the core to the row (`_ROW`) of its sink."""
    _, nz, ny, nx = offsets.shape
    at = np.empty(3, np.int64)
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if offsets[0, z, y, x] == UNASSIGNED:
                    continue
                at[0], at[1], at[2] = z + core_start[0], y + core_start[1], x + core_start[2]
                sink = rows[
                    slot[
                        z + start[0] + offsets[0, z, y, x],
                        y + start[1] + offsets[1, z, y, x],
                        x + start[2] + offsets[2, z, y, x],
                    ]
                ]
                if sink.count == 0:  # voxels come in raster order, so this one is the first
                    sink.first = (at[0] * shape[1] + at[1]) * shape[2] + at[2]
                    for a in range(3):
                        sink.voxel[a] = at[a] + offsets[a, z, y, x]
                        sink.low[a] = at[a]
                sink.count += 1
                sink.image_vox += takers[z, y, x]
                sink.foreground += foreground[z, y, x]
                for a in range(3):
                    sink.coordinates[a] += at[a]
                    sink.products[a] += at[a] * at[a]
                    sink.low[a] = min(sink.low[a], at[a])
                    sink.high[a] = max(sink.high[a], at[a] + 1)
                sink.products[3] += at[0] * at[1]
                sink.products[4] += at[0] * at[2]
                sink.products[5] += at[1] * at[2]


def collect_sinks(
    offsets: NDArray[np.int8],
    core: Box,
    shape: Vec3,
    *,
    foreground: NDArray[np.int8],
    reach: int,
    takers: NDArray[np.int32] | None = None,
) -> Sinks:
    """Find the sinks of a block, in raster order of their voxels, and sum over the voxels that end in each.

    ``offsets`` are those of ``core``, as `bigcp3d.pure.track.tracking.track` returns them; ``reach`` is the largest
    one. ``foreground`` is the stored foreground of the core. ``takers`` is how many voxels of the label image take the
    label of each voxel of the core; default one. Memory: 4 bytes a voxel of the core grown by ``reach``.
    """
    grown = core.grow(reach).clip(shape)
    slot = np.full(grown.shape, -1, np.int32)
    start = tuple(a - b for a, b in zip(core.start, grown.start, strict=True))
    n = _number(offsets, start, slot)
    rows = np.zeros(n, _ROW)
    takers = np.ones(core.shape, np.int32) if takers is None else takers
    _add_voxels(offsets, start, slot, core.start, shape, foreground, takers, rows)
    voxel = rows["voxel"].astype(np.int32)
    order = np.lexsort((voxel[:, 2], voxel[:, 1], voxel[:, 0]))
    return Sinks(voxel[order], Sums(**{field.name: rows[field.name][order] for field in fields(Sums)}))
