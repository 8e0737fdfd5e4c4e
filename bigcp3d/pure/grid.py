"""The working grid: the image resampled so that cells have the size that the network knows.

Working voxel i lies at image position ``(i + 0.5) * f - 0.5``, with ``f`` image voxels per working voxel, whatever the
blocks. Reading interpolates with a triangle as wide as the coarser of the two samplings: linear where the image is
coarser, anti-aliased where it is finer. Every working voxel is a fixed weighted sum of a few image voxels, added in a
fixed order, so a block's values equal those of the whole volume to the bit.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Box, Float3, Vec3, vec3

Factors = Float3
"""Voxels of one grid per voxel of another, by axis."""

Id = TypeVar("Id", bound=np.integer)


def working_shape(image_shape: Vec3, factors: Factors) -> Vec3:
    """Shape of the working grid over an image."""
    return vec3(max(1, math.floor(s / f + 0.5)) for s, f in zip(image_shape, factors, strict=True))


def _taps(start: int, stop: int, factor: float, size: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Index and weight of the image voxels that make working voxels [start, stop) on an axis; border voxels repeat.

    Working voxel i is the sum over k of ``weight[i, k] * image[index[i, k]]``; the image has ``size`` voxels.
    """
    index, weight = triangles((np.arange(start, stop) + 0.5) * factor - 0.5, max(1.0, factor), size)
    return index, weight.astype(np.float32)


def triangles(
    position: NDArray[np.floating], width: float, size: int
) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """Index and weight, each (n, k), of the voxels of an axis under a triangle around each of n positions.

    Border voxels repeat. ``width`` is half the base of the triangle. The weights of a position add up to 1. The axis
    has ``size`` voxels.
    """
    number = 2 * math.ceil(width)
    index = np.floor(position)[:, None].astype(np.int64) + np.arange(1 - number // 2, 1 + number // 2)
    weight = np.maximum(0.0, 1.0 - np.abs(index - position[:, None]) / width)
    weight /= weight.sum(axis=1, keepdims=True)
    return np.clip(index, 0, size - 1), weight


def image_box(box: Box, factors: Factors, image_shape: Vec3) -> Box:
    """The box of the image that a box of the working grid is computed from."""
    index = [_taps(a, b, f, s)[0] for a, b, f, s in zip(box.start, box.stop, factors, image_shape, strict=True)]
    return Box(vec3(i.min() for i in index), vec3(i.max() + 1 for i in index))


def resample(
    image: NDArray[np.float32], region: Box, box: Box, factors: Factors, image_shape: Vec3
) -> NDArray[np.float32]:
    """Resample the image to a box of the working grid: float32, shape ``box.shape``.

    ``image`` covers ``region``, a box of the image that holds ``image_box(box, ...)``, and has no NaN. ``factors`` are
    image voxels per working voxel; ``image_shape`` is the whole image.
    """
    for axis in range(3):
        if factors[axis] == 1.0:
            cut = [slice(None)] * 3
            cut[axis] = slice(box.start[axis] - region.start[axis], box.stop[axis] - region.start[axis])
            image = image[tuple(cut)]
            continue
        index, weight = _taps(box.start[axis], box.stop[axis], factors[axis], image_shape[axis])
        along = tuple(-1 if a == axis else 1 for a in range(3))
        total: NDArray[np.float32] | None = None
        for k in range(index.shape[1]):
            part = np.take(image, index[:, k] - region.start[axis], axis=axis)
            part *= weight[:, k].reshape(along)
            total = part if total is None else np.add(total, part, out=total)
        image = total if total is not None else image
    return np.ascontiguousarray(image)


def nearest_working(start: int, stop: int, factor: float, size: int) -> NDArray[np.int64]:
    """Working voxel of each image voxel [start, stop) on one axis of ``size`` working voxels."""
    index: NDArray[np.int64] = np.floor((np.arange(start, stop) + 0.5) / factor).astype(np.int64)
    return index.clip(0, size - 1)


def working_box(box: Box, factors: Factors, shape: Vec3) -> Box:
    """The box of the working grid (of ``shape``) in which the centres of an image box lie; empty for an empty box."""
    ends = []
    for a, b, factor, size in zip(box.start, box.stop, factors, shape, strict=True):
        taken = nearest_working(a, b, factor, size)
        ends.append((taken[0], taken[-1] + 1) if len(taken) else (0, 0))
    return Box(vec3(e[0] for e in ends), vec3(e[1] for e in ends))


def spread_labels(labels: NDArray[Id], region: Box, box: Box, factors: Factors, shape: Vec3) -> NDArray[Id]:
    """Labels of an image box from those in ``region`` of the working grid (of ``shape``), by nearest neighbour."""
    for axis in range(3):
        if factors[axis] != 1.0 or labels.shape[axis] != box.shape[axis]:
            index = nearest_working(box.start[axis], box.stop[axis], factors[axis], shape[axis])
            labels = np.take(labels, index - region.start[axis], axis=axis)
    return labels
