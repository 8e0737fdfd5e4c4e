"""What all pictures of planes share: the box of a plane, the grey values of an image, and the outlines of its cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Box, vec3

PERCENTILES = (1.0, 99.8)
"""Intensities at these percentiles are shown black and white."""


def plane_of(box: Box, axis: int, at: int | None = None) -> Box:
    """One plane of a box, one voxel thick along ``axis``; the middle one, unless ``at`` names another."""
    start, stop = list(box.start), list(box.stop)
    start[axis] = (start[axis] + stop[axis]) // 2 if at is None else at
    stop[axis] = start[axis] + 1
    return Box(vec3(start), vec3(stop))


def find_contrast(parts: Sequence[NDArray[np.generic]]) -> tuple[float, float]:
    """The intensities that are shown black and white, over all finite values of some arrays.

    (v, v + 1) where all values are v, and (0, 1) where none is finite.
    """
    values = np.concatenate([np.zeros(0, np.float32), *(np.asarray(part, np.float32).ravel() for part in parts)])
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(values, PERCENTILES))
    if low == high:
        low, high = float(values.min()), float(values.max())
    return low, high if high > low else low + 1.0


def to_grey(values: NDArray[np.generic], contrast: tuple[float, float]) -> NDArray[np.uint8]:
    """Grey values from 0 to 255; NaN and infinities count as 0 and as the largest numbers."""
    low, high = contrast
    scaled = (np.nan_to_num(np.asarray(values, np.float32)) - low) / (high - low)
    grey: NDArray[np.uint8] = np.rint(scaled.clip(0, 1) * 255).astype(np.uint8)
    return grey


def find_outlines(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """The labelled pixels of a plane that touch another label, or background, along a side."""
    outlines = np.zeros(labels.shape, bool)
    for lines, ids in ((outlines, labels), (outlines.T, labels.T)):
        change = ids[1:] != ids[:-1]
        lines[1:] |= change
        lines[:-1] |= change
    found: NDArray[np.bool_] = outlines & (labels != 0)
    return found
