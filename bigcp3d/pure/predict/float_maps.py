"""Convert maps of other tools to ours: foreground and flow as int8, each times 127.

Invariant: a value becomes the int8 that our own prediction would make of it in the middle of a patch. So float maps and
int8 maps of the same numbers give the same labels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.predict.patches import ONE, SUB


def quantise_maps(values: NDArray[np.floating[Any]]) -> NDArray[np.int8]:
    """Foreground 0 to 1 and flow in voxels per step, finite floats (4, z, y, x), as int8: each times 127.

    Values are cut to [-1, 1], a negative foreground becomes 0. Rounded to 1/4064, then to 1/127 half away from zero, as
    `bigcp3d.pure.predict.patches` does. Exact under blocking; a plane at a time, to save memory.
    """
    maps = np.empty(values.shape, np.int8)
    for z in range(values.shape[1]):
        fine = np.rint(np.clip(values[:, z].astype(np.float32), -1, 1) * np.float32(ONE)).astype(np.int32)
        maps[:, z] = np.sign(fine) * ((2 * np.abs(fine) + SUB) // (2 * SUB))
    np.maximum(maps[0], 0, out=maps[0])
    return maps


def refuse_reason(values: NDArray[np.floating[Any]]) -> str | None:
    """Why values (4, z, y, x) cannot be foreground and flow, or None.

    A foreground a little outside 0 to 1 passes, since interpolation makes it. So do flows of any length, which
    `quantise_maps` cuts to 1 on each axis.
    """
    bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    if bad:
        return f"{bad} NaN or infinite values; write 0 where there is no cell (numpy.nan_to_num)"
    low, high = float(values[0].min(initial=0)), float(values[0].max(initial=0))
    if low < -1.01 or high > 1.01:
        return (
            f"a foreground from {low:.3g} to {high:.3g}; it must lie between 0 and 1: take the sigmoid of logits, or "
            "divide int8 maps by 127"
        )
    return None
