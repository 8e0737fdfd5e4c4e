"""Boxes and block grids against sets of voxels counted one by one."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigcp3d.pure.boxes import BlockGrid, Box, Vec3, block_of_chunks, float3, vec3

sides = st.tuples(*[st.integers(1, 9)] * 3)
corners = st.tuples(*[st.integers(-6, 14)] * 3)
boxes = st.builds(Box, corners, corners)
quick = settings(deadline=None, max_examples=60)


def voxels(box: Box) -> set[Vec3]:
    """Every voxel of a box, the slow way."""
    return set(itertools.product(*(range(a, b) for a, b in zip(box.start, box.stop, strict=True))))


@quick
@given(sides, sides)
def test_cores_tile_the_volume_exactly_once(shape: Vec3, block: Vec3) -> None:
    grid = BlockGrid(shape, block)
    owners = np.zeros(shape, int)
    for index in grid:
        assert not grid.core(index).empty
        owners[grid.core(index).slices()] += 1
    assert (owners == 1).all()
    assert len(grid) == len(list(grid)) == int(np.prod(grid.counts))


def test_control_a_grid_that_rounds_down_leaves_voxels_without_owner() -> None:
    shape, block = (5, 4, 7), (2, 4, 3)
    owners = np.zeros(shape, int)
    for index in itertools.product(*(range(s // b) for s, b in zip(shape, block, strict=True))):
        owners[BlockGrid(shape, block).core(vec3(index)).slices()] += 1
    assert not (owners == 1).all()


@quick
@given(sides, sides, boxes)
def test_touching_blocks_are_those_that_share_a_voxel(shape: Vec3, block: Vec3, box: Box) -> None:
    grid = BlockGrid(shape, block)
    assert grid.touching(box) == [index for index in grid if voxels(grid.core(index)) & voxels(box)]


@quick
@given(boxes, boxes)
def test_boxes_intersect_as_sets_of_voxels(a: Box, b: Box) -> None:
    assert voxels(a.intersect(b)) == voxels(a) & voxels(b)


@quick
@given(boxes, sides)
def test_clipping_keeps_what_lies_in_the_volume(box: Box, shape: Vec3) -> None:
    assert voxels(box.clip(shape)) == voxels(box) & voxels(Box.of_shape(shape))


@quick
@given(boxes)
def test_size_and_shape_count_voxels(box: Box) -> None:
    assert box.size == len(voxels(box)) == int(np.prod(box.shape))
    assert box.empty == (not voxels(box))


@quick
@given(sides, sides, st.integers(0, 4), st.integers(0, 4))
def test_a_grown_core_holds_the_chebyshev_neighbourhood(shape: Vec3, block: Vec3, low: int, high: int) -> None:
    grid = BlockGrid(shape, block)
    for index in itertools.islice(grid, 5):
        core = grid.core(index)
        moves = itertools.product(range(-low, high + 1), repeat=3)
        ends = {vec3(a + m for a, m in zip(core.start, move, strict=True)) for move in moves}
        assert core.grow(low, high).start == min(ends)
        assert core.grow(low, high).shape == vec3(s + low + high for s in core.shape)
        assert core.grow((low, high, 0)) == core.grow((low, high, 0), (low, high, 0))


@quick
@given(boxes, st.tuples(*[st.integers(1, 60)] * 3), st.tuples(*[st.integers(1, 60)] * 3))
def test_a_scaled_box_is_the_smallest_that_holds_the_box(box: Box, counts: Vec3, sides: Vec3) -> None:
    scaled = box.scaled(float3(Fraction(n, m) for n, m in zip(counts, sides, strict=True)))
    for axis, (n, m) in enumerate(zip(counts, sides, strict=True)):
        assert scaled.start[axis] == math.floor(Fraction(box.start[axis] * n, m))
        assert scaled.stop[axis] == math.ceil(Fraction(box.stop[axis] * n, m))


def test_rounded_factors_add_no_voxel_to_a_scaled_box() -> None:
    box = Box((49, 49, 6), (98, 98, 12))
    assert math.floor(49 * (1 / 49)) == 0  # the control: the plain product rounds down
    assert box.scaled((1 / 49, 1 / 49, 0.1 / 0.3)) == Box((1, 1, 2), (2, 2, 4))


@quick
@given(sides, sides, boxes)
def test_touching_blocks_are_counted(shape: Vec3, block: Vec3, box: Box) -> None:
    grid = BlockGrid(shape, block)
    assert grid.count_touching(box) == len(grid.touching(box))


@quick
@given(boxes, corners)
def test_slices_count_from_the_origin(box: Box, origin: Vec3) -> None:
    region = Box(origin, vec3(o + 25 for o in origin))
    box = box.intersect(region)
    if box.empty:
        return
    seen = np.zeros(region.shape, bool)
    seen[box.slices(origin)] = True
    assert {vec3(v) for v in np.argwhere(seen) + origin} == voxels(box)


@quick
@given(sides, boxes)
def test_an_array_padded_by_the_margins_fills_the_outer_box(shape: Vec3, other: Box) -> None:
    outer = Box.of_shape(shape)
    inner = outer.intersect(other)
    if inner.empty:
        return
    filled = np.zeros(shape, int)
    filled[inner.slices()] = 1
    assert np.array_equal(np.pad(np.ones(inner.shape, int), outer.margins(inner)), filled)


@pytest.mark.parametrize("chunk", [(64, 64, 64), (1, 2048, 2048), (300, 7, 9)])
def test_blocks_are_whole_chunks_and_no_larger_than_memory_wants(chunk):
    shape = (500, 3000, 4000)
    block = block_of_chunks(chunk, shape, 2**24)
    assert all(b % c == 0 or b == s for b, c, s in zip(block, chunk, shape, strict=True))
    assert 2**22 <= Box.of_shape(block).size <= 2**24


@pytest.mark.parametrize("chunk", [(500, 3000, 4000), (1, 8192, 8192), (900, 1024, 1024)])
def test_a_chunk_that_is_too_large_is_read_in_parts(chunk):
    assert 2**22 <= Box.of_shape(block_of_chunks(chunk, (900, 9000, 9000), 2**24)).size <= 2**24
