"""Ranges of first voxels: how many there are, and how many of them a block meets."""

import math

import numpy as np
import pytest

from bigcp3d.pure.boxes import BlockGrid, Box
from bigcp3d.work.plan.id_ranges import CELLS, IdRanges

DIAMETER = 13.0
FULL = CELLS * math.pi / 6 * DIAMETER**3


@pytest.mark.parametrize("shape", [(10_000,) * 3, (100_000,) * 3, (200, 100_000, 100_000), (100_000, 2000, 2000)])
def test_a_block_meets_few_ranges_however_large_the_volume(shape):
    ranges, blocks = IdRanges.of(Box.of_shape(shape), shape, DIAMETER), BlockGrid(shape, (256, 256, 256))
    some = np.random.default_rng(0).integers(0, blocks.counts, (50, 3))
    assert max(ranges.bars.count_touching(blocks.core(tuple(index))) for index in some.tolist()) <= 25
    assert math.prod(ranges.bars.block) <= FULL
    assert ranges.number < 1.3 * math.prod(shape) / FULL


@pytest.mark.parametrize("shape", [(800, 800, 800), (2, 20_000, 10_000), (10_000, 200, 200), (1, 1, 1)])
def test_a_volume_that_fits_into_one_range_has_one(shape):
    assert IdRanges.of(Box.of_shape(shape), shape, DIAMETER).number == 1


def test_ranges_tile_a_region_and_objects_without_voxels_are_in_none():
    region, shape = Box((2, 3, 1), (7, 9, 5)), (9, 10, 6)
    ranges = IdRanges(BlockGrid(region.shape, (2, 4, 4)), region.start, shape)
    voxels = np.stack(np.meshgrid(*map(np.arange, region.start, region.stop), indexing="ij"), axis=-1).reshape(-1, 3)
    first = np.ravel_multi_index(tuple(voxels.T), shape)
    z, y, _ = (voxels - region.start).T
    assert np.array_equal(ranges.find(first), z // 2 * 2 + y // 4)
    assert np.array_equal(ranges.plane(first), z % 2)
    assert [*map(list, ranges.layers)] == [[0, 1], [2, 3], [4, 5]]
    assert ranges.find(np.array([np.iinfo(np.int64).max])).tolist() == [ranges.number] == [6]
