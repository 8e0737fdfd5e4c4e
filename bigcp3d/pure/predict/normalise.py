"""Normalise intensities: one range for a whole volume, from a fixed sample of it.

Invariant: the sample depends on the volume's shape alone, and the range on the sample, so every block has the same
intensities. NaN and infinities count as the lowest intensity.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box, Vec3, vec3

SAMPLE_VOX = 2**21
"""Most voxels in a sample."""

GROWN_SAMPLE_VOX = 2**25
"""Most voxels that are read for a sample with margins, where `FEWEST_BOXES` do not need more."""

FEWEST_BOXES = 12

SAMPLE_BOX: Vec3 = (16, 32, 32)
"""Boxes of a sample, where it is not the whole volume."""


def sample_boxes(shape: Vec3, margin: Vec3 = (0, 0, 0)) -> tuple[Box, ...]:
    """The sample of a volume: all of it, or disjoint boxes of at most `SAMPLE_VOX` voxels, spread evenly.

    Where ``margin`` voxels around each box must be read as well, there are fewer boxes: about as many as make
    `GROWN_SAMPLE_VOX` voxels with their margins, but `FEWEST_BOXES` where the volume has room for them.
    """
    if math.prod(shape) <= SAMPLE_VOX:
        return (Box.of_shape(shape),)
    side = vec3(min(s, b) for s, b in zip(shape, SAMPLE_BOX, strict=True))
    most = vec3(s // b for s, b in zip(shape, side, strict=True))
    grown = math.prod(min(s, b + 2 * m) for s, b, m in zip(shape, side, margin, strict=True))
    budget = min(SAMPLE_VOX // math.prod(side), max(FEWEST_BOXES, GROWN_SAMPLE_VOX // grown))
    counts = [1, 1, 1]
    while True:  # one box more on the axis with the widest gaps
        gaps = [s / n if n < m else 0.0 for s, n, m in zip(shape, counts, most, strict=True)]
        axis = max(range(3), key=lambda a: gaps[a])
        more = [n + (a == axis) for a, n in enumerate(counts)]
        if gaps[axis] == 0.0 or math.prod(more) > budget:
            break
        counts = more
    starts = [
        [(2 * i + 1) * s // (2 * n) - b // 2 for i in range(n)] for s, n, b in zip(shape, counts, side, strict=True)
    ]
    return tuple(Box(vec3(a), vec3(i + b for i, b in zip(a, side, strict=True))) for a in itertools.product(*starts))


def estimate_range(
    sample: Iterable[NDArray[np.generic]], low_percentile: float, high_percentile: float
) -> tuple[float, float]:
    """Find the intensities that become 0 and 1, from the voxels of `sample_boxes` in any real dtype.

    Returns ``low < high``, the percentiles (0 to 100) of the finite voxels, or the lowest and highest if those are
    equal. Raises `InputError` if there are not two different finite intensities.
    """
    parts = [np.asarray(part).ravel() for part in sample]
    wide = any(is_wide(part.dtype) for part in parts)
    values = np.concatenate(parts, dtype=np.float64 if wide else np.float32, casting="same_kind")
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        raise InputError(
            f"all {values.size} sampled voxels are NaN or infinite; an image with intensities is needed: check the "
            "channel (--channel) and the file"
        )
    lowest, highest = float(finite.min()), float(finite.max())
    if lowest == highest:
        raise InputError(
            f"all {finite.size} sampled voxels have the intensity {lowest:g}; at least two different ones are needed: "
            "check the channel (--channel) and the file"
        )
    low, high = (float(v) for v in np.percentile(finite, [low_percentile, high_percentile], overwrite_input=True))
    if not low < high:
        low, high = lowest, highest
    return low, high


def is_wide(dtype: np.dtype[Any]) -> bool:
    """Whether float32 cannot hold all values of a dtype. Small differences on a large offset would be lost there."""
    return dtype.itemsize > 4 or (dtype.kind in "iu" and dtype.itemsize == 4)


def scale_intensity(array: NDArray[np.generic], low: float, high: float, *, bad: float) -> NDArray[np.float32]:
    """Intensities as float32 with ``low`` at 0 and ``high`` at 1; NaN and both infinities become ``bad``."""
    if is_wide(array.dtype):
        values = np.empty(array.shape, np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            for k in range(len(array)):  # plane by plane, to take little memory
                values[k] = (array[k].astype(np.float64) - low) / (high - low)
        finite = None if array.dtype.kind in "iu" else np.isfinite(values)
    else:
        values = array.astype(np.float32)
        finite = None if array.dtype.kind in "iu" else np.isfinite(values)
        values -= np.float32(low)
        values *= np.float32(1.0 / (high - low))
    if finite is not None:
        values[~finite] = bad
    return values


def normalise_intensity(
    array: NDArray[np.generic], low: float, high: float, clip: tuple[float, float]
) -> NDArray[np.float32]:
    """Intensities as float32 with ``low`` at 0 and ``high`` at 1, cut to the range ``clip``.

    NaN and both infinities become the lowest value.
    """
    values = scale_intensity(array, low, high, bad=clip[0])
    return np.clip(values, clip[0], clip[1], out=values)
