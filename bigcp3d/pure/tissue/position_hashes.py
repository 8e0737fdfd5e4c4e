"""Random numbers that depend on positions only: hashes, smooth noise, and a blur that does not depend on the box.

A number is the hash of a key and of the global index of its voxel, node or cell, so it is the same in whatever box,
order or process it is computed. Kernels use operations that IEEE rounds exactly (``+ - * / sqrt floor``), no fast-math,
and one order of sums per voxel, so results are equal to the bit.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.compiled import compiled, inlined


@inlined
def mix(value):  # type: ignore[no-untyped-def]
    """One step of splitmix64 (Steele, Lea and Flood 2014): a bijection of uint64 that scatters all its bits."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@inlined
def join(key, index):  # type: ignore[no-untyped-def]
    """Key of the ``index``-th (any int64) thing under ``key`` (uint64)."""
    return mix(key ^ mix(np.uint64(index)))


@inlined
def signed(key):  # type: ignore[no-untyped-def]
    """The key as a number in [-1, 1), uniform."""
    return np.float64(np.int64(key >> np.uint64(11))) * 2.0**-52 - 1.0


@inlined
def ease(t):  # type: ignore[no-untyped-def]
    """Smoothstep: from 0 to 1 without a kink at either end."""
    return t * t * (3.0 - 2.0 * t)


@compiled
def noise_at(key, z, y, x):  # type: ignore[no-untyped-def]
    """Smooth noise in [-1, 1] at a point: hashed values at whole coordinates (nodes), interpolated between them."""
    kz, ky, kx = math.floor(z), math.floor(y), math.floor(x)
    wz, wy, wx = ease(z - kz), ease(y - ky), ease(x - kx)
    total = 0.0
    for i in range(2):
        for j in range(2):
            plane = join(join(key, np.int64(kz) + i), np.int64(ky) + j)
            a = signed(join(plane, np.int64(kx)))
            b = signed(join(plane, np.int64(kx) + 1))
            weight = (wz if i else 1.0 - wz) * (wy if j else 1.0 - wy)
            total += weight * (a + wx * (b - a))
    return total


@compiled
def noise_row(key, z, y, first, wavelength, nodes, row):  # type: ignore[no-untyped-def]
    """Fill ``row`` with the noise along x: voxel ``i`` lies at ``(first + i + 0.5) / wavelength``; z and y in nodes.

    The four rows of nodes around (z, y) are interpolated first. ``nodes`` is scratch of at least
    ``len(row) / wavelength + 3`` numbers.
    """
    kz, ky = math.floor(z), math.floor(y)
    wz, wy = ease(z - kz), ease(y - ky)
    base = np.int64(math.floor((first + 0.5) / wavelength))
    last = np.int64(math.floor((first + row.size - 0.5) / wavelength)) + 1
    nodes[: last - base + 1] = 0.0
    for i in range(2):
        for j in range(2):
            plane = join(join(key, np.int64(kz) + i), np.int64(ky) + j)
            weight = (wz if i else 1.0 - wz) * (wy if j else 1.0 - wy)
            for k in range(last - base + 1):
                nodes[k] += weight * signed(join(plane, base + k))
    for i in range(row.size):
        x = (first + i + 0.5) / wavelength
        node = np.int64(math.floor(x))
        a = nodes[node - base]
        row[i] = a + ease(x - node) * (nodes[node - base + 1] - a)


@inlined
def bell(key):  # type: ignore[no-untyped-def]
    """The key as a nearly normal number of mean 0 and variance 1: the sum of its four 16-bit digits, scaled."""
    low = np.uint64(0xFFFF)
    lower = np.int64(key & low) + np.int64((key >> np.uint64(16)) & low)
    upper = np.int64((key >> np.uint64(32)) & low) + np.int64(key >> np.uint64(48))
    return (np.float64(lower + upper) - 131070.0) / 37837.22745


def gaussian_taps(sigma: float) -> NDArray[np.float32]:
    """Weights of a Gaussian of ``sigma`` voxels, cut at three sigma, sum 1; a single 1 where sigma is 0."""
    radius = math.ceil(3 * sigma)
    taps = np.array([math.exp(-0.5 * (k / sigma) ** 2) if sigma else 1.0 for k in range(-radius, radius + 1)])
    return np.asarray(taps / taps.sum(), np.float32)


@compiled
def _blur_z(array, taps):  # type: ignore[no-untyped-def]
    """Weighted sum of planes; the result is shorter by ``len(taps) - 1``."""
    out = np.zeros((array.shape[0] - taps.size + 1, array.shape[1], array.shape[2]), np.float32)
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            for k in range(taps.size):
                for x in range(out.shape[2]):
                    out[z, y, x] += taps[k] * array[z + k, y, x]
    return out


@compiled
def _blur_y(array, taps):  # type: ignore[no-untyped-def]
    """Weighted sum of rows; the result is shorter by ``len(taps) - 1``."""
    out = np.zeros((array.shape[0], array.shape[1] - taps.size + 1, array.shape[2]), np.float32)
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            for k in range(taps.size):
                for x in range(out.shape[2]):
                    out[z, y, x] += taps[k] * array[z, y + k, x]
    return out


@compiled
def _blur_x(array, taps):  # type: ignore[no-untyped-def]
    """Weighted sum along rows; the result is shorter by ``len(taps) - 1``."""
    out = np.zeros((array.shape[0], array.shape[1], array.shape[2] - taps.size + 1), np.float32)
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            for k in range(taps.size):
                for x in range(out.shape[2]):
                    out[z, y, x] += taps[k] * array[z, y, x + k]
    return out


def blur_valid(
    array: NDArray[np.float32], taps: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Blur by weights (odd numbers of them) along z, then y, then x, where the whole neighbourhood is given.

    The result is shorter by ``len(taps) - 1`` on each axis. A voxel's sums always run in one order, in float32.
    """
    return np.asarray(_blur_x(_blur_y(_blur_z(array, taps[0]), taps[1]), taps[2]), np.float32)
