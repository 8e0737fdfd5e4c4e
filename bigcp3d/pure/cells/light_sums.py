"""Exact sums of the intensities of cells, and of their squares, for images of any type.

A sum of floats depends on the order in which they are added. A sum of whole numbers does not. So each intensity is
taken as a whole number, times a power of 2 that all intensities of the type share (the *unit*). It has as many digits
as the type needs, in base 2^32::

    intensity = (digit 0 + digit 1 * 2^32 + digit 2 * 2^64 + ...) * unit

Of a float, at most two digits are not 0. Digits are added as int64 and not carried, so a sum is right up to 2^30
voxels. No intensity is cut or rounded, except that floats of 64 bits and integers of 64 bits count as float32. NaN,
infinities, and numbers that are too large for float32 count as 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bigcp3d.pure.compiled import compiled

BITS = 32
"""Bits of a digit."""

ROWS = 1 << 12
"""Cells whose means are computed at a time."""


@dataclass(frozen=True)
class Digits:
    """How many digits the sum of a channel and the sum of its squares have; the unit is ``2 ** exponent``."""

    sums: int
    squares: int
    exponent: int

    def __len__(self) -> int:
        return self.sums + self.squares


OF_INTEGERS = Digits(sums=2, squares=3, exponent=0)
OF_FLOATS = Digits(sums=9, squares=18, exponent=-149)
"""2^-149 is the smallest float32 above 0; the largest is below 2^277 of these, and its square below 2^554."""


def digits_of(dtype: DTypeLike) -> Digits:
    """The digits of a channel of some type."""
    kind = np.dtype(dtype)
    return OF_INTEGERS if kind.kind in "iu" and kind.itemsize <= 4 else OF_FLOATS


def sum_light(rows: NDArray[np.int32], values: NDArray[np.generic], n: int) -> NDArray[np.int64]:
    """Digits of the sums and then of the squares, shape (n, d), of the intensities of n cells.

    ``rows`` (z + 2, y + 2, x + 2) has for each voxel the number of its cell, from 1, with one voxel around the core.
    ``values`` (z, y, x) are the core's intensities.
    """
    digits = digits_of(values.dtype)
    if digits is OF_FLOATS:
        with np.errstate(over="ignore"):
            values = values.astype(np.float32).view(np.int32)
    found = np.zeros((n, len(digits)), np.int64)
    _add_light(rows, values, digits is OF_FLOATS, found[:, : digits.sums], found[:, digits.sums :])
    return found


def mean_and_deviation(
    found: NDArray[np.int64], count: NDArray[np.int64], digits: Digits
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of cells of ``count`` voxels, shape (n,), from digits of shape (n, d).

    Python's integers have no limit, so nothing is rounded before the division. They take 400 bytes a cell, so not all
    cells are computed at once.
    """
    mean, deviation = np.empty(len(count)), np.empty(len(count))
    for start in range(0, len(count), ROWS):
        rows = slice(start, start + ROWS)
        mean[rows], deviation[rows] = _mean_and_deviation(found[rows], count[rows], digits)
    return mean, deviation


def _mean_and_deviation(
    found: NDArray[np.int64], count: NDArray[np.int64], digits: Digits
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    sums, squares = _whole(found[:, : digits.sums]), _whole(found[:, digits.sums :])
    voxels = count.astype(object)
    unit = 2.0**digits.exponent
    mean = (sums / voxels).astype(np.float64) * unit
    variance = ((voxels * squares - sums * sums) / (voxels * voxels)).astype(np.float64)
    return mean, np.sqrt(variance) * unit


def _whole(digits: NDArray[np.int64]) -> NDArray[np.object_]:
    """The numbers of Python that digits of shape (n, d) stand for."""
    whole = np.zeros(len(digits), object)
    for place, digit in enumerate(digits.T):
        if digit.any():
            whole += digit.astype(object) * 2 ** (BITS * place)
    return whole


@compiled
def _add_light(rows, values, floats, sums, squares):  # type: ignore[no-untyped-def]
    """Add the intensities of the core's cells, and their squares; ``floats`` says that values are bits of float32."""
    for z in range(values.shape[0]):
        for y in range(values.shape[1]):
            for x in range(values.shape[2]):
                own, value = rows[z + 1, y + 1, x + 1], np.int64(values[z, y, x])
                if own == 0 or value == 0:
                    continue
                sign = np.int64(1) if value > 0 else np.int64(-1)
                number, shift = abs(value), np.int64(0)
                if floats:
                    exponent = (value >> 23) & 255
                    if exponent == 255:  # NaN or infinite
                        continue
                    number = value & 0x7FFFFF
                    if exponent > 0:
                        number |= 0x800000
                        shift = exponent - 1
                square = np.uint64(number) * np.uint64(number)
                _add(sums[own - 1], sign, number, shift)
                _add(squares[own - 1], np.int64(1), np.int64(square & np.uint64(0xFFFFFFFF)), 2 * shift)
                _add(squares[own - 1], np.int64(1), np.int64(square >> np.uint64(BITS)), 2 * shift + BITS)


@compiled
def _add(digits, sign, number, shift):  # type: ignore[no-untyped-def]
    """Add ``sign * number * 2 ** shift``, where ``number`` is below 2^32."""
    first, wide = shift // BITS, number << (shift % BITS)
    digits[first] += sign * (wide & 0xFFFFFFFF)
    digits[first + 1] += sign * (wide >> BITS)
