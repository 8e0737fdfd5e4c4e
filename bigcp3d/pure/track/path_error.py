"""How badly the flow points to where the paths end: small for cells, large for noise and for a model of another stain.

Where a model knows the cells, its flow points straight to the place where the path ends. Where it does not, paths are
crooked. The sum is of whole numbers over voxels, so it does not depend on blocks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.compiled import compiled
from bigcp3d.pure.track.units import UNASSIGNED, UNIT


def path_squares(flow: NDArray[np.int8], offsets: NDArray[np.int8], *, representation: str, scale_vox: float) -> int:
    """Squared difference between the flow and the straight flow to the path's end, summed over assigned voxels.

    ``flow`` and ``offsets`` are int8 (3, z, y, x) of the same voxels. The straight flow is that of
    `bigcp3d.pure.group.objects.squared_flow_error`, with the path's end in place of the centroid. In units of
    (1/127)^2. Flow that is not "tanh" gives 0, as no volume says yet what is usual there. Takes 1 ns a voxel and no
    memory.
    """
    if representation != "tanh":
        return 0
    straight = np.rint(np.tanh(np.arange(-128, 128) / scale_vox) * UNIT).astype(np.int64)
    return int(_add_squares(flow, offsets, straight))


@compiled
def _add_squares(flow, offsets, straight):  # type: ignore[no-untyped-def]
    """Add up; ``straight`` has the flow for an offset of -128 to 127."""
    total = np.int64(0)
    _, nz, ny, nx = offsets.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if offsets[0, z, y, x] == UNASSIGNED:
                    continue
                for axis in range(3):
                    way = np.int64(offsets[axis, z, y, x])
                    total += (np.int64(flow[axis, z, y, x]) - straight[way + 128]) ** 2
    return total
