"""What all pictures of planes share: the box of a plane, the grey values of an image, and the outlines of its cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Box, vec3
from bigcp3d.work.convert.omero import PERCENTILES


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


def find_outlines(labels: NDArray[np.integer], only: int | None = None) -> NDArray[np.bool_]:
    """Lines of one pixel between labels: of two pixels with different labels that share a side, one is on the line.

    It is the upper or the left one, unless that is background. So lines lie in cells. With ``only``, the part of the
    lines that surrounds this label.
    """
    outlines = np.zeros(labels.shape, bool)
    for lines, ids in ((outlines, labels), (outlines.T, labels.T)):
        change = ids[1:] != ids[:-1]
        if only is not None:
            change &= (ids[1:] == only) | (ids[:-1] == only)
        lines[:-1] |= change & (ids[:-1] != 0)
        lines[1:] |= change & (ids[:-1] == 0)
    return outlines


def outline_segments(labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """The borders between labels as straight lines, shape (n, 2, 2): two ends (x, y) each.

    Pixel (0, 0) has its middle at (0, 0), so borders lie at halves, between pixels.
    """
    upright = _runs(labels)[:, :, ::-1]  # runs along x, as ends (y, x)
    across = _runs(labels.T)
    return np.concatenate([upright, across]).astype(np.float64) - 0.5


def _runs(labels: NDArray[np.integer]) -> NDArray[np.intp]:
    """Runs of places at which rows differ from the row above, shape (n, 2, 2): ends (row, column)."""
    change = np.pad(labels[1:] != labels[:-1], ((0, 0), (1, 1)))
    row, start = np.nonzero(change[:, 1:] & ~change[:, :-1])
    stop = np.nonzero(change[:, :-1] & ~change[:, 1:])[1]
    return np.stack([np.stack([row + 1, start], axis=1), np.stack([row + 1, stop], axis=1)], axis=1)
