"""How badly the flow points to where the paths end: small for cells, large for noise and for a model of another stain.

Where a model knows the cells, its flow points straight to the place where the path ends. Where it does not, paths are
crooked. The sum is of whole numbers over voxels, so it does not depend on blocks.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bigcp3d.pure.track.tracking_numba import UNASSIGNED, UNIT


def path_squares(flow: NDArray[np.int8], offsets: NDArray[np.int8], *, representation: str, scale_vox: float) -> int:
    """Squared difference between the flow and the straight flow to the path's end, summed over assigned voxels.

    ``flow`` and ``offsets`` are int8 (3, z, y, x) of the same voxels. The straight flow is that of
    `bigcp3d.pure.group.objects.squared_flow_error`, with the path's end in place of the centroid. In units of
    (1/127)^2. Needs no memory.
    """
    tanh = np.rint(np.tanh(np.arange(-128, 128) / scale_vox) * UNIT).astype(np.int64)
    return int(_add_squares(flow, offsets, tanh, representation == "tanh"))


@njit(nogil=True, cache=True)
def _add_squares(flow, offsets, tanh, is_tanh):  # type: ignore[no-untyped-def]
    total = np.int64(0)
    _, nz, ny, nx = offsets.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if offsets[0, z, y, x] == UNASSIGNED:
                    continue
                length = 0.0
                if not is_tanh:
                    for axis in range(3):
                        length += float(offsets[axis, z, y, x]) ** 2
                    length = max(1.0, np.sqrt(length))
                for axis in range(3):
                    way = np.int64(offsets[axis, z, y, x])
                    straight = tanh[way + 128] if is_tanh else np.int64(np.rint(way / length * UNIT))
                    total += (np.int64(flow[axis, z, y, x]) - straight) ** 2
    return total
