"""Clustering of one block: sinks that lie close together belong to one cell.

The sink mask is closed morphologically with a ball (dilate, then erode, in one piece, zero outside the volume), and
split into 26-connected components. A closed voxel depends on the mask within twice the radius, so a block needs
the sinks of its core grown by that, and nothing else. What leaves the block:

- ``sink_component``: for each sink voxel of the core, its local component (1..n);
- ``sums``: of each local component, over the parts of all sinks in it;
- ``face_voxel``, ``face_component``: closed voxels on the core's border planes, from which `stitch` joins blocks.

Because sinks are stitched, and not touching cells, dense tissue cannot over-merge.

The closing works on balls around voxels rather than on distance transforms: sinks are sparse, so dilation paints one
ball a sink. Erosion removes what lies within the radius of a voxel that was not painted; the nearest such voxel has a
painted voxel beside it (one step along the longest axis comes closer), so balls around those border voxels suffice.
"""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np
from numba import njit
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.pure.sinks import Sinks, Sums


@dataclass(frozen=True, eq=False)
class Components:
    """Components of one block; see the module's text. Coordinates are those of the volume."""

    sink_voxel: NDArray[np.int32]
    sink_component: NDArray[np.int32]
    face_voxel: NDArray[np.int32]
    face_component: NDArray[np.int32]
    sums: Sums

    def __len__(self) -> int:
        return len(self.sums)

    def arrays(self) -> dict[str, NDArray[np.int64] | NDArray[np.int32]]:
        """The columns by name, as they are stored."""
        return {
            "sink_voxel": self.sink_voxel,
            "sink_component": self.sink_component,
            "face_voxel": self.face_voxel,
            "face_component": self.face_component,
            **self.sums.arrays(),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.int64]]) -> Components:
        """Columns as `arrays` gave them."""
        names = ("sink_voxel", "sink_component", "face_voxel", "face_component")
        own = {name: arrays[name].astype(np.int32, copy=False) for name in names}
        return cls(**own, sums=Sums.from_arrays(arrays))


def _ball(radius: int) -> NDArray[np.int64]:
    """Offsets, shape (n, 3), of the voxels within ``radius`` of the origin."""
    axis = np.arange(-radius, radius + 1)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    inside = z * z + y * y + x * x <= radius * radius
    return np.stack([z[inside], y[inside], x[inside]], axis=1).astype(np.int64)


@njit(nogil=True, cache=True)
def _paint(mask, at_z, at_y, at_x, ball, value):  # type: ignore[no-untyped-def]
    """Set the ball around one voxel to ``value``, as far as it lies in the array."""
    nz, ny, nx = mask.shape
    for i in range(len(ball)):
        z, y, x = at_z + ball[i, 0], at_y + ball[i, 1], at_x + ball[i, 2]
        if 0 <= z < nz and 0 <= y < ny and 0 <= x < nx:
            mask[z, y, x] = value


@njit(nogil=True, cache=True)
def _dilate(voxel, ball, mask):  # type: ignore[no-untyped-def]
    for i in range(len(voxel)):
        _paint(mask, voxel[i, 0], voxel[i, 1], voxel[i, 2], ball, 1)


@njit(nogil=True, cache=True)
def _erode(dilated, ball, eroded):  # type: ignore[no-untyped-def]
    """Clear the ball around every unpainted voxel that has a painted one beside it."""
    nz, ny, nx = dilated.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if dilated[z, y, x]:
                    continue
                if (
                    (z > 0 and dilated[z - 1, y, x])
                    or (z + 1 < nz and dilated[z + 1, y, x])
                    or (y > 0 and dilated[z, y - 1, x])
                    or (y + 1 < ny and dilated[z, y + 1, x])
                    or (x > 0 and dilated[z, y, x - 1])
                    or (x + 1 < nx and dilated[z, y, x + 1])
                ):
                    _paint(eroded, z, y, x, ball, 0)


def close_sinks(voxel: NDArray[np.int32], core: Box, radius: int) -> NDArray[np.uint8]:
    """Morphological closing of a sparse mask with a ball, seen in ``core``.

    Parameters
    ----------
    voxel : ndarray of int32, shape (n, 3)
        Voxels of the mask; all within ``core`` grown by ``2 * radius`` must be there, others do no harm.
    core : Box
        Where the closed mask is wanted.
    radius : int
        Of the ball, in voxels; 0 leaves the mask as it is.

    Returns
    -------
    closed : ndarray of uint8, shape ``core.shape``
        1 where the closed mask is set. The mask counts as zero outside the volume, and nothing is cut off there
        between dilation and erosion, so the closing never loses a voxel.
    """
    region = core.grow(radius)
    reading = core.grow(2 * radius)
    near = np.all((voxel >= reading.start) & (voxel < reading.stop), axis=1)
    local = voxel[near].astype(np.int64) - np.asarray(region.start)
    dilated = np.zeros(region.shape, np.uint8)
    ball = _ball(radius)
    _dilate(local, ball, dilated)
    if radius == 0:
        return np.ascontiguousarray(dilated[core.slices(region.start)])
    eroded = dilated.copy()
    _erode(dilated, ball, eroded)
    return np.ascontiguousarray(eroded[core.slices(region.start)])


def _on_faces(labels: NDArray[np.unsignedinteger], core: Box) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Labelled voxels on the six border planes of the core: coordinates in the volume, and labels."""
    inner = np.zeros(labels.shape, bool)
    inner[1:-1, 1:-1, 1:-1] = True
    at = np.argwhere((labels > 0) & ~inner)
    return (at + np.asarray(core.start)).astype(np.int32), labels[tuple(at.T)].astype(np.int32)


def cluster_block(sinks: Sinks, core: Box, shape: Vec3, *, radius: int) -> Components:
    """Group the sinks of one block into components.

    Parameters
    ----------
    sinks : Sinks
        All (parts of) sinks within ``core`` grown by ``2 * radius``, from whatever block.
    core : Box
        The block.
    shape : tuple of int
        The whole volume, in voxels.
    radius : int
        Of the closing, in voxels.

    Returns
    -------
    Components

    Notes
    -----
    Exact under blocking once `bigcp3d.pure.stitch` has joined the components at the seams. About 6 bytes a voxel
    of the core. Empty blocks cost nothing.
    """
    if len(sinks.voxel) == 0:
        none = np.empty((0, 3), np.int32)
        return Components(none, np.empty(0, np.int32), none, np.empty(0, np.int32), Sums.empty(0))
    closed = close_sinks(sinks.voxel, core, radius)
    labels, n = cc3d.connected_components(closed, connectivity=26, return_N=True, out_dtype=np.uint32)
    own = sinks.within(core)
    local = labels[tuple((own.voxel - np.asarray(core.start, np.int32)).T)].astype(np.int64)
    face_voxel, face_component = _on_faces(labels, core)
    sink_voxel, first_row = np.unique(own.voxel, axis=0, return_index=True)
    return Components(
        sink_voxel=sink_voxel.reshape(-1, 3),
        sink_component=local[first_row].astype(np.int32),
        face_voxel=face_voxel,
        face_component=face_component,
        sums=own.sums.group(local - 1, n),
    )
