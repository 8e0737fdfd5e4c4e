"""Sinks' sums against numpy on the whole volume and scikit-image's region properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.measure import regionprops

from bigcp3d.pure.boxes import BlockGrid, Box, Vec3
from bigcp3d.pure.track.sinks import PRODUCTS, Sinks, Sums, collect_sinks
from bigcp3d.pure.track.units import UNASSIGNED

quick = settings(deadline=None, max_examples=25)
sides = st.tuples(*[st.integers(1, 8)] * 3)
seeds = st.integers(0, 2**32 - 1)
REACH = 4


def scene(shape: Vec3, seed: int) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Random offsets to few sinks (some voxels unassigned), and foreground."""
    rng = np.random.default_rng(seed)
    at = np.indices(shape)
    most = np.asarray(shape)[:, None, None, None] - 1
    ends = np.clip(3 * (at // 3) + rng.integers(-1, 2, at.shape), 0, most)
    offsets = (ends - at).astype(np.int8)
    offsets[:, rng.random(shape) < 0.2] = UNASSIGNED
    return offsets, rng.integers(0, 128, shape).astype(np.int8)


def collect(shape: Vec3, block: Vec3, seed: int) -> list[Sinks]:
    offsets, foreground = scene(shape, seed)
    grid = BlockGrid(shape, block)
    parts = []
    for core in map(grid.core, grid):
        cut = core.slices()
        own = (offsets[(slice(None), *cut)], core, shape)
        parts.append(collect_sinks(*own, foreground=foreground[cut], reach=REACH))
    return parts


def by_voxel(sinks: Sinks) -> tuple[NDArray[np.int32], Sums]:
    """Parts of the same sink added up; sinks in raster order."""
    voxel, group = np.unique(sinks.voxel, axis=0, return_inverse=True)
    return voxel.reshape(-1, 3), sinks.sums.group(group.reshape(-1), len(voxel))


def assert_equal(a: Sums, b: Sums) -> None:
    for name, column in a.arrays().items():
        assert column.dtype == np.int64
        assert np.array_equal(column, b.arrays()[name]), name


@quick
@given(sides, seeds)
def test_sums_are_those_of_numpy_over_the_whole_volume(shape: Vec3, seed: int) -> None:
    offsets, foreground = scene(shape, seed)
    (sinks,) = collect(shape, shape, seed)
    start = np.argwhere(offsets[0] != UNASSIGNED)
    end = start + offsets[(slice(None), *start.T)].T
    assert np.array_equal(sinks.voxel, np.unique(end, axis=0).reshape(-1, 3))
    for i, voxel in enumerate(sinks.voxel):
        mine = start[(end == voxel).all(axis=1)]
        s = sinks.sums.take(np.array([i]))
        assert s.count[0] == len(mine)
        assert s.foreground[0] == foreground[tuple(mine.T)].sum(dtype=int)
        assert s.first[0] == np.ravel_multi_index(tuple(mine.T), shape).min()
        assert s.coordinates[0].tolist() == mine.sum(axis=0).tolist()
        assert s.products[0].tolist() == [int((mine[:, a] * mine[:, b]).sum()) for a, b in PRODUCTS]
        assert s.low[0].tolist() == mine.min(axis=0).tolist()
        assert s.high[0].tolist() == (mine.max(axis=0) + 1).tolist()


def test_centroid_and_box_are_those_of_scikit_image() -> None:
    shape: Vec3 = (9, 10, 11)
    offsets, _ = scene(shape, 5)
    (sinks,) = collect(shape, shape, 5)
    labels = np.zeros(shape, int)
    start = np.argwhere(offsets[0] != UNASSIGNED)
    end = start + offsets[(slice(None), *start.T)].T
    order = {tuple(v): i + 1 for i, v in enumerate(sinks.voxel.tolist())}
    labels[tuple(start.T)] = [order[tuple(e)] for e in end.tolist()]
    for i, region in enumerate(regionprops(labels)):
        assert region.num_pixels == sinks.sums.count[i]
        assert np.allclose(region.centroid, sinks.sums.coordinates[i] / sinks.sums.count[i], rtol=1e-12)
        assert region.bbox == (*sinks.sums.low[i], *sinks.sums.high[i])
    assert i + 1 == len(sinks.voxel) > 50


@quick
@given(sides, st.tuples(*[st.integers(1, 9)] * 3), seeds)
def test_parts_from_any_blocks_in_any_order_add_up_to_the_whole(shape: Vec3, block: Vec3, seed: int) -> None:
    whole_voxel, whole = by_voxel(Sinks.concatenate(collect(shape, shape, seed)))
    parts = collect(shape, block, seed)
    for some in (parts, parts[::-1]):
        voxel, sums = by_voxel(Sinks.concatenate(some))
        assert np.array_equal(voxel, whole_voxel)
        assert_equal(sums, whole)


def test_control_a_part_left_out_or_counted_twice_shows() -> None:
    parts = collect((6, 6, 6), (3, 6, 6), 1)
    _, whole = by_voxel(Sinks.concatenate(parts))
    for wrong in (parts[:1], [*parts, parts[0]]):
        _, sums = by_voxel(Sinks.concatenate(wrong))
        assert sums.count.sum() != whole.count.sum()


def test_sinks_within_a_box_are_those_whose_voxel_lies_there() -> None:
    (sinks,) = collect((8, 8, 8), (8, 8, 8), 3)
    box = Box((2, 0, 3), (5, 8, 4))
    inside = sinks.within(box)
    wanted = [v for v in sinks.voxel.tolist() if 2 <= v[0] < 5 and v[2] == 3]
    assert inside.voxel.tolist() == wanted
    assert 0 < len(inside.sums) == len(wanted) < len(sinks.voxel)


def test_columns_survive_being_stored_by_name() -> None:
    (sinks,) = collect((4, 5, 6), (4, 5, 6), 2)
    assert_equal(Sums.from_arrays({"other": np.zeros(1, np.int64), **sinks.sums.arrays()}), sinks.sums)


@pytest.mark.parametrize("parts", [[], [Sinks(np.empty((0, 3), np.int32), Sums.empty(0))]])
def test_no_voxels_give_no_sinks(parts: list[Sinks]) -> None:
    nothing = Sinks.concatenate(parts)
    assert nothing.voxel.shape == (0, 3)
    assert len(nothing.sums) == 0
    offsets = np.full((3, 2, 3, 4), UNASSIGNED, np.int8)
    core = Box.of_shape((2, 3, 4))
    zeros = np.zeros(core.shape, np.int8)
    found = collect_sinks(offsets, core, core.shape, foreground=zeros, reach=1)
    assert len(found.voxel) == len(found.sums) == 0


def test_a_sink_counts_the_image_voxels_that_take_the_labels_of_its_voxels() -> None:
    shape: Vec3 = (5, 6, 7)
    offsets, foreground = scene(shape, 8)
    takers = np.random.default_rng(0).integers(0, 9, shape).astype(np.int32)
    whole = Box.of_shape(shape)
    rest = {"foreground": foreground, "reach": REACH}
    sums = collect_sinks(offsets, whole, shape, takers=takers, **rest).sums  # type: ignore[arg-type]
    assigned = offsets[0] != UNASSIGNED
    assert sums.image_vox.sum() == takers[assigned].sum()
    default = collect_sinks(offsets, whole, shape, **rest).sums  # type: ignore[arg-type]
    assert np.array_equal(default.image_vox, default.count)
    assert sums.count.sum() == assigned.sum()


def test_a_sink_outside_its_block_keeps_its_place_in_the_volume() -> None:
    core, shape = Box((4, 4, 4), (5, 5, 6)), (9, 9, 9)
    offsets = np.array([[-4, 4], [-4, 4], [-4, 3]], np.int8).reshape(3, 1, 1, 2)
    ones = np.ones(core.shape, np.int8)
    sinks = collect_sinks(offsets, core, shape, foreground=ones, reach=REACH)
    assert sinks.voxel.tolist() == [[0, 0, 0], [8, 8, 8]]
