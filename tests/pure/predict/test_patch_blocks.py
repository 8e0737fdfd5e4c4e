"""Blocks of whole patches, against voxels marked one by one; sums that are handed over, against those of the volume."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bigcp3d.pure.boxes import BlockGrid, Box, Vec3, vec3
from bigcp3d.pure.predict.patch_blocks import PatchBlocks
from bigcp3d.pure.predict.patch_sums import PatchSums
from bigcp3d.pure.predict.patches import PatchGrid, finish_maps

quick = settings(deadline=None, max_examples=25)
sides = st.tuples(*[st.integers(1, 30)] * 3)
blocks_sides = st.tuples(*[st.integers(1, 40)] * 3)
cores = st.tuples(*[st.integers(6, 9)] * 3)
margins = st.integers(0, 3)


def make(shape: Vec3, core: Vec3, margin: int, block: Vec3) -> PatchBlocks:
    return PatchBlocks.near(PatchGrid(shape, vec3(c + 2 * margin for c in core), margin), block)


def owned(blocks: PatchBlocks, index: Vec3) -> list[Vec3]:
    """The patches whose cores lie in a block, in raster order."""
    return blocks.patches.cores.touching(blocks.grid.core(index))


def filled(blocks: PatchBlocks, index: Vec3) -> np.ndarray:
    """The voxels that the patches of a block fill, marked one window at a time."""
    mask = np.zeros(blocks.patches.shape, bool)
    for patch in owned(blocks, index):
        mask[blocks.patches.window(patch).clip(blocks.patches.shape).slices()] = True
    return mask


@quick
@given(sides, cores, margins, blocks_sides)
def test_every_patch_belongs_to_one_block_of_about_the_size_asked_for(
    shape: Vec3, core: Vec3, margin: int, block: Vec3
) -> None:
    blocks = make(shape, core, margin, block)
    all_owned = [patch for index in blocks.grid for patch in owned(blocks, index)]
    assert sorted(all_owned) == sorted(blocks.patches.cores)
    assert [patch for index in blocks.grid for layer in blocks.layers(index) for patch in layer] == all_owned
    assert all(len({patch[0] for patch in layer}) == 1 for index in blocks.grid for layer in blocks.layers(index))
    most = zip(blocks.patches.cores.counts, BlockGrid(shape, block).counts, strict=True)
    for count, (patches, asked) in zip(blocks.grid.counts, most, strict=True):
        assert count <= min(patches, asked)


@quick
@given(sides, cores, margins, blocks_sides)
def test_extent_inner_part_and_neighbours_are_those_of_the_voxels(
    shape: Vec3, core: Vec3, margin: int, block: Vec3
) -> None:
    blocks = make(shape, core, margin, block)
    fills = {index: filled(blocks, index) for index in blocks.grid}
    count = np.sum(list(fills.values()), axis=0)
    for index in blocks.grid:
        extent, mine = np.zeros(shape, bool), blocks.grid.core(index)
        extent[blocks.extent(index).slices()] = True
        assert np.array_equal(extent, fills[index])
        alone, parts = np.zeros(shape, int), np.zeros(shape, int)
        alone[mine.slices()] = count[mine.slices()] == 1
        inner = blocks.inner(index)
        parts[inner.slices()] += 1
        assert inner.size == parts.sum()
        assert np.array_equal(parts, alone)
        for slab in blocks.shell(index):
            assert not slab.empty
            parts[slab.slices()] += 1
        assert parts[mine.slices()].all()
        assert parts.max() == 1
        assert parts.sum() == mine.size
        assert blocks.meeting(index) == [
            other for other in blocks.grid if fills[index][blocks.grid.core(other).slices()].any()
        ]
        assert all(index in blocks.meeting(other) for other in blocks.meeting(index))
    assert blocks.hand_over == (count.max() > 1)


def handed_over(blocks: PatchBlocks, seed: int, *, lose: int | None = None) -> np.ndarray:
    """Maps of all blocks from the shares that each is handed, added in a random order."""
    grid, rng = blocks.patches, np.random.default_rng(seed)
    shares: dict[Vec3, list[tuple[Box, np.ndarray]]] = {index: [] for index in blocks.grid}
    for index in blocks.grid:
        extent = blocks.extent(index)
        sums = PatchSums(extent, grid, torch.device("cpu"))
        for patch in owned(blocks, index):
            sums.add(grid.window(patch), torch.from_numpy(prediction_of(grid, patch)))
        for other in blocks.meeting(index):
            box = blocks.shared(index, other)
            shares[other].append((box, sums.sums(box)))
    if lose is not None:
        shares[(0, 0, 0)].pop(lose)
    maps = np.full((4, *grid.shape), -128, np.int8)
    for index, parts in shares.items():
        core = blocks.grid.core(index)
        total = np.zeros((4, *core.shape), np.int32)
        for i in rng.permutation(len(parts)):
            box, part = parts[i]
            total[(slice(None), *box.slices(core.start))] += part
        maps[(slice(None), *core.slices())] = finish_maps(total, core, grid)
    return maps


def prediction_of(grid: PatchGrid, patch: Vec3) -> np.ndarray:
    return np.random.default_rng(patch).uniform(-1.1, 1.1, (4, *grid.patch)).astype(np.float32)


@quick
@given(sides, cores, margins, blocks_sides, st.integers(0, 2**32 - 1))
def test_sums_handed_over_give_the_maps_of_the_volume_to_the_bit(
    shape: Vec3, core: Vec3, margin: int, block: Vec3, seed: int
) -> None:
    blocks = make(shape, core, margin, block)
    whole = make(shape, core, margin, shape)
    assert len(whole.grid) == 1
    assert np.array_equal(handed_over(blocks, seed), handed_over(whole, seed))


def test_control_a_share_that_is_lost_shows() -> None:
    blocks = make((20, 20, 20), (6, 6, 6), 2, (10, 10, 10))
    assert len(blocks.meeting((0, 0, 0))) == 8
    whole = handed_over(blocks, 0)
    assert all(not np.array_equal(handed_over(blocks, 0, lose=i), whole) for i in range(8))


@pytest.mark.parametrize("block", [(1, 1, 1), (7, 40, 11), (100, 100, 100)], ids=str)
def test_a_volume_smaller_than_a_patch_is_one_block(block: Vec3) -> None:
    blocks = make((5, 1, 6), (8, 8, 8), 3, block)
    assert len(blocks.grid) == 1
    assert not blocks.hand_over
    assert blocks.inner((0, 0, 0)) == blocks.extent((0, 0, 0)) == Box.of_shape((5, 1, 6))
    assert blocks.shell((0, 0, 0)) == []


def test_slabs_of_the_shell_stay_few() -> None:
    blocks = make((30, 30, 30), (6, 6, 6), 3, (10, 10, 10))
    assert len(list(itertools.chain(*map(blocks.shell, blocks.grid)))) <= 6 * len(blocks.grid)
