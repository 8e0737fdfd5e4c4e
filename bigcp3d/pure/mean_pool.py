"""Makes a coarser level of an image: each voxel is the mean of a window of 1 or 2 voxels on each axis.

Windows follow from global positions, so boxes that start at even voxels give the voxels of the whole. At the end of an
axis of odd length, a window has one voxel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Vec3, vec3


def pooled_shape(shape: Vec3, factors: Vec3) -> Vec3:
    """Shape of the coarser level."""
    return vec3(-(-side // factor) for side, factor in zip(shape, factors, strict=True))


def pool_means(finer: NDArray[Any], factors: Vec3) -> NDArray[Any]:
    """Means of windows of ``factors`` voxels (1 or 2 on each axis), shape `pooled_shape`, in the dtype of ``finer``.

    Means of integers are rounded, halves up. Those of 64 bits are computed in float64, so above 2^53 not exactly.
    """
    if not set(factors) <= {1, 2}:
        raise ValueError(f"factors {factors}; allowed are 1 and 2")
    coarser = np.empty(pooled_shape(vec3(finer.shape), factors), finer.dtype)
    for plane in range(len(coarser)):  # sums are several times as large as voxels: a few planes at a time
        window = finer[plane * factors[0] : (plane + 1) * factors[0]]
        coarser[plane] = _pool_planes(window, (len(window), *factors[1:]))[0]
    return coarser


def _pool_planes(finer: NDArray[Any], factors: Vec3) -> NDArray[Any]:
    """`pool_means` of a few planes, in sums of 32 or 64 bits."""
    small = finer.dtype.kind in "iu" and finer.dtype.itemsize <= 4
    wide = np.int32 if finer.dtype.itemsize <= 2 else np.int64
    total: NDArray[Any] = finer.astype(wide if small else np.float64)
    count = np.ones((1, 1, 1), wide)
    for axis, factor in enumerate(factors):
        if factor == 1:
            continue
        even, odd = (_every_other(total, axis, start) for start in (0, 1))
        even = even.copy()
        even[tuple(slice(0, n) for n in odd.shape)] += odd
        sides = np.where(np.arange(even.shape[axis]) < odd.shape[axis], 2, 1).astype(wide)
        count = count * sides.reshape([-1 if a == axis else 1 for a in range(3)])
        total = even
    if small:
        whole: NDArray[Any] = (2 * total + count) // (2 * count)
        return whole.astype(finer.dtype)
    mean: NDArray[Any] = total / count
    if finer.dtype.kind == "f":
        return mean.astype(finer.dtype)
    largest = np.nextafter(float(np.iinfo(finer.dtype).max), 0)
    return np.floor(mean + 0.5).clip(None, largest).astype(finer.dtype)


def _every_other(values: NDArray[Any], axis: int, start: int) -> NDArray[Any]:
    part: list[slice] = [slice(None)] * 3
    part[axis] = slice(start, None, 2)
    return values[tuple(part)]


def choose_factors(shape: Vec3, scale: tuple[float, float, float], largest: int) -> list[Vec3]:
    """The window of each coarser level, until no side is longer than ``largest``.

    An axis is halved if its voxels are at most 1.5 times as long as the shortest on axes that are still too long. So
    voxels become more alike.
    """
    factors = []
    sizes = list(scale)
    while max(shape) > largest:
        shortest = min(size for size, side in zip(sizes, shape, strict=True) if side > largest)
        halved = [side > 1 and size <= 1.5 * shortest for size, side in zip(sizes, shape, strict=True)]
        factor = vec3(2 if half else 1 for half in halved)
        sizes = [size * f for size, f in zip(sizes, factor, strict=True)]
        shape = pooled_shape(shape, factor)
        factors.append(factor)
    return factors


def total_factors(factors: Sequence[Vec3]) -> list[Vec3]:
    """Voxels of the finest level per voxel of each level, the finest included."""
    found = [vec3((1, 1, 1))]
    for factor in factors:
        found.append(vec3(math.prod(pair) for pair in zip(found[-1], factor, strict=True)))
    return found
