"""Morphological closing of the sink mask: dilate with a ball, then erode; zero outside the volume.

64 voxels of a row are the bits of one word. A ball is a stack of rows, each a run of ``2 w + 1`` voxels::

      w = 0      . . o . .        Dilating by a run of w is shifting by one, w times. Each row of the ball then takes
      w = 1      . o o o .        one "or" of whole words: with radius 5 there are 81 rows, so a voxel costs 81 / 64
      w = 2      o o o o o        operations, however many sinks there are.

Erosion is dilation of the complement. Equal to scikit-image's ``closing`` on a volume padded with zeros.

Invariant: a closed voxel depends on the mask within twice the radius.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Box
from bigcp3d.pure.compiled import compiled

Bits = NDArray[np.uint64]

ONE, LAST, INDEX = np.uint64(1), np.uint64(63), np.uint64(6)


def _ball_rows(radius: int) -> NDArray[np.int64]:
    """Rows of a ball, shape (n, 3): z, y and half the length w, ordered by w."""
    z, y = np.mgrid[-radius : radius + 1, -radius : radius + 1].reshape(2, -1)
    rest = radius * radius - z * z - y * y
    rows = np.array([(a, b, math.isqrt(c)) for a, b, c in zip(z, y, rest.tolist(), strict=True) if c >= 0], np.int64)
    return rows[np.argsort(rows[:, 2], kind="stable")]


@compiled
def _set_bits(voxel, bits):  # type: ignore[no-untyped-def]
    """Set the bits of voxels."""
    for i in range(len(voxel)):
        x = np.uint64(voxel[i, 2])
        bits[voxel[i, 0], voxel[i, 1], np.int64(x >> INDEX)] |= ONE << (x & LAST)


@compiled
def _widen(bits, wider):  # type: ignore[no-untyped-def]
    """Dilate every row by one voxel on each side."""
    nz, ny, words = bits.shape
    for z in range(nz):
        for y in range(ny):
            for k in range(words):
                word = bits[z, y, k]
                word |= (word << ONE) | (word >> ONE)
                if k > 0:
                    word |= bits[z, y, k - 1] >> LAST
                if k + 1 < words:
                    word |= bits[z, y, k + 1] << LAST
                wider[z, y, k] = word


@compiled
def _add_rows(bits, rows, radius, words, dilated):  # type: ignore[no-untyped-def]
    """Add the ball's rows of the length by which ``bits`` are widened; planes lie flat, (z, y * words)."""
    for z in range(dilated.shape[0]):
        to = dilated[z]
        for i in range(len(rows)):
            first = (radius + rows[i, 1]) * words
            source = bits[z + radius + rows[i, 0], first : first + len(to)]
            for k in range(len(to)):
                to[k] |= source[k]


def _dilate(bits: Bits, radius: int) -> Bits:
    """Dilate with a ball; the result is shorter by ``radius`` at both ends of z and y. Overwrites ``bits``."""
    nz, ny, words = bits.shape
    dilated = np.zeros((nz - 2 * radius, (ny - 2 * radius) * words), np.uint64)
    rows = _ball_rows(radius)
    other = np.empty_like(bits)
    for w in range(radius + 1):
        if w:
            _widen(bits, other)
            bits, other = other, bits
        _add_rows(bits.reshape(nz, ny * words), rows[rows[:, 2] == w, :2], radius, words, dilated)
    return dilated.reshape(nz - 2 * radius, ny - 2 * radius, words)


@compiled
def _clear_bits(bits, first, closed):  # type: ignore[no-untyped-def]
    """1 where the bit is not set; row 0 of ``closed`` begins at bit ``first``. Words of ones are skipped."""
    nz, ny, nx = closed.shape
    for z in range(nz):
        for y in range(ny):
            x = 0
            while x < nx:
                at = np.uint64(x + first)
                word = ~bits[z, y, np.int64(at >> INDEX)] >> (at & LAST)
                stop = min(nx, x + 64 - np.int64(at & LAST))
                if word:
                    for i in range(x, stop):
                        closed[z, y, i] = (word >> np.uint64(i - x)) & ONE
                x = stop


def close_sinks(voxel: NDArray[np.int32], core: Box, radius: int) -> NDArray[np.uint8]:
    """Morphological closing of a sparse mask with a ball, seen in ``core``.

    Parameters
    ----------
    voxel : ndarray of int32, shape (n, 3)
        Voxels of the mask: all within ``core`` grown by ``2 * radius``; others are ignored.
    core : Box
        Where the closed mask is wanted.
    radius : int
        Radius of the ball, in voxels; 0 leaves the mask as it is.

    Returns
    -------
    closed : ndarray of uint8, shape ``core.shape``
        1 where the closed mask is set. The mask is zero outside the volume, but dilation goes on there, so closing
        never loses a voxel.

    Notes
    -----
    1 byte a voxel of the core, and 4 bits a voxel of the core grown by ``2 * radius``.
    """
    reading = core.grow(2 * radius)
    near = np.all((voxel >= reading.start) & (voxel < reading.stop), axis=1)
    nz, ny, nx = reading.shape
    bits = np.zeros((nz, ny, -(-nx // 64)), np.uint64)
    _set_bits(voxel[near] - np.asarray(reading.start, np.int32), bits)
    closed = np.zeros(core.shape, np.uint8)
    _clear_bits(_dilate(~_dilate(bits, radius), radius), 2 * radius, closed)
    return closed
