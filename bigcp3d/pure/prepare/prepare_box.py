"""Prepares a box of an image: reads it with the margin of the filters, applies them, and cuts the margin off.

This is the only place where prepared voxels come from. They are those of the prepared whole volume, bit for bit,
whatever box is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.pure.prepare.steps import Step, margin_of


def prepare_box(
    read: Callable[[Box], NDArray[np.float32]], box: Box, shape: Vec3, steps: Sequence[Step], *, threads: int = 1
) -> NDArray[np.float32]:
    """The prepared voxels of a box of a volume of ``shape``, float32.

    ``read`` gives intensities of a box, about 0 to 1, without NaN. Without steps, these are the result. ``threads``
    change no bit: so many slabs are filtered at a time.
    """
    if not steps:
        return read(box)
    import dask.array as da

    from bigcp3d.pure.prepare.filters import apply_steps

    grown = box.grow(margin_of(steps, shape)).clip(shape)
    longest = max(range(3), key=lambda axis: grown.shape[axis])
    slabs = [-(-side // threads) if axis == longest else side for axis, side in enumerate(grown.shape)]
    lazy = apply_steps(da.from_array(read(grown), chunks=slabs, name=False), grown, shape, steps)
    how = {"scheduler": "threads", "num_workers": threads} if threads > 1 else {"scheduler": "synchronous"}
    prepared: NDArray[np.float32] = lazy[box.slices(grown.start)].compute(**how)
    return np.ascontiguousarray(prepared)
