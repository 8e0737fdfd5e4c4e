"""Labels where image voxels are not working voxels: each follows the interpolated flow for three steps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigcp3d.pure.boxes import BlockGrid, Box
from bigcp3d.pure.grid import nearest_working, spread_labels, working_shape
from bigcp3d.pure.label.deciding_box import AHEAD, deciding_box, halo, taking_box
from bigcp3d.pure.label.look_ahead import count_takers, label_image_box

FACTORS = [0.25, 1 / 3, 0.5, 0.77, 1.0, 1.37, 2.0, 3.1]


def label_whole(maps, labels, shape, factors, foreground=64):
    """All labels of an image of ``shape``."""
    whole = Box.of_shape(labels.shape)
    return label_image_box(maps, labels, whole, Box.of_shape(shape), factors, labels.shape, foreground=foreground)


def weights(n, factor, size):
    """Share of each working voxel in each image voxel of an axis, in 1/256."""
    width, share = max(1.0, 1 / factor), np.zeros((n, size), np.int64)
    for j in range(n):
        centre = (j + 0.5) / factor - 0.5
        near = range(math.floor(centre) + 1 - math.ceil(width), math.floor(centre) + 1 + math.ceil(width))
        each = np.array([max(0.0, 1 - abs(i - centre) / width) for i in near])
        up_to = np.rint(np.cumsum(each / each.sum()) * 256)
        np.add.at(share[j], np.clip(near, 0, size - 1), np.diff(up_to, prepend=0).astype(np.int64))
    return share


def naive(maps, labels, shape, factors, foreground):
    """The rule, with one matrix for each axis."""
    values = maps.astype(np.int64)
    for axis, (n, f, size) in enumerate(zip(shape, factors, labels.shape, strict=True), 1):
        values = np.moveaxis(np.tensordot(weights(n, f, size), values, (1, axis)), 0, axis)
    out = np.zeros(shape, labels.dtype)
    for at in np.ndindex(shape):
        if values[(0, *at)] >= foreground * 256**3:
            there = []
            for axis in range(3):
                centre = np.rint(((at[axis] + 0.5) / factors[axis] - 0.5) * 256)
                ahead = math.floor(values[(1 + axis, *at)] // 4 * AHEAD / 2**21)
                there.append(int(np.clip((centre + ahead + 128) // 256, 0, labels.shape[axis] - 1)))
            out[at] = labels[tuple(there)]
    return out


def random_maps(shape, seed):
    rng = np.random.default_rng(seed)
    flow = rng.choice(np.arange(-127, 128).astype(np.int8), (3, *shape))
    return np.concatenate([rng.integers(0, 128, (1, *shape)).astype(np.int8), flow])


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(*(st.integers(1, 9) for _ in range(3))),
    st.tuples(*(st.sampled_from(FACTORS) for _ in range(3))),
    st.tuples(*(st.integers(1, 4) for _ in range(3))),
    st.tuples(*(st.integers(0, 3) for _ in range(3))),
    st.integers(1, 127),
    st.integers(0, 2**32 - 1),
)
def test_labels_and_counts_follow_the_rule_and_no_block(shape, factors, block, less, foreground, seed):
    """Also if the image ends beyond the working grid, as where a coarse level is read that was rounded down."""
    working = tuple(max(1, a - b) for a, b in zip(working_shape(shape, factors), less, strict=True))
    maps = random_maps(working, seed)
    labels = np.arange(1, math.prod(working) + 1, dtype=np.uint32).reshape(working)
    expected = naive(maps, labels, shape, factors, foreground)
    assert np.array_equal(label_whole(maps, labels, shape, factors, foreground), expected)
    if factors == (1.0, 1.0, 1.0):
        return
    for index in (grid := BlockGrid(shape, block)):
        box = grid.core(index)
        region = deciding_box(box, factors, working)
        seen = maps[(slice(None), *region.slices())], labels[region.slices()]
        part = label_image_box(*seen, region, box, factors, working, foreground=foreground)
        assert np.array_equal(part, expected[box.slices()])
    counts = np.bincount(expected.ravel(), minlength=labels.max() + 1)[1:].reshape(working)
    for index in (grid := BlockGrid(working, block)):
        core = grid.core(index)
        region, box = core.grow(halo(factors)).clip(working), taking_box(core, factors, working).clip(shape)
        found = count_takers(
            maps[(slice(None), *region.slices())], region, core, box, factors, working, foreground=foreground
        )
        assert np.array_equal(found, counts[core.slices()])


def test_strong_flow_everywhere_overflows_nothing():
    maps, labels = np.full((4, 9, 9, 9), 127, np.int8), np.arange(1, 730, dtype=np.uint32).reshape(9, 9, 9)
    found = label_whole(maps, labels, (18, 18, 18), (2.0, 2.0, 2.0), 127)
    assert np.array_equal(found[::2, ::2, ::2], labels[np.ix_(*[np.arange(9).clip(max=5) + 3] * 3)])
    maps[1:] = -128
    assert np.array_equal(found[::2, ::2, ::2][3:, 3:, 3:], found[6::2, 6::2, 6::2])
    assert label_whole(maps, labels, (18, 18, 18), (2.0, 2.0, 2.0), 127)[-1, -1, -1] == labels[5, 5, 5]


def test_where_all_is_background_there_is_no_label():
    maps, labels = np.full((4, 5, 5, 5), 63, np.int8), np.ones((5, 5, 5), np.uint32)
    assert not label_whole(maps, labels, (10, 10, 10), (2.0, 2.0, 2.0)).any()


def test_a_region_of_an_image_that_is_not_resampled_is_decided_by_itself():
    box = Box((3, 0, 8), (9, 5, 14))
    assert deciding_box(box, (1.0, 1.0, 1.0), (20, 20, 20)) == box
    assert halo((1.0, 1.0, 1.0)) == 0


def test_what_decides_nothing_is_nothing_along_its_axis_alone():
    assert deciding_box(Box((3, 0, 8), (9, 5, 4)), (0.5, 1.0, 0.5), (20, 20, 20)) == Box((4, 0, 0), (20, 8, 0))
    assert deciding_box(Box((3, 0, 8), (9, 5, 4)), (0.5, 1.0, 0.5), (20, 20, 20)).empty


def test_a_box_that_indices_of_32_bits_cannot_count_is_refused():
    labels = np.broadcast_to(np.uint32(0), (1300, 1300, 1300))
    with pytest.raises(ValueError, match="smaller blocks"):
        label_image_box(None, labels[:0], Box.of_shape((1300,) * 3), Box.of_shape((1, 1, 1)), (2.0,) * 3, (1300,) * 3,
                        foreground=64)  # fmt: skip


@pytest.mark.parametrize("factor", [0.25, 0.5, 0.8, 1.37, 2.0, 3.0])
def test_two_balls_keep_their_place_and_shape_better_than_with_the_nearest_voxel(factor):
    """Two balls that touch, with the maps of a perfect network."""
    side, radius = 36, 8.0
    centres = np.array([[18.0, 18.0, 10.0], [18.0, 18.0, 26.0]])

    def distances(n, size):
        at = (np.indices((n,) * 3) + 0.5) * size
        return np.stack([np.linalg.norm(at - c[:, None, None, None], axis=0) for c in centres]), at

    working, image = (side,) * 3, (round(side * factor),) * 3
    far, at = distances(side, 1.0)
    near = far.argmin(axis=0)
    labels = np.where(far.min(axis=0) < radius, near + 1, 0).astype(np.uint32)
    foreground = np.clip(127 * (radius + 0.5 - far.min(axis=0)), 0, 127)
    flow = np.tanh((np.moveaxis(centres[near], -1, 0) - at) / 2) * 127
    maps = np.rint(np.concatenate([foreground[None], flow])).astype(np.int8)
    far, _ = distances(image[0], 1 / factor)
    truth = np.where(far.min(axis=0) < radius, far.argmin(axis=0) + 1, 0)
    factors = (factor,) * 3
    whole, box = Box.of_shape(working), Box.of_shape(image)
    found = label_whole(maps, labels, image, factors)
    nearest = spread_labels(labels, whole, box, factors, working)
    assert nearest_working(0, image[0], factor, side)[-1] < side
    wrong = [np.count_nonzero(each != truth) / np.count_nonzero(truth) for each in (found, nearest)]
    assert wrong[0] < 0.03
    assert wrong[0] < 0.7 * wrong[1], "the control"
