"""Label pyramids: make one coarser level of labels, with ids that occur there.

A coarse voxel looks at its *window* of finer voxels. If labelled voxels fill at least half of the window, it takes the
most frequent id there, the smaller one in a tie; otherwise it is 0. So ids are never interpolated, empty space and
cells keep their proportions, and a cell smaller than half a window disappears.

On an axis with factor f, the window of coarse voxel i is ``[floor(i f), max(floor(i f) + 1, floor((i + 1) f)))``, cut
at the volume's border::

    f = 2.5   finer   | 0 1 | 2 3 4 | 5 6 | 7 8 9 |
              coarse  |  0  |   1   |  2  |   3   |

Windows follow from global indices, so blocks give the voxels of the whole.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Box
from bigcp3d.pure.compiled import compiled
from bigcp3d.pure.grid import Factors
from bigcp3d.pure.label.pooling_box import pool_windows

Id = TypeVar("Id", bound=np.integer)


def pool_labels(finer: NDArray[Id], below: Box, box: Box, factors: Factors) -> NDArray[Id]:
    """Labels of a box of the coarser level, not empty, in the dtype of ``finer``.

    ``finer`` are the labels of the level below in ``below``, which is ``pool_read_box(box, factors, below_shape)``.
    ``factors`` are voxels of the level below per coarse voxel; they need not be whole.
    """
    if finer.shape != below.shape:
        raise ValueError(f"labels of shape {finer.shape} for the box {below}; allowed is {below.shape}")
    (z0, z1), (y0, y1), (x0, x1) = (
        tuple(edge - origin for edge in pool_windows(a, b, f, stop))
        for a, b, f, origin, stop in zip(box.start, box.stop, factors, below.start, below.stop, strict=True)
    )
    coarser = np.zeros(box.shape, finer.dtype)
    largest = int(np.prod([max(1, (last - first).max(initial=1)) for first, last in ((z0, z1), (y0, y1), (x0, x1))]))
    _pool(np.ascontiguousarray(finer), z0, z1, y0, y1, x0, x1, coarser, largest)
    return coarser


@compiled
def _count_ids(labels, z0, z1, y0, y1, x0, x1, ids, counts):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Fill ``ids`` and ``counts`` with the ids in a window; how many ids, and how many labelled voxels.

    Ids of a window are few, so they are looked up in a short list.
    """
    found, labelled = 0, 0
    for z in range(z0, z1):
        for y in range(y0, y1):
            for x in range(x0, x1):
                value = labels[z, y, x]
                if value == 0:
                    continue
                labelled += 1
                n = 0
                while n < found and ids[n] != value:
                    n += 1
                if n == found:
                    ids[n], counts[n] = value, 0
                    found += 1
                counts[n] += 1
    return found, labelled


@compiled
def _pool(finer, z0, z1, y0, y1, x0, x1, coarser, largest):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Fill ``coarser``; no window has more than ``largest`` voxels."""
    ids, counts = np.empty(largest, finer.dtype), np.empty(largest, np.int64)
    for i in range(coarser.shape[0]):
        for j in range(coarser.shape[1]):
            for k in range(coarser.shape[2]):
                found, labelled = _count_ids(finer, z0[i], z1[i], y0[j], y1[j], x0[k], x1[k], ids, counts)
                if 2 * labelled < (z1[i] - z0[i]) * (y1[j] - y0[j]) * (x1[k] - x0[k]):
                    continue
                best = 0
                for n in range(1, found):
                    if counts[n] > counts[best] or (counts[n] == counts[best] and ids[n] < ids[best]):
                        best = n
                coarser[i, j, k] = ids[best]
