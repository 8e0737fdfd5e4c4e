"""Closing and components against scikit-image and distance transforms on the whole volume."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from skimage.measure import label
from skimage.morphology import ball, closing

from bigcp3d.pure.boxes import BlockGrid, Box, Vec3
from bigcp3d.pure.group.closing import close_sinks
from bigcp3d.pure.group.cluster import Components, cluster_block
from bigcp3d.pure.group.seams import join_components, seam_pairs
from bigcp3d.pure.track.sinks import Sinks, Sums

quick = settings(deadline=None, max_examples=40)
sides = st.tuples(*[st.integers(1, 9)] * 3)
blocks = st.tuples(*[st.integers(1, 10)] * 3)
seeds = st.integers(0, 2**32 - 1)


def sparse(shape: Vec3, seed: int, density: float) -> NDArray[np.bool_]:
    mask = np.random.default_rng(seed).random(shape) < density
    mask[tuple(s // 2 for s in shape)] = True
    return mask


def closed_by_skimage(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Closing on an infinite grid that is zero outside the volume: pad so far that no border is seen."""
    padded = np.pad(mask, 2 * radius + 1).astype(np.uint8)
    cut = (slice(2 * radius + 1, -2 * radius - 1),) * 3
    return closing(padded, ball(radius))[cut].astype(bool)


