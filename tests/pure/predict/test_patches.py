"""Patches and their merging against float64, numpy's padding, and the limits of int32."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bigcp3d.pure.boxes import BlockGrid, Box, Vec3, vec3
from bigcp3d.pure.predict.patch_sums import PatchSums
from bigcp3d.pure.predict.patches import (
    SUB,
    WEIGHT_UNIT,
    PatchGrid,
    axis_totals,
    axis_weights,
    choose_patch,
    finish_merge,
    reflected,
)

quick = settings(deadline=None, max_examples=25)
sides = st.tuples(*[st.integers(1, 14)] * 3)
blocks = st.tuples(*[st.integers(1, 9)] * 3)
cores = st.tuples(*[st.integers(4, 9)] * 3)
margins = st.integers(0, 2)
seeds = st.integers(0, 2**32 - 1)


def grid_of(shape: Vec3, core: Vec3, margin: int) -> PatchGrid:
    return PatchGrid(shape, vec3(c + 2 * margin for c in core), margin)


def touching(grid: PatchGrid, box: Box) -> list[Vec3]:
    """Patches whose windows meet a box."""
    return [index for index in grid.cores if not grid.window(index).intersect(box).empty]


def predictions(grid: PatchGrid, seed: int) -> dict[Vec3, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return {i: rng.uniform(-1.1, 1.1, (4, *grid.patch)).astype(np.float32) for i in grid.cores}


def merge(grid: PatchGrid, parts: dict[Vec3, NDArray[np.float32]], box: Box, order: list[Vec3]) -> NDArray[np.int8]:
    sums = PatchSums(box, grid, torch.device("cpu"))
    for index in order:
        sums.add(grid.window(index), torch.from_numpy(parts[index]))
    return finish_merge(sums.sums(box), box, grid)


def merge_all(grid: PatchGrid, parts: dict[Vec3, NDArray[np.float32]]) -> NDArray[np.int8]:
    return merge(grid, parts, Box.of_shape(grid.shape), list(grid.cores))


@quick
@given(sides, cores, margins, seeds)
def test_merging_is_the_weighted_mean_in_float64(shape: Vec3, core: Vec3, margin: int, seed: int) -> None:
    grid = grid_of(shape, core, margin)
    parts = predictions(grid, seed)
    top, bottom = np.zeros((4, *shape)), np.zeros(shape)
    ones = [axis_weights(p, margin) for p in grid.patch]
    weights = np.einsum("i,j,k->ijk", *ones).astype(float)
    for index, part in parts.items():
        window = grid.window(index)
        for at in np.ndindex(grid.patch):
            voxel = tuple(a + w for a, w in zip(at, window.start, strict=True))
            if all(0 <= v < s for v, s in zip(voxel, shape, strict=True)):
                top[(slice(None), *voxel)] += weights[at] * np.clip(part[(slice(None), *at)], -1, 1)
                bottom[voxel] += weights[at]
    assert np.abs(merge_all(grid, parts) - 127 * top / bottom).max() <= 0.5 + 1 / SUB


@quick
@given(sides, cores, margins, blocks, seeds)
def test_any_block_in_any_order_merges_to_the_bit(shape: Vec3, core: Vec3, margin: int, block: Vec3, seed: int) -> None:
    grid = grid_of(shape, core, margin)
    parts = predictions(grid, seed)
    whole = merge_all(grid, parts)
    blocks_ = BlockGrid(shape, block)
    for box in map(blocks_.core, blocks_):
        order = [vec3(i) for i in np.random.default_rng(seed).permutation(touching(grid, box))]
        assert np.array_equal(merge(grid, parts, box, order), whole[(slice(None), *box.slices())])


def test_control_float32_sums_depend_on_the_order() -> None:
    rng = np.random.default_rng(0)
    terms = rng.uniform(-1, 1, (8, 1000)).astype(np.float32)
    assert not np.array_equal(sum(terms), sum(terms[::-1]))


def test_control_a_patch_left_out_shows() -> None:
    grid = grid_of((12, 12, 12), (6, 6, 6), 2)
    parts = predictions(grid, 0)
    order = list(grid.cores)
    whole = Box.of_shape(grid.shape)
    assert not np.array_equal(merge(grid, parts, whole, order), merge(grid, parts, whole, order[1:]))


@quick
@given(sides, cores, margins, blocks, st.integers(0, 1000))
def test_what_patches_read_is_what_they_see(shape: Vec3, core: Vec3, margin: int, block: Vec3, which: int) -> None:
    grid, some = grid_of(shape, core, margin), BlockGrid(shape, block)
    patches = touching(grid, some.core(list(some)[which % len(some)]))
    seen = [reflected(w.start[a], w.stop[a], shape[a]) for w in map(grid.window, patches) for a in range(3)]
    read = grid.read_box(patches)
    for axis in range(3):
        assert read.start[axis] == min(s.min() for s in seen[axis::3])
        assert read.stop[axis] == max(s.max() for s in seen[axis::3]) + 1
    assert read.clip(shape) == read


@quick
@given(st.integers(1, 9), st.integers(0, 40), st.integers(0, 40))
def test_reflection_is_numpy_s(size: int, before: int, after: int) -> None:
    assert np.array_equal(
        reflected(-before, size + after, size), np.pad(np.arange(size), (before, after), mode="reflect")
    )


def test_control_symmetric_padding_is_another() -> None:
    assert not np.array_equal(reflected(-2, 5, 5), np.pad(np.arange(5), (2, 0), mode="symmetric"))


@quick
@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 8))
def test_axis_totals_are_the_sum_over_patches_and_never_zero(size: int, core: int, margin: int) -> None:
    patch = core + 2 * margin
    truth = np.zeros(size, int)
    weights = axis_weights(patch, margin)
    assert weights.min() >= 1
    assert weights.max() <= WEIGHT_UNIT
    assert np.array_equal(weights, weights[::-1])
    for k, i in itertools.product(range(-(-size // core)), range(patch)):
        if 0 <= k * core - margin + i < size:
            truth[k * core - margin + i] += weights[i]
    totals = axis_totals(size, patch, margin)
    assert np.array_equal(totals, truth)
    assert totals.min() >= 1


@pytest.mark.parametrize(("core", "margin"), [(4, 2), (6, 2), (8, 4), (16, 8), (32, 16), (20, 3), (7, 0)])
def test_two_blending_patches_add_up_to_about_the_full_weight(core: int, margin: int) -> None:
    inside = axis_totals(5 * core, core + 2 * margin, margin)[core:-core]
    assert np.abs(inside - WEIGHT_UNIT).max() <= 1


@pytest.mark.parametrize("margin", [0, 1, 2, 3, 4, 8, 12, 16, 24, 32])
@pytest.mark.parametrize("value", [1.0, -1.0])
def test_the_largest_sums_fit_int32(margin: int, value: float) -> None:
    """Cores of at least two margins, the worst voxel: all predictions +1 or -1."""
    core = max(2 * margin, 1)
    totals = axis_totals(5 * core, core + 2 * margin, margin)
    at = int(totals.argmax())
    assert 127 * SUB * int(totals[at]) ** 3 < 2**31
    shape = (5 * core,) * 3
    grid = PatchGrid(shape, (core + 2 * margin,) * 3, margin)
    box = Box((at,) * 3, (at + 1,) * 3)
    sums = PatchSums(box, grid, torch.device("cpu"))
    for index in touching(grid, box):
        sums.add(grid.window(index), torch.tensor(value).expand(4, *grid.patch))
    total = sums.sums(box)
    assert (np.sign(total) == value).all()
    assert (finish_merge(total, box, grid) == int(127 * value)).all()


@pytest.mark.parametrize("value", [0.0, 0.5 / 127, -0.5 / 127, 0.49 / 127, 1.0, -1.0, 7.5 / 127, -7.5 / 127, 3.0])
def test_values_are_rounded_half_away_from_zero(value: float) -> None:
    grid = grid_of((9, 9, 9), (4, 4, 4), 2)
    parts = {i: np.full((4, *grid.patch), value, np.float32) for i in grid.cores}
    exact = np.clip(np.rint(value * 127 * SUB) / SUB, -127, 127)
    wanted = np.sign(exact) * np.floor(np.abs(exact) + 0.5)
    assert (merge_all(grid, parts) == wanted).all()


@quick
@given(st.tuples(*[st.integers(1, 300)] * 3), st.sampled_from([0, 4, 8, 16]), st.sampled_from([8, 16]))
def test_a_chosen_patch_obeys_the_model_and_covers_the_volume(shape: Vec3, margin: int, stride: int) -> None:
    largest = (64, 128, 96)
    patch = choose_patch(shape, largest, margin, stride)
    grid = PatchGrid(shape, patch, margin)
    most = PatchGrid(shape, largest, margin)
    assert all(p <= m and p % stride == 0 and p > 2 * margin for p, m in zip(patch, largest, strict=True))
    assert all(n <= m for n, m in zip(grid.cores.counts, most.cores.counts, strict=True))
    for size, p, n in zip(shape, patch, grid.cores.counts, strict=True):
        assert n == 1 or p - stride - 2 * margin < -(-size // n) + stride  # no patch a stride larger than needed
