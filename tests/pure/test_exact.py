"""The promise: from maps to labels, any blocks give the labels of the whole volume, element by element.

The passes track, cluster, resolve and label are chained in memory, each block seeing no more than its own halo. The
whole volume's labels come from one block, and in one test from a reference that shares no code with the passes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.measure import label
from skimage.morphology import ball, closing

from bigcp3d.pure.boxes import BlockGrid, Box, Vec3, vec3
from bigcp3d.pure.group import seams
from bigcp3d.pure.group.cluster import cluster_block
from bigcp3d.pure.group.filters import Filters
from bigcp3d.pure.group.objects import dense_ids, keep_objects
from bigcp3d.pure.group.seams import join_components, seam_pairs
from bigcp3d.pure.label.labelling import label_box
from bigcp3d.pure.track.sinks import Sinks, Sums, collect_sinks
from bigcp3d.pure.track.tracking import track
from bigcp3d.pure.track.tracking_numba import PAUSE, STILL

Maps = NDArray[np.int8]
quick = settings(deadline=None, max_examples=30)
sides = st.tuples(*[st.integers(1, 14)] * 3)
blocks = st.tuples(*[st.integers(1, 16)] * 3)
seeds = st.integers(0, 2**32 - 1)
EVERYTHING = Filters()


@dataclass(frozen=True)
class Chain:
    """The passes with their parameters; ``short`` takes that many voxels off the halo of the clustering."""

    steps: int = 60
    reach: int = 6
    radius: int = 2
    filters: Filters = EVERYTHING
    short: int = 0

    def run(self, maps: Maps, block: Vec3) -> NDArray[np.uint32]:
        """Labels of the whole volume, found block by block."""
        shape = vec3(maps.shape[1:])
        grid = BlockGrid(shape, block)
        offsets, sinks, parts = {}, {}, {}
        for index in grid:
            core = grid.core(index)
            region = core.grow(self.reach).clip(shape)
            seen = maps[(slice(None), *region.slices())].copy()
            found = track(seen, region, core, shape, foreground=64, steps=self.steps, reach=self.reach)
            own = maps[(0, *core.slices())]
            offsets[index] = found
            sinks[index] = collect_sinks(found, core, shape, foreground=own, reach=self.reach)
        for index in grid:
            near = grid.core(index).grow(2 * self.radius - self.short)
            around = grid.touching(near.grow(self.reach))
            some = Sinks.concatenate([sinks[i] for i in around]).within(near)
            parts[index] = cluster_block(some, grid.core(index), radius=self.radius)
        base = dict(zip(parts, np.cumsum([0, *map(len, parts.values())]), strict=False))
        number = sum(map(len, parts.values()))
        face = [p.face_component.astype(np.int64) - 1 + base[i] for i, p in parts.items()]
        voxel = np.concatenate([p.face_voxel for p in parts.values()]).astype(np.int64)
        objects, m = join_components(seam_pairs(voxel, np.concatenate(face), shape), number)
        sums = Sums.concatenate([p.sums for p in parts.values()]).group(objects, m)
        ids = dense_ids(sums, keep_objects(sums, self.filters)[0])
        labels = np.full(shape, 2**32 - 1, np.uint32)
        for index in grid:
            core = grid.core(index)
            around = grid.touching(core.grow(self.reach))
            labels[core.slices()] = label_box(
                offsets[index],
                core,
                shape,
                sink_voxel=np.concatenate([parts[i].sink_voxel for i in around]),
                sink_id=np.concatenate([ids[objects[parts[i].sink_component - 1 + base[i]]] for i in around]),
                reach=self.reach,
            )
        return labels

    def whole(self, maps: Maps) -> NDArray[np.uint32]:
        return self.run(maps, vec3(maps.shape[1:]))


def smooth(shape: Vec3, seed: int) -> Maps:
    """Cells around random centres, flow of the tanh form with noise, some voxels background."""
    rng = np.random.default_rng(seed)
    at = np.indices(shape).reshape(3, -1).T
    centres = rng.uniform(-0.5, np.asarray(shape) - 0.5, (max(1, int(np.prod(shape)) // 120), 3))
    distance = np.linalg.norm(at[:, None] - centres[None], axis=2)
    nearest = distance.argmin(axis=1)
    flow = np.tanh((centres[nearest] - at) / 3) + rng.normal(0, 0.25, at.shape)
    maps = np.empty((4, *shape), np.int8)
    maps[0] = np.where(distance.min(axis=1) < rng.uniform(3, 6), 127, 0).reshape(shape)
    maps[1:] = np.rint(127 * np.clip(flow, -1, 1)).T.reshape(3, *shape)
    return maps


def noise(shape: Vec3, seed: int) -> Maps:
    """Any int8 at all, -128 included: nothing a network would give."""
    return np.random.default_rng(seed).integers(-128, 128, (4, *shape)).astype(np.int8)


def full(shape: Vec3, seed: int) -> Maps:
    """No background anywhere."""
    maps = smooth(shape, seed)
    maps[0] = 127
    return maps


def empty(shape: Vec3, seed: int) -> Maps:
    """No foreground anywhere."""
    maps = noise(shape, seed)
    maps[0] = 0
    return maps


def still(shape: Vec3, seed: int) -> Maps:
    """Random foreground, no flow: every voxel is its own sink, and closing does all the work."""
    maps = noise(shape, seed)
    maps[0], maps[1:] = np.where(maps[0] > 0, 127, 0), 0
    return maps


kinds = st.sampled_from([smooth, noise, full, empty, still])
Kind = Callable[[Vec3, int], Maps]


@settings(quick, max_examples=25)
@given(kinds, sides, blocks, seeds, st.integers(1, 7), st.integers(0, 3))
@example(smooth, (14, 14, 14), (1, 14, 14), 1, 6, 2)
@example(smooth, (14, 14, 14), (3, 5, 2), 2, 6, 2)
@example(full, (13, 9, 14), (20, 1, 7), 3, 7, 3)
@example(noise, (14, 12, 1), (5, 1, 1), 4, 3, 1)
@example(noise, (1, 1, 14), (1, 1, 3), 5, 7, 2)
@example(noise, (1, 1, 1), (9, 9, 9), 6, 1, 0)
@example(empty, (9, 9, 9), (4, 4, 4), 7, 4, 1)
def test_labels_of_any_blocks_are_those_of_the_whole_volume(
    kind: Kind, shape: Vec3, block: Vec3, seed: int, reach: int, radius: int
) -> None:
    maps, chain = kind(shape, seed), Chain(reach=reach, radius=radius)
    assert np.array_equal(chain.run(maps, block), chain.whole(maps))


@quick
@given(kinds, sides, blocks, seeds)
def test_filters_act_on_whole_cells_in_any_blocks(kind: Kind, shape: Vec3, block: Vec3, seed: int) -> None:
    chain = Chain(filters=Filters(min_volume_vox=6, max_volume_vox=150, min_foreground=0.6, max_elongation=2.5))
    maps = kind(shape, seed)
    assert np.array_equal(chain.run(maps, block), chain.whole(maps))


@pytest.mark.parametrize(
    "block",
    [(64, 64, 64), (12, 20, 18), (24, 3, 36), (1, 40, 36)]
    + [pytest.param(block, marks=pytest.mark.slow) for block in [(24, 40, 36), (7, 11, 13), (5, 5, 5)]],
)
def test_a_tissue_is_labelled_alike_in_seven_ways(block: Vec3) -> None:
    maps = smooth((24, 40, 36), 8)
    chain = Chain(reach=12, radius=2, filters=Filters(min_volume_vox=10))
    whole = chain.whole(maps)
    assert whole.max() > 50
    assert np.array_equal(chain.run(maps, block), whole)


def reference(maps: Maps, chain: Chain) -> NDArray[np.int64]:
    """The method on the whole volume: positions of all voxels at once, scikit-image, ids by first sight."""
    shape = maps.shape[1:]
    start = np.argwhere(maps[0] >= 64)
    at, inside = 127 * start, np.ones(len(start), bool)
    ends = start.copy()
    path = [at]
    moving = np.ones(len(start), bool)
    for t in range(1, chain.steps + 1):
        near = (at + 63) // 127
        step = np.maximum(maps[1:][:, near[:, 0], near[:, 1], near[:, 2]].T, -127)
        at = np.clip(at + step, 0, 127 * (np.asarray(shape) - 1))
        path.append(at)
        left = (np.abs((at + 63) // 127 - start) > chain.reach).any(axis=1)
        rest = moving & ~left & (t % PAUSE == 0) & (np.abs(at - path[max(0, t - PAUSE)]) <= STILL).all(axis=1)
        ends[moving] = ((at + 63) // 127)[moving]
        for i in np.flatnonzero(rest):
            ends[i] = (np.array(min(p[i].tolist() for p in path[t - PAUSE :])) + 63) // 127
        inside &= ~(moving & left)
        moving &= ~(left | rest)
    start, ends = start[inside], ends[inside]
    mask = np.zeros(shape, np.uint8)
    mask[tuple(ends.T)] = 1
    pad = 2 * chain.radius + 1
    closed = closing(np.pad(mask, pad), ball(chain.radius))[(slice(pad, -pad),) * 3]
    labels = np.zeros(shape, np.int64)
    labels[tuple(start.T)] = label(closed, connectivity=3)[tuple(ends.T)]
    order = {0: 0}
    for value in labels.ravel().tolist():
        order.setdefault(value, len(order))
    return np.vectorize(order.get)(labels)


@quick
@given(kinds, sides, blocks, seeds, st.integers(1, 7), st.integers(0, 3))
def test_labels_are_those_of_a_reference_that_shares_no_code(
    kind: Kind, shape: Vec3, block: Vec3, seed: int, reach: int, radius: int
) -> None:
    maps, chain = kind(shape, seed), Chain(reach=reach, radius=radius)
    assert np.array_equal(chain.run(maps, block), reference(maps, chain))


def test_ids_are_dense_and_in_raster_order_of_first_voxels() -> None:
    labels = Chain().run(smooth((14, 14, 14), 3), (5, 6, 7))
    ids, first = np.unique(labels, return_index=True)
    assert ids.tolist() == list(range(len(ids)))
    assert (np.diff(first[1:]) > 0).all()


def test_control_a_clustering_halo_one_voxel_too_small_changes_labels() -> None:
    """Sinks stand still here, so the closing alone joins them; about one such volume in fifty shows a short halo."""
    maps, chain = np.zeros((4, 9, 9, 14), np.int8), Chain(radius=1)
    halves: Vec3 = (9, 9, 7)
    different = {0: 0, 1: 0}
    for seed in (64, 74, 108):
        maps[0] = np.where(np.random.default_rng(seed).random((9, 9, 14)) < 0.1, 127, 0)
        for short in different:
            different[short] += not np.array_equal(replace(chain, short=short).run(maps, halves), chain.whole(maps))
    assert different == {0: 0, 1: 3}


def test_control_stitching_without_diagonal_neighbours_changes_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = np.zeros((4, 2, 2, 2), np.int8)
    maps[0, 0, 0, 0] = maps[0, 1, 1, 1] = 127
    chain = Chain(radius=0)
    whole = chain.whole(maps)
    assert whole.max() == 1
    assert np.array_equal(chain.run(maps, (1, 1, 1)), whole)
    monkeypatch.setattr(seams, "HALF_NEIGHBOURS", ((0, 0, 1), (0, 1, 0), (1, 0, 0)))
    assert chain.run(maps, (1, 1, 1)).max() == 2


def test_control_blocks_that_see_nothing_of_their_neighbours_give_other_labels() -> None:
    maps, chain = smooth((14, 14, 14), 5), Chain()
    left, right = (chain.whole(maps[:, :, :, cut].copy()) for cut in (slice(0, 7), slice(7, 14)))
    alone = np.concatenate([left, np.where(right > 0, right + left.max(), 0)], axis=2)
    whole = chain.whole(maps)
    assert not np.array_equal(alone > 0, whole > 0) or alone.max() != whole.max()


def test_a_cell_on_a_seam_a_corner_and_the_border_is_one_cell() -> None:
    shape: Vec3 = (12, 12, 12)
    for centre in [(6, 6, 6), (0, 0, 0), (11, 6, 0), (6, 5, 6), (11, 11, 11)]:
        way = np.asarray(centre)[:, None, None, None] - np.indices(shape)
        maps = np.zeros((4, *shape), np.int8)
        maps[0] = np.where((way**2).sum(axis=0) <= 25, 127, 0)
        maps[1:] = np.rint(127 * np.tanh(way / 3))
        labels = Chain(reach=8).run(maps, (6, 6, 6))
        assert np.array_equal(labels, (maps[0] > 0).astype(np.uint32))


def test_box_of_the_volume_is_one_block() -> None:
    assert [BlockGrid((3, 4, 5), (9, 9, 9)).core((0, 0, 0))] == [Box.of_shape((3, 4, 5))]
