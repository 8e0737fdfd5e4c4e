"""The working grid against scipy's interpolation and plain weighted sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from bigcp3d.pure.boxes import BlockGrid, Box, Vec3, vec3
from bigcp3d.pure.grid import (
    Factors,
    image_box,
    nearest_working,
    resample,
    spread_labels,
    working_box,
    working_shape,
)

quick = settings(deadline=None, max_examples=30)
sides = st.tuples(*[st.integers(1, 12)] * 3)
blocks = st.tuples(*[st.integers(1, 9)] * 3)
seeds = st.integers(0, 2**32 - 1)
one_factor = st.sampled_from([1.0, 0.31, 0.5, 0.9, 1.2, 1.75, 2.0, 3.3])
factors_ = st.tuples(one_factor, one_factor, one_factor)


def noise(shape: Vec3, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random(shape, np.float32)


def resample_all(image: NDArray[np.float32], factors: Factors) -> NDArray[np.float32]:
    whole = Box.of_shape(vec3(image.shape))
    return resample(image, whole, Box.of_shape(working_shape(whole.shape, factors)), factors, whole.shape)


def dense(size: int, factor: float) -> NDArray[np.float64]:
    """The triangle kernel as a matrix (working, image), from the text: positions, widths, borders extended."""
    n, width = max(1, math.floor(size / factor + 0.5)), max(1.0, factor)
    matrix = np.zeros((n, size))
    for i in range(n):
        position = (i + 0.5) * factor - 0.5
        for j in range(math.floor(position - width), math.ceil(position + width) + 1):
            matrix[i, min(max(j, 0), size - 1)] += max(0.0, 1 - abs(j - position) / width)
    return matrix / matrix.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("factors", [(0.5, 0.7, 0.31), (1.0, 0.9, 0.4), (0.25, 1.0, 1.0)])
def test_refining_is_scipy_s_linear_interpolation(factors: Factors) -> None:
    image = noise((7, 9, 8), 1)
    out = resample_all(image, factors)
    at = np.meshgrid(*[(np.arange(n) + 0.5) * f - 0.5 for n, f in zip(out.shape, factors, strict=True)], indexing="ij")
    assert np.allclose(out, map_coordinates(image, at, order=1, mode="nearest"), atol=2e-6)
    shifted = [a + 0.5 for a in at]  # control: a grid that starts elsewhere
    assert not np.allclose(out, map_coordinates(image, shifted, order=1, mode="nearest"), atol=0.01)


@quick
@given(sides, factors_, seeds)
def test_resampling_is_the_dense_weighted_sum(shape: Vec3, factors: Factors, seed: int) -> None:
    image = noise(shape, seed)
    kernels = [dense(s, f) for s, f in zip(shape, factors, strict=True)]
    truth = np.einsum("ai,bj,ck,ijk->abc", *kernels, image, optimize=True)
    out = resample_all(image, factors)
    assert out.dtype == np.float32
    assert out.shape == truth.shape == working_shape(shape, factors)
    assert np.allclose(out, truth, atol=2e-6)


@quick
@given(sides, factors_, blocks, seeds)
def test_blocks_resample_to_the_bit_from_what_image_box_names(
    shape: Vec3, factors: Factors, block: Vec3, seed: int
) -> None:
    image = noise(shape, seed)
    whole = resample_all(image, factors)
    grid = BlockGrid(vec3(whole.shape), block)
    for box in map(grid.core, grid):
        least = image_box(box, factors, shape)
        assert least.clip(shape) == least
        for region in (least, least.grow(2).clip(shape)):
            part = resample(image[region.slices()].copy(), region, box, factors, shape)
            assert np.array_equal(part, whole[box.slices()])


def test_control_the_first_and_last_planes_of_image_box_matter() -> None:
    shape, factors = (30, 1, 1), (1.7, 1.0, 1.0)
    image, box = noise(shape, 0), Box((4, 0, 0), (9, 1, 1))
    region = image_box(box, factors, shape)
    out = resample(image[region.slices()], region, box, factors, shape)
    changed = []
    for plane in (region.start[0] - 1, region.start[0], region.start[0] + 1, region.stop[0] - 2, region.stop[0] - 1):
        other = image.copy()
        other[plane] += 1
        changed.append(not np.array_equal(resample(other[region.slices()], region, box, factors, shape), out))
    assert not changed[0]
    assert any(changed[1:3])  # a tap's weight may be 0 at one end
    assert any(changed[3:])


def test_factor_one_is_the_image_itself() -> None:
    image = noise((5, 6, 7), 3)
    assert np.array_equal(resample_all(image, (1.0, 1.0, 1.0)), image)
    box = Box((1, 2, 3), (4, 5, 6))
    assert np.array_equal(
        resample(image, Box.of_shape((5, 6, 7)), box, (1.0, 1.0, 1.0), (5, 6, 7)), image[box.slices()]
    )


def test_a_constant_image_stays_constant() -> None:
    image = np.full((6, 7, 8), 0.7, np.float32)
    assert np.allclose(resample_all(image, (0.6, 2.3, 3.1)), 0.7, atol=1e-6)


@quick
@given(st.integers(1, 40), one_factor)
def test_each_image_voxel_takes_the_working_voxel_that_is_nearest(size: int, factor: float) -> None:
    n = working_shape((size, 1, 1), (factor, 1.0, 1.0))[0]
    nearest = nearest_working(0, size, factor, n)
    position = (np.arange(n) + 0.5) * factor - 0.5
    for j, got in enumerate(nearest):
        assert abs(position[got] - j) <= np.abs(position - j).min() + 1e-9


@quick
@given(sides, factors_, blocks, seeds)
def test_blocks_spread_labels_like_the_volume(shape: Vec3, factors: Factors, block: Vec3, seed: int) -> None:
    working = working_shape(shape, factors)
    labels = np.random.default_rng(seed).integers(0, 2**32, working, dtype=np.uint32)
    index = [nearest_working(0, s, f, w) for s, f, w in zip(shape, factors, working, strict=True)]
    whole = labels[np.ix_(*index)]
    grid = BlockGrid(shape, block)
    for box in map(grid.core, grid):
        region = working_box(box, factors, working)
        part = spread_labels(labels[region.slices()], region, box, factors, working)
        assert part.dtype == np.uint32
        assert np.array_equal(part, whole[box.slices()])


def test_the_working_shape_is_rounded_and_never_zero() -> None:
    assert working_shape((10, 10, 1), (4.0, 0.3, 100.0)) == (3, 33, 1)
