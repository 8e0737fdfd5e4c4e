"""Labels of an image that is coarser than the working grid: the working voxels of an image voxel vote.

With factor f < 1 on an axis, an image voxel holds the working voxels whose centres lie in it; with f >= 1 it takes the
nearest one. ::

    f = 1/2   working | 0 1 | 2 3 | 4 5 |        f = 1/4   | 0 1 2 3 | 4 5 6 7 |
              image   |  0  |  1  |  2  |                  |    0    |    1    |

The nearest working voxel alone would lie half a working voxel beside the image voxel's centre, always on the same side,
wherever 1 / f is even; on three axes this costs several percent of Dice. So the voxels vote: first between cells and
background, then among the cells. A tie goes to the nearest working voxel if it is among the tied, else to the smallest
number. Windows and votes follow from global indices, so blocks give the voxels of the whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.pure.compiled import compiled
from bigcp3d.pure.grid import Factors
from bigcp3d.pure.label.pooling import count_ids
from bigcp3d.pure.label.voting_box import window


def vote_labels(
    labels: NDArray[np.unsignedinteger[Any]], region: Box, box: Box, factors: Factors, shape: Vec3
) -> NDArray[np.unsignedinteger[Any]]:
    """Labels of an image box from those of the working grid (of ``shape``), in the same dtype; 0 is background.

    ``labels`` cover ``region``, which holds ``voting_box(box, ...)``. ``factors`` are image voxels per working voxel.
    """
    z, y, x = (
        window(a, b, f, s) - origin
        for a, b, f, s, origin in zip(box.start, box.stop, factors, shape, region.start, strict=True)
    )
    out = np.zeros(box.shape, labels.dtype)
    largest = int(np.prod([(w[1] - w[0]).max(initial=1) for w in (z, y, x)]))
    _vote(labels, z, y, x, out, largest)
    return out


@compiled
def _vote(labels, z, y, x, out, largest):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Fill ``out``; no window has more than ``largest`` voxels."""
    ids, counts = np.empty(largest, labels.dtype), np.empty(largest, np.int64)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                nearest = labels[z[2, i], y[2, j], x[2, k]]
                z0, z1, y0, y1, x0, x1 = z[0, i], z[1, i], y[0, j], y[1, j], x[0, k], x[1, k]
                found, labelled = count_ids(labels, z0, z1, y0, y1, x0, x1, ids, counts)
                size = (z1 - z0) * (y1 - y0) * (x1 - x0)
                if 2 * labelled < size or (2 * labelled == size and nearest == 0):
                    continue
                best = 0
                for n in range(1, found):
                    wins_tie = ids[n] == nearest or (ids[best] != nearest and ids[n] < ids[best])
                    if counts[n] > counts[best] or (counts[n] == counts[best] and wins_tie):
                        best = n
                out[i, j, k] = ids[best]
