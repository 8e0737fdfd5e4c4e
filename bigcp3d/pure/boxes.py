"""Boxes and block grids: the geometry that all passes share.

A *box* is a half-open range of voxels per axis, (z, y, x), in coordinates of the whole volume. A *block grid* cuts a
volume into blocks. Block ``(i, j, k)`` owns its *core* and may read a larger box, its *read region*::

      read region = core grown by the halo, clipped to the volume
      +-----------------+
      |  +-----------+  |
      |  |   core    |  |     cores tile the volume, so every voxel has one owner
      |  +-----------+  |
      +-----------------+

Everything is integer arithmetic on tuples, without arrays.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import SupportsFloat, SupportsInt

Vec3 = tuple[int, int, int]
Float3 = tuple[float, float, float]

EDGE = 1e-6
"""Share of a voxel that rounding errors of a factor may add to a box."""


def vec3(values: Iterable[SupportsInt]) -> Vec3:
    """Three integers as a tuple."""
    z, y, x = (int(v) for v in values)
    return z, y, x


def float3(values: Iterable[SupportsFloat]) -> Float3:
    """Three floats as a tuple."""
    z, y, x = (float(v) for v in values)
    return z, y, x


@dataclass(frozen=True, order=True)
class Box:
    """Half-open box ``[start, stop)`` in voxels, axes (z, y, x)."""

    start: Vec3
    stop: Vec3

    @classmethod
    def of_shape(cls, shape: Vec3) -> Box:
        """The box of a whole volume."""
        return cls((0, 0, 0), shape)

    @property
    def shape(self) -> Vec3:
        """Voxels per axis; 0 where the box is empty."""
        return vec3(max(0, b - a) for a, b in zip(self.start, self.stop, strict=True))

    @property
    def size(self) -> int:
        """Number of voxels."""
        z, y, x = self.shape
        return z * y * x

    @property
    def empty(self) -> bool:
        """Whether the box holds no voxel."""
        return self.size == 0

    def grow(self, low: int | Vec3, high: int | Vec3 | None = None) -> Box:
        """Grow by ``low`` voxels at the start and ``high`` (default: the same) at the stop of each axis."""
        lo = (low,) * 3 if isinstance(low, int) else low
        hi = lo if high is None else ((high,) * 3 if isinstance(high, int) else high)
        return Box(
            vec3(a - g for a, g in zip(self.start, lo, strict=True)),
            vec3(b + g for b, g in zip(self.stop, hi, strict=True)),
        )

    def shift(self, by: Vec3) -> Box:
        """The box so many voxels further along each axis."""
        return self.grow(vec3(-n for n in by), by)

    def scaled(self, factors: Float3) -> Box:
        """The box on another grid, outwards to whole voxels; ``factors`` are voxels there per voxel here."""
        return Box(
            vec3(math.floor(a * f + EDGE) for a, f in zip(self.start, factors, strict=True)),
            vec3(math.ceil(b * f - EDGE) for b, f in zip(self.stop, factors, strict=True)),
        )

    def intersect(self, other: Box) -> Box:
        """The common box; empty (stop <= start on an axis) where there is none."""
        return Box(
            vec3(max(a, b) for a, b in zip(self.start, other.start, strict=True)),
            vec3(min(a, b) for a, b in zip(self.stop, other.stop, strict=True)),
        )

    def clip(self, shape: Vec3) -> Box:
        """The part that lies in a volume of ``shape``."""
        return self.intersect(Box.of_shape(shape))

    def margins(self, inner: Box) -> list[tuple[int, int]]:
        """Voxels before and after a box that lies in this one, per axis, as `numpy.pad` takes them."""
        ends = zip(self.start, inner.start, inner.stop, self.stop, strict=True)
        return [(b - a, d - c) for a, b, c, d in ends]

    def slices(self, origin: Vec3 = (0, 0, 0)) -> tuple[slice, slice, slice]:
        """Slices into an array whose first voxel lies at ``origin``."""
        z, y, x = (slice(a - o, b - o) for a, b, o in zip(self.start, self.stop, origin, strict=True))
        return z, y, x


@dataclass(frozen=True)
class BlockGrid:
    """A volume of ``shape`` cut into blocks of ``block`` voxels; the last block of an axis may be smaller."""

    shape: Vec3
    block: Vec3

    @property
    def counts(self) -> Vec3:
        """Blocks per axis."""
        return vec3(-(-s // b) for s, b in zip(self.shape, self.block, strict=True))

    def __len__(self) -> int:
        z, y, x = self.counts
        return z * y * x

    def __iter__(self) -> Iterator[Vec3]:
        """Block indices in raster order."""
        yield from itertools.product(*(range(n) for n in self.counts))

    def core(self, index: Vec3) -> Box:
        """The voxels that block ``index`` owns."""
        start = vec3(i * b for i, b in zip(index, self.block, strict=True))
        stop = vec3(a + b for a, b in zip(start, self.block, strict=True))
        return Box(start, stop).clip(self.shape)

    def touching(self, box: Box) -> list[Vec3]:
        """Indices, in raster order, of the blocks whose cores meet ``box``."""
        return list(self.visit(box))

    def visit(self, box: Box) -> Iterator[Vec3]:
        """The same, one by one."""
        box = box.clip(self.shape)
        if box.empty:
            return iter(())
        ranges = (range(a // b, -(-c // b)) for a, c, b in zip(box.start, box.stop, self.block, strict=True))
        return itertools.product(*ranges)  # type: ignore[return-value]

    def count_touching(self, box: Box) -> int:
        """The number of these blocks, without visiting them."""
        return len(BlockGrid(self.covered(box).shape, self.block))

    def covered(self, box: Box) -> Box:
        """The box of all blocks whose cores meet ``box``."""
        box = box.clip(self.shape)
        if box.empty:
            return Box((0, 0, 0), (0, 0, 0))
        start = vec3(a // b * b for a, b in zip(box.start, self.block, strict=True))
        stop = vec3(-(-c // b) * b for c, b in zip(box.stop, self.block, strict=True))
        return Box(start, stop).clip(self.shape)


def block_of_chunks(chunk: Vec3, shape: Vec3, most: int) -> Vec3:
    """Sides of a block of whole chunks, as near to a cube as these allow, with at most ``most`` voxels.

    If a chunk has more voxels, the block is a half of it, a quarter, and so on.

    >>> block_of_chunks((1, 1024, 1024), (64, 4096, 4096), 2**22)
    (4, 1024, 1024)
    """
    block = [min(c, s) for c, s in zip(chunk, shape, strict=True)]
    while math.prod(block) > most:
        axis = max(range(3), key=lambda a: block[a])
        block[axis] = -(-block[axis] // 2)
    while open_axes := [a for a in range(3) if block[a] < shape[a]]:
        axis = min(open_axes, key=lambda a: block[a])
        wider = [min(2 * b, s) if a == axis else b for a, (b, s) in enumerate(zip(block, shape, strict=True))]
        if math.prod(wider) > most:
            break
        block = wider
    return vec3(block)
