"""Group the sinks of one block into components: sinks that lie close together belong to one cell.

The sink mask is closed with a ball (`bigcp3d.pure.group.closing`) and split into 26-connected components. A closed
voxel depends on the mask within twice the radius, so a block needs the sinks of its core grown by that only. Blocks
join where sinks meet, not where cells touch, so dense tissue cannot merge into one object.
"""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Box
from bigcp3d.pure.group.closing import close_sinks
from bigcp3d.pure.track.sinks import Sinks, Sums

_OWN_COLUMNS = ("sink_voxel", "sink_component", "face_voxel", "face_component")


@dataclass(frozen=True, eq=False)
class Components:
    """Components of one block. Coordinates are those of the volume."""

    sink_voxel: NDArray[np.int32]
    """Shape (n, 3): the core's sinks."""
    sink_component: NDArray[np.int32]
    """Shape (n,): the component of each, numbered from 1 in the block."""
    face_voxel: NDArray[np.int32]
    """Shape (f, 3): closed voxels on the core's border planes, from which blocks are joined."""
    face_component: NDArray[np.int32]
    """Shape (f,)."""
    sums: Sums
    """Sums of each component over all parts of its sinks."""

    def __len__(self) -> int:
        return len(self.sums)

    def arrays(self) -> dict[str, NDArray[np.int64] | NDArray[np.int32]]:
        """The columns by name, as they are stored."""
        return {name: getattr(self, name) for name in _OWN_COLUMNS} | self.sums.arrays()

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.int64]]) -> Components:
        """Columns as `arrays` gave them."""
        own = {name: arrays[name].astype(np.int32, copy=False) for name in _OWN_COLUMNS}
        return cls(**own, sums=Sums.from_arrays(arrays))


def _on_faces(labels: NDArray[np.unsignedinteger], core: Box) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Labelled voxels on the six border planes of the core, each once: coordinates in the volume, and labels."""
    inner = [slice(None)] * 3
    voxels, found = [], []
    for axis, side in enumerate(labels.shape):
        for at in sorted({0, side - 1}):
            plane = [*inner]
            plane[axis] = slice(at, at + 1)
            part = labels[tuple(plane)]
            where = np.nonzero(part)
            origin = [a + (cut.start or 0) for a, cut in zip(core.start, plane, strict=True)]
            voxels.append(np.stack(where, axis=1) + np.asarray(origin))
            found.append(part[where])
        inner[axis] = slice(1, max(1, side - 1))
    return np.concatenate(voxels).astype(np.int32), np.concatenate(found).astype(np.int32)


def cluster_block(sinks: Sinks, core: Box, *, radius: int) -> Components:
    """Group the sinks of the block ``core`` into components.

    ``sinks`` are all (parts of) sinks within ``core`` grown by ``2 * radius``, from all blocks; ``radius`` is that of
    the closing, in voxels. Exact under blocking once `bigcp3d.pure.group.seams` has joined the components at the
    seams. Memory: about 6 bytes a voxel of the core.
    """
    if len(sinks.voxel) == 0:
        none = np.empty((0, 3), np.int32)
        return Components(none, np.empty(0, np.int32), none, np.empty(0, np.int32), Sums.empty(0))
    closed = close_sinks(sinks.voxel, core, radius)
    labels, n = cc3d.connected_components(closed, connectivity=26, return_N=True, out_dtype=np.uint32)
    own = sinks.within(core)
    place = tuple((own.voxel - np.asarray(core.start, np.int32)).T)
    local = labels[place].astype(np.int64)
    face_voxel, face_component = _on_faces(labels, core)
    _, first_row = np.unique(np.ravel_multi_index(place, core.shape), return_index=True)
    return Components(
        sink_voxel=own.voxel[first_row],
        sink_component=local[first_row].astype(np.int32),
        face_voxel=face_voxel,
        face_component=face_component,
        sums=own.sums.group(local - 1, n),
    )
