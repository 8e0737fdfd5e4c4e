"""CLAHE: each tile of the volume has its own mapping of intensities, and voxels take a mixture of the eight around.

`skimage.exposure.equalize_adapthist` cannot be used on a block: it stretches the array that it is given to its own
minimum and maximum, before and after, and counts tiles from the array's corner. Here intensities are known to lie in
0..1, and tiles are those of the whole volume. Counts are whole numbers, and a voxel's mixture is added in a fixed
order. So a voxel depends on the tiles around it, bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.pure.compiled import compiled

BINS = 512
"""Levels of intensity."""

STEEPEST = 4.0
"""A mapping raises contrast by at most about this factor."""


def equalise(image: NDArray[np.float32], box: Box, shape: Vec3, tile: Vec3) -> NDArray[np.float32]:
    """Equalise intensities of 0..1 (others are cut) in a box of a volume of ``shape``.

    ``tile`` are the tiles' sides, about. Voxels whose tiles are not whole in the box get other values than in the
    volume.
    """
    axes = [_Axis(*axis) for axis in zip(box.start, box.stop, shape, tile, strict=True)]
    levels = np.rint(image.clip(0.0, 1.0) * np.float32(BINS - 1)).astype(np.int16)
    counts = np.zeros((*(axis.tiles for axis in axes), BINS), np.int64)
    _count(levels, *(axis.own for axis in axes), counts)
    mappings = _mappings(counts)
    result = np.empty(image.shape, np.float32)
    _mix(levels, mappings, *(axis.below for axis in axes), *(axis.weight for axis in axes), result)
    return result


class _Axis:
    """Tiles along one axis that touch a box, numbered from the first: ``own`` tile of each voxel, and the two it mixes.

    A voxel mixes tile ``below`` and the next one, of which it takes the share ``weight``.
    """

    def __init__(self, start: int, stop: int, size: int, side: int) -> None:
        number = max(1, round(size / side))
        edges = np.arange(number + 1) * size // number
        place = np.arange(start, stop)
        own = np.searchsorted(edges, place, side="right") - 1
        first, last = own[0], own[-1]
        middles = (edges[:-1] + edges[1:] - 1) / 2
        below = np.searchsorted(middles, place, side="right") - 1
        above = (below + 1).clip(first, last)
        below = below.clip(first, last)
        distance = middles[above] - middles[below]
        weight = np.where(distance > 0, (place - middles[below]) / np.where(distance > 0, distance, 1), 0.0)
        self.own, self.below, self.weight, self.tiles = own - first, below - first, weight, int(last - first + 1)


def _mappings(counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """For each tile, the equalised intensity of each level; what was cut from full levels is given to all."""
    total = counts.sum(axis=-1, keepdims=True)
    most = np.maximum(1, np.ceil(STEEPEST * total / BINS)).astype(np.int64)
    cut = np.minimum(counts, most)
    over = total - cut.sum(axis=-1, keepdims=True)
    sums = BINS * np.cumsum(cut, axis=-1) + np.arange(1, BINS + 1) * over
    mappings: NDArray[np.float32] = (sums / np.maximum(1, BINS * total)).astype(np.float32)
    return mappings


@compiled
def _count(levels: Any, z: Any, y: Any, x: Any, counts: Any) -> None:
    for i in range(levels.shape[0]):
        for j in range(levels.shape[1]):
            for k in range(levels.shape[2]):
                counts[z[i], y[j], x[k], levels[i, j, k]] += 1


@compiled
def _mix(
    levels: Any, mappings: Any, z: Any, y: Any, x: Any, z_weight: Any, y_weight: Any, x_weight: Any, result: Any
) -> None:
    for i in range(levels.shape[0]):
        z2 = min(z[i] + 1, mappings.shape[0] - 1)
        a = z_weight[i]
        for j in range(levels.shape[1]):
            y2 = min(y[j] + 1, mappings.shape[1] - 1)
            b = y_weight[j]
            for k in range(levels.shape[2]):
                x2 = min(x[k] + 1, mappings.shape[2] - 1)
                c = x_weight[k]
                level = levels[i, j, k]
                front = (1 - b) * (
                    (1 - c) * mappings[z[i], y[j], x[k], level] + c * mappings[z[i], y[j], x2, level]
                ) + b * ((1 - c) * mappings[z[i], y2, x[k], level] + c * mappings[z[i], y2, x2, level])
                back = (1 - b) * ((1 - c) * mappings[z2, y[j], x[k], level] + c * mappings[z2, y[j], x2, level]) + b * (
                    (1 - c) * mappings[z2, y2, x[k], level] + c * mappings[z2, y2, x2, level]
                )
                result[i, j, k] = (1 - a) * front + a * back
