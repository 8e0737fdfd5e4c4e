"""Sums of intensities are exact, whatever the type and the size of the numbers."""

from __future__ import annotations

import math
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest

from bigcp3d.pure.cells.light_sums import digits_of, mean_and_deviation, sum_light


def mean_and_deviation_of(values: np.ndarray) -> tuple[float, float]:
    """By our sums, of one cell."""
    rows = np.ones([side + 2 for side in values.shape], np.int32)
    found = sum_light(rows, values, 1)
    mean, deviation = mean_and_deviation(found, np.array([values.size]), digits_of(values.dtype))
    return float(mean[0]), float(deviation[0])


def exactly(values: np.ndarray) -> tuple[float, float]:
    numbers = [Fraction(value) for value in values.ravel().tolist()]
    mean = sum(numbers) / len(numbers)
    variance = sum((number - mean) ** 2 for number in numbers) / len(numbers)
    return float(mean), math.sqrt(variance.numerator) / math.sqrt(variance.denominator)


SLOW = [pytest.param(dtype, marks=pytest.mark.slow) for dtype in ("uint8", "int8", "int16")]  # each is compiled


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "int32", *SLOW])
def test_integers_are_summed_exactly(dtype):
    limits, rng = np.iinfo(dtype), np.random.default_rng(1)
    values = rng.integers(limits.min, limits.max, (4, 5, 6), dtype, endpoint=True)
    values[0, 0, :2] = limits.min, limits.max
    assert mean_and_deviation_of(values) == pytest.approx(exactly(values), rel=1e-15)
    narrow = (limits.max - rng.integers(0, 3, (4, 5, 6))).astype(dtype)
    assert mean_and_deviation_of(narrow) == pytest.approx(exactly(narrow), rel=1e-15)


@pytest.mark.parametrize("power", [-140, -120, -30, 0, 7, 60, 110])
@pytest.mark.parametrize("spread", [0, 8, 300])
def test_floats_of_any_size_are_summed_exactly(power, spread):
    rng = np.random.default_rng(2)
    powers = (power + rng.integers(-spread, spread + 1, (4, 5, 6))).clip(-149, 127)
    values = np.ldexp(rng.uniform(-1, 1, (4, 5, 6)), powers).astype(np.float32)
    assert np.any(values != 0)
    assert mean_and_deviation_of(values) == pytest.approx(exactly(values), rel=1e-12, abs=0)


def test_what_is_no_number_counts_as_zero():
    values = np.array([0.5, np.nan, np.inf, -np.inf, -0.0, 1e300, 2.5, 1.0]).reshape(2, 2, 2)
    good = np.where(np.isfinite(values) & (values < 1e38), values, 0)
    assert mean_and_deviation_of(values) == exactly(good)


@pytest.mark.parametrize("dtype", ["float16", "float64", "int64", "uint64"])
def test_other_types_count_as_float32(dtype):
    values = np.random.default_rng(3).uniform(0, 1000, (3, 4, 5)).astype(dtype)
    assert mean_and_deviation_of(values) == mean_and_deviation_of(values.astype(np.float32))


def test_the_means_of_many_cells_need_little_memory():
    cells, digits = 20_000, digits_of("uint16")
    found = np.random.default_rng(0).integers(1, 2**31, (cells, len(digits)))
    found[:, 1] = 0  # so that no variance is negative
    tracemalloc.start()
    mean_and_deviation(found, np.full(cells, 2**20), digits)
    assert tracemalloc.get_traced_memory()[1] < 150 * cells
    tracemalloc.stop()
