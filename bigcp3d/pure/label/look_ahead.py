"""Labels of an image whose voxels are not those of the working grid: each image voxel looks ahead along the flow.

The maps are interpolated at the image voxel's centre. If the foreground there is below the threshold, the voxel is
background. Otherwise it takes the label of the working voxel that lies three steps of the flow ahead (`AHEAD`). ::

    working   |    a    |    b    |         a and b belong to two cells, so their flows point apart
    image     |  1  |  2  |  3  |           2 lies in both; its flow points to a, so it takes the label of a

The label of the nearest working voxel would put surfaces on the faces of working voxels, which costs 0.01 to 0.04 mean
Dice. The predicted foreground and flow know the surfaces better than that.

The interpolation is a triangle as wide as the coarser of the two voxels. All numbers are whole: weights in 1/256, which
add up to 1, and positions in 1/256 voxel. They follow from global indices, so blocks give the voxels of the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.pure.compiled import compiled
from bigcp3d.pure.grid import Factors, triangles
from bigcp3d.pure.label.deciding_box import AHEAD

ONE = 256
"""The unit of weights and positions."""

i32 = np.int32
HALF, SHIFT = i32(ONE // 2), i32(8)
STEPS = i32(AHEAD)
DOWN = i32(21)
"""A sum of flow is 2^24 x 127 x the flow. Shifted right by 2, times 3, shifted right by 21, it is three steps in 1/256
voxel, where 128 counts as 127."""


class _Axis(NamedTuple):
    """What the image voxels of a box see along one axis of the working grid."""

    taps: NDArray[np.int32]
    """Shape (taps, n): working voxels, counted from the first one of the maps."""
    weight: NDArray[np.int32]
    """Shape (taps, n): 256 in all."""
    position: NDArray[np.int32]
    """Shape (n,): in 1/256 working voxel, counted from the first working voxel whose label may be taken."""
    low: int
    """The first working voxel of the volume, counted likewise."""
    high: int
    """The last one."""


def _axis(start: int, stop: int, factor: float, size: int, maps_start: int, labels_start: int) -> _Axis:
    centre = (np.arange(start, stop) + 0.5) / factor - 0.5
    index, share = triangles(centre, max(1.0, 1 / factor), size)
    weight = np.diff(np.rint(np.cumsum(share, axis=1) * ONE), axis=1, prepend=0)
    position = np.rint(centre * ONE).astype(np.int64) - ONE * labels_start
    return _Axis(
        np.ascontiguousarray((index - maps_start).T, np.int32),
        np.ascontiguousarray(weight.T, np.int32),
        position.astype(np.int32),
        -labels_start,
        size - 1 - labels_start,
    )


def _look(
    maps: NDArray[np.int8], region: Box, labelled: Box, box: Box, factors: Factors, shape: Vec3, foreground: int
) -> Iterator[tuple[int, NDArray[np.int32]]]:
    """For each plane of an image box, the voxel of ``labelled`` that each voxel looks at, flat; -1 if there is none.

    Voxels have none if they are background, or look at a working voxel outside of ``labelled``.
    """
    if labelled.size >= 2**31:
        raise ValueError(f"{labelled} has too many voxels for indices of 32 bits; use smaller blocks")
    z, y, x = (
        _axis(*axis) for axis in zip(box.start, box.stop, factors, shape, region.start, labelled.start, strict=True)
    )
    rows, sums = np.empty((4, maps.shape[3]), np.int32), np.empty((4, box.shape[2]), np.int32)
    low, high = (np.array(ends, np.int32) for ends in zip(*((each.low, each.high) for each in (z, y, x)), strict=True))
    plane = np.empty(box.shape[1:], np.int32)
    for k in range(box.shape[0]):
        _look_in_plane(
            maps, z.taps[:, k].copy(), z.weight[:, k].copy(), z.position[k], y.taps, y.weight, y.position,
            x.taps, x.weight, x.position, i32(foreground), low, high, labelled.shape, rows, sums, plane,
        )  # fmt: skip
        yield k, plane


def label_image_box(
    maps: NDArray[np.int8],
    labels: NDArray[np.unsignedinteger[Any]],
    region: Box,
    box: Box,
    factors: Factors,
    shape: Vec3,
    *,
    foreground: int,
) -> NDArray[np.unsignedinteger[Any]]:
    """Labels of an image box from those of the working grid (of ``shape``), in the same dtype; 0 is background.

    ``maps`` (int8, foreground and flow, as for `bigcp3d.pure.track.tracking.track`) and ``labels`` cover ``region``,
    which holds ``deciding_box(box, ...)``. ``factors`` are image voxels per working voxel. ``foreground`` is the
    threshold, 1 to 127. Memory: 4 bytes a voxel of one plane of the image box.
    """
    out = np.zeros(box.shape, labels.dtype)
    flat = np.ascontiguousarray(labels).ravel()
    for k, plane in _look(maps, region, region, box, factors, shape, foreground):
        _take(flat, plane, out[k])
    return out


def count_takers(
    maps: NDArray[np.int8], region: Box, core: Box, box: Box, factors: Factors, shape: Vec3, *, foreground: int
) -> NDArray[np.int32]:
    """How many voxels of an image box take the label of each voxel of ``core``, a box of the working grid.

    ``region``, which ``maps`` cover, holds ``core`` grown by ``halo(factors)``; ``box`` need not be larger than
    ``taking_box(core, ...)``. The other arguments are those of `label_image_box`.
    """
    counts = np.zeros(core.shape, np.int32)
    for _, plane in _look(maps, region, core, box, factors, shape, foreground):
        _count(plane, counts.reshape(-1))
    return counts


@compiled
def _take(labels, plane, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Fill a plane of labels."""
    for j in range(plane.shape[0]):
        for k in range(plane.shape[1]):
            at = plane[j, k]
            if at >= 0:
                out[j, k] = labels[at]