def closed_by_distance(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    padded = np.pad(mask, 2 * radius + 1)
    dilated = distance_transform_edt(~padded) <= radius + 1e-6
    cut = (slice(2 * radius + 1, -2 * radius - 1),) * 3
    return (distance_transform_edt(dilated) > radius + 1e-6)[cut]


def voxels_of(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    return np.argwhere(mask).astype(np.int32)


def unit_sinks(mask: NDArray[np.bool_]) -> Sinks:
    """Sinks of one voxel each: their own."""
    voxel = voxels_of(mask)
    sums = Sums.empty(len(voxel))
    at = voxel.astype(np.int64)
    first = np.ravel_multi_index(tuple(at.T), mask.shape).astype(np.int64)
    columns = {**sums.arrays(), "count": np.ones(len(at), np.int64), "first": first, "coordinates": at}
    return Sinks(voxel, Sums.from_arrays({**columns, "low": at, "high": at + 1}))


@quick
@given(sides, seeds, st.integers(0, 3), st.sampled_from([0.01, 0.1, 0.4]))
def test_the_closing_is_that_of_scikit_image_and_of_distances(
    shape: Vec3, seed: int, radius: int, density: float
) -> None:
    mask = sparse(shape, seed, density)
    closed = close_sinks(voxels_of(mask), Box.of_shape(shape), radius)
    assert closed.dtype == np.uint8
    assert np.array_equal(closed, closed_by_skimage(mask, radius))
    assert np.array_equal(closed, closed_by_distance(mask, radius))


@pytest.mark.parametrize("radius", [4, 5, 7])
def test_the_closing_with_a_large_ball_is_that_of_distances(radius: int) -> None:
    mask = sparse((24, 30, 28), radius, 0.02)
    closed = close_sinks(voxels_of(mask), Box.of_shape((24, 30, 28)), radius)
    assert np.array_equal(closed, closed_by_distance(mask, radius))
    assert mask.sum() * 3 < closed.sum()
    assert (closed[mask] == 1).all()


def test_control_a_closing_cut_off_at_the_volume_s_border_is_another() -> None:
    mask = sparse((8, 8, 8), 3, 0.05)
    radius = 3
    cut_off = distance_transform_edt(np.pad(distance_transform_edt(~mask) <= radius, 1))[1:-1, 1:-1, 1:-1] > radius
    closed = close_sinks(voxels_of(mask), Box.of_shape((8, 8, 8)), radius).astype(bool)
    assert not np.array_equal(cut_off, closed)
    assert not cut_off[mask].all()


@quick
@given(sides, blocks, seeds, st.integers(0, 3))
def test_a_block_closes_like_the_volume_from_sinks_within_twice_the_radius(
    shape: Vec3, block: Vec3, seed: int, radius: int
) -> None:
    mask = sparse(shape, seed, 0.1)
    whole = close_sinks(voxels_of(mask), Box.of_shape(shape), radius)
    for core in map(BlockGrid(shape, block).core, BlockGrid(shape, block)):
        reading = core.grow(2 * radius).clip(shape)
        near = voxels_of(mask[reading.slices()]) + np.array(reading.start, np.int32)
        for given_voxels in (near, voxels_of(mask)):
            assert np.array_equal(close_sinks(given_voxels, core, radius), whole[core.slices()])


@pytest.mark.parametrize("radius", [1, 2, 3, 5])
def test_control_sinks_within_one_voxel_less_are_not_enough(radius: int) -> None:
    """The voxel at the origin is closed only thanks to a sink 2 * radius away."""
    axis = np.arange(-2 * radius, 2 * radius + 1)
    around = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3).astype(np.int32)
    tip = np.array([0, 0, radius])
    sinks = around[((around - tip) ** 2).sum(axis=1) > radius**2]
    sinks = np.concatenate([sinks, 2 * tip[None].astype(np.int32)])
    core = Box((0, 0, 0), (1, 1, 1))
    assert close_sinks(sinks, core, radius).item() == 1
    short = core.grow(2 * radius - 1)
    near = sinks[((sinks >= short.start) & (sinks < short.stop)).all(axis=1)]
    assert close_sinks(near, core, radius).item() == 0


def same_partition(a: NDArray[np.integer], b: NDArray[np.integer]) -> bool:
    pairs = np.unique(np.stack([a, b], axis=1), axis=0)
    return len(pairs) == len(np.unique(a)) == len(np.unique(b))


def clustered(mask: NDArray[np.bool_], block: Vec3, radius: int) -> tuple[list[Components], NDArray[np.int64], Sums]:
    """Components of all blocks; an array of the volume with the object of each sink, -1 elsewhere; objects' sums."""
    shape: Vec3 = mask.shape  # type: ignore[assignment]
    grid = BlockGrid(shape, block)
    parts = [cluster_block(unit_sinks(mask).within(c.grow(2 * radius)), c, radius=radius) for c in map(grid.core, grid)]
    base = np.cumsum([0, *map(len, parts)])
    face = np.concatenate([p.face_component - 1 + b for p, b in zip(parts, base, strict=False)]).astype(np.int64)
    pairs = seam_pairs(np.concatenate([p.face_voxel for p in parts]).astype(np.int64), face, shape)
    objects, n = join_components(pairs, int(base[-1]))
    of_sink = np.full(shape, -1, np.int64)
    for part, b in zip(parts, base, strict=False):
        of_sink[tuple(part.sink_voxel.T)] = objects[part.sink_component - 1 + b]
    return parts, of_sink, Sums.concatenate([p.sums for p in parts]).group(objects, n)


@quick
@given(sides, blocks, seeds, st.integers(0, 3), st.sampled_from([0.03, 0.1, 0.3]))
def test_seamsed_components_are_those_of_scikit_image_on_the_whole_closed_mask(
    shape: Vec3, block: Vec3, seed: int, radius: int, density: float
) -> None:
    mask = sparse(shape, seed, density)
    truth = label(closed_by_skimage(mask, radius), connectivity=3)
    _, of_sink, sums = clustered(mask, block, radius)
    assert (of_sink[mask] >= 0).all()
    assert same_partition(of_sink[mask], truth[mask])
    counts = np.bincount(of_sink[mask], minlength=len(sums))
    assert np.array_equal(sums.count, counts)


def test_control_without_stitching_a_seam_splits_components() -> None:
    mask = sparse((8, 8, 16), 2, 0.1)
    truth = label(closed_by_skimage(mask, 2), connectivity=3)
    parts, of_sink, _ = clustered(mask, (8, 8, 5), 2)
    assert same_partition(of_sink[mask], truth[mask])
    assert sum(map(len, parts)) > truth.max()


@quick
@given(sides, seeds)
def test_face_voxels_are_all_closed_voxels_on_the_border_planes(shape: Vec3, seed: int) -> None:
    mask = sparse(shape, seed, 0.3)
    core = Box((2, 5, 3), tuple(s + o for s, o in zip(shape, (2, 5, 3), strict=True)))  # type: ignore[arg-type]
    sinks = unit_sinks(mask)
    moved = Sinks(sinks.voxel + np.array(core.start, np.int32), sinks.sums)
    got = cluster_block(moved, core, radius=1)
    closed = closed_by_skimage(mask, 1)
    faces = [v for v in np.argwhere(closed).tolist() if any(c in (0, s - 1) for c, s in zip(v, shape, strict=True))]
    found = got.face_voxel - np.array(core.start)
    assert sorted(found.tolist()) == faces
    truth = label(closed, connectivity=3)
    assert not faces or same_partition(got.face_component, truth[tuple(found.T)])


@pytest.mark.parametrize("shape", [(2, 3, 4), (3, 2, 4), (4, 3, 2), (2, 2, 2), (1, 2, 3), (1, 1, 1)])
def test_face_voxels_of_thin_blocks_are_listed_once(shape: Vec3) -> None:
    mask = np.ones(shape, bool)
    found = cluster_block(unit_sinks(mask), Box.of_shape(shape), radius=0).face_voxel.tolist()
    inner = np.zeros(shape, bool)
    inner[1:-1, 1:-1, 1:-1] = True
    assert sorted(found) == np.argwhere(~inner).tolist()


def test_a_block_without_sinks_of_its_own_still_has_its_closed_voxels() -> None:
    """A ring of sinks around a block can close it: its voxels join the ring's parts in other blocks."""
    mask = np.zeros((5, 5, 5), bool)
    mask[1:4, 1:4, 1:4] = True
    mask[2, 2, 2] = False
    core = Box((2, 2, 2), (3, 3, 3))
    got = cluster_block(unit_sinks(mask), core, radius=1)
    assert len(got) == 1
    assert got.sums.count.tolist() == [0]
    assert got.face_voxel.tolist() == [[2, 2, 2]]
    assert got.sink_voxel.shape == (0, 3)


def test_a_block_far_from_all_sinks_is_empty() -> None:
    core = Box((0, 0, 0), (4, 4, 4))
    nothing = Sinks(np.empty((0, 3), np.int32), Sums.empty(0))
    far = unit_sinks(sparse((9, 9, 9), 0, 0.0))
    far = Sinks(far.voxel + np.int32(20), far.sums)
    for sinks in (nothing, far):
        got = cluster_block(sinks, core, radius=2)
        assert len(got) == len(got.sink_voxel) == len(got.face_voxel) == 0


def test_parts_of_one_sink_from_several_blocks_count_together_once() -> None:
    mask = sparse((6, 6, 6), 4, 0.05)
    sinks = unit_sinks(mask)
    core = Box.of_shape((6, 6, 6))
    once = cluster_block(sinks, core, radius=2)
    twice = cluster_block(Sinks.concatenate([sinks, sinks]), core, radius=2)
    assert np.array_equal(once.sink_voxel, twice.sink_voxel)
    assert np.array_equal(once.sink_component, twice.sink_component)
    assert np.array_equal(2 * once.sums.count, twice.sums.count)


def test_columns_survive_being_stored_by_name() -> None:
    mask = sparse((6, 6, 6), 4, 0.1)
    got = cluster_block(unit_sinks(mask), Box.of_shape((6, 6, 6)), radius=1)
    again = Components.from_arrays({name: a.astype(np.int64) for name, a in got.arrays().items()})
    for name, column in got.arrays().items():
        assert np.array_equal(column, again.arrays()[name])
        assert column.dtype == again.arrays()[name].dtype
