"""Labelling: every voxel of the working grid takes the id of the component at its end point.

Exact under blocking: a label depends on one offset and one sink.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.pure.compiled import compiled
from bigcp3d.pure.track.units import UNASSIGNED


@compiled
def _look_up(offsets, start, shape, ids, labels):  # type: ignore[no-untyped-def]
    """Fill ``labels``; ``ids`` lie flat, of a box of ``shape`` that begins ``start`` before the labels."""
    _, nz, ny, nx = offsets.shape
    for z in range(nz):
        for y in range(ny):
            oz, oy, ox, row = offsets[0, z, y], offsets[1, z, y], offsets[2, z, y], labels[z, y]
            at = ((z + start[0]) * shape[1] + y + start[1]) * shape[2] + start[2]
            for x in range(nx):
                dz = np.int64(oz[x])
                if dz != UNASSIGNED:
                    row[x] = ids[np.uint64(at + x + (dz * shape[1] + oy[x]) * shape[2] + ox[x])]


def label_box(
    offsets: NDArray[np.int8],
    box: Box,
    shape: Vec3,
    *,
    sink_voxel: NDArray[np.int32],
    sink_id: NDArray[np.int64],
    reach: int,
    dtype: str = "uint32",
) -> NDArray[np.unsignedinteger]:
    """Labels of a box of the working grid: 0 where a voxel is background, unassigned, or of a removed object.

    ``offsets`` (3, z, y, x) are those of ``box`` in a volume of ``shape``; ``reach`` is the largest one. ``sink_voxel``
    (n, 3) holds all sinks within ``box`` grown by ``reach``, others are ignored; ``sink_id`` (n,) is the id of each, 0
    where its object was removed. ``dtype`` is "uint32" or "uint64".
    """
    labels = np.zeros(box.shape, dtype)
    if len(sink_voxel) == 0:
        return labels
    grown = box.grow(reach).clip(shape)
    ids = np.zeros(grown.shape, dtype)
    near = np.all((sink_voxel >= grown.start) & (sink_voxel < grown.stop), axis=1)
    ids[tuple((sink_voxel[near] - np.asarray(grown.start, np.int32)).T)] = sink_id[near]
    start = tuple(a - b for a, b in zip(box.start, grown.start, strict=True))
    _look_up(offsets, start, grown.shape, ids.ravel(), labels)
    return labels