@compiled
def _count(plane, counts):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Add one for each voxel that is looked at."""
    for j in range(plane.shape[0]):
        for k in range(plane.shape[1]):
            at = plane[j, k]
            if at >= 0:
                counts[at] += 1


@compiled
def _add_rows(maps, z, wz, y, wy, j, row):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Interpolate a channel between planes and rows: fill ``row``; return its largest value."""
    row[:] = 0
    for a in range(len(z)):
        for b in range(y.shape[0]):
            weight = i32(wz[a] * wy[b, j])
            if weight != 0:
                values = maps[z[a], y[b, j]]
                for k in range(len(row)):
                    row[k] = i32(row[k] + i32(weight * i32(values[k])))
    largest = i32(0)
    for k in range(len(row)):
        largest = max(largest, row[k])
    return largest


@compiled
def _add_along(row, x, wx, total):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Interpolate along a row: fill ``total``."""
    total[:] = 0
    for a in range(x.shape[0]):
        at, weight = x[a], wx[a]
        for k in range(len(total)):
            total[k] = i32(total[k] + i32(weight[k] * row[at[k]]))


@compiled
def _look_in_plane(  # type: ignore[no-untyped-def]  # pragma: no cover
    maps, z, wz, pz, y, wy, py, x, wx, px, threshold, low, high, shape, rows, sums, plane
):
    """Fill ``plane``; see `_look`."""
    nz, ny, nx = i32(shape[0]), i32(shape[1]), i32(shape[2])
    for j in range(plane.shape[0]):
        out = plane[j]
        if _add_rows(maps[0], z, wz, y, wy, j, rows[0]) < threshold << 16:
            out[:] = -1
            continue
        _add_along(rows[0], x, wx, sums[0])
        for channel in range(1, 4):
            _add_rows(maps[channel], z, wz, y, wy, j, rows[channel])
            _add_along(rows[channel], x, wx, sums[channel])
        light, fz, fy, fx = sums[0], sums[1], sums[2], sums[3]
        at_z, at_y, enough = i32(pz + HALF), i32(py[j] + HALF), i32(threshold << 24)
        for k in range(len(out)):
            a = i32(at_z + i32(i32(i32(fz[k] >> i32(2)) * STEPS) >> DOWN)) >> SHIFT
            b = i32(at_y + i32(i32(i32(fy[k] >> i32(2)) * STEPS) >> DOWN)) >> SHIFT
            c = i32(i32(px[k] + HALF) + i32(i32(i32(fx[k] >> i32(2)) * STEPS) >> DOWN)) >> SHIFT
            a, b, c = min(max(a, low[0]), high[0]), min(max(b, low[1]), high[1]), min(max(c, low[2]), high[2])
            there = (light[k] >= enough) & (a >= 0) & (a < nz) & (b >= 0) & (b < ny) & (c >= 0) & (c < nx)
            out[k] = i32(i32(i32(a * ny) + b) * nx + c) if there else i32(-1)
