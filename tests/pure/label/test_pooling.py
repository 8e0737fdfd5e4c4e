"""Pooling takes ids that are there, in the same way for blocks and the whole."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigcp3d.pure.boxes import BlockGrid, Box
from bigcp3d.pure.label.pooling import pool_labels
from bigcp3d.pure.label.pooling_box import pool_read_box


def slow_pool(finer, shape, factors):
    """One coarse voxel at a time, from the whole level below."""
    coarser = np.zeros(shape, finer.dtype)
    for index in itertools.product(*map(range, shape)):
        window = finer
        for axis, (i, f, size) in enumerate(zip(index, factors, finer.shape, strict=True)):
            start = min(math.floor(round(i * f, 6)), size - 1)
            stop = min(max(start + 1, math.floor(round((i + 1) * f, 6))), size)
            window = np.take(window, range(start, stop), axis=axis)
        ids, counts = np.unique(window[window > 0], return_counts=True)
        if 2 * counts.sum() >= window.size:
            coarser[index] = ids[np.argmax(counts)]  # the first of the largest: the smallest id
    return coarser


def pool(finer, shape, factors, block=None):
    """Pool block by block, each from what it says that it needs."""
    coarser = np.zeros(shape, finer.dtype)
    grid = BlockGrid(shape, block or shape)
    for core in map(grid.core, grid):
        below = pool_read_box(core, factors, finer.shape)
        assert not below.empty
        assert below.clip(finer.shape) == below
        coarser[core.slices()] = pool_labels(finer[below.slices()].copy(), below, core, factors)
    return coarser


@st.composite
def levels(draw):
    fine = tuple(draw(st.integers(1, 13)) for _ in range(3))
    coarse = tuple(draw(st.integers(1, side + 2)) for side in fine)
    whole = draw(st.booleans())
    factors = tuple(float(max(1, n // m)) if whole else n / m for n, m in zip(fine, coarse, strict=True))
    block = tuple(draw(st.integers(1, side)) for side in coarse)
    seed, ids = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 5))
    rng = np.random.default_rng(seed)
    finer = rng.integers(1, ids + 1, fine).astype(draw(st.sampled_from(["uint32", "uint64"])))
    finer[rng.random(fine) < draw(st.sampled_from([0.0, 0.5, 0.9]))] = 0
    return finer * (2**30), coarse, factors, block


@settings(max_examples=60, deadline=None)
@given(levels())
def test_pooling_is_that_of_the_slow_reference_and_blocks_are_those_of_the_whole(case):
    finer, shape, factors, block = case
    whole = pool(finer, shape, factors)
    np.testing.assert_array_equal(whole, slow_pool(finer, shape, factors))
    np.testing.assert_array_equal(pool(finer, shape, factors, block), whole)
    assert whole.dtype == finer.dtype
    assert set(np.unique(whole)) <= set(np.unique(finer)) | {0}


def test_the_most_frequent_id_wins_and_the_smaller_in_a_tie():
    finer = np.array([[[5, 5, 9], [9, 9, 3]]], "uint32")
    assert pool(finer, (1, 1, 1), (1, 2, 3)) == 9
    finer[0, 1, 1] = 5
    assert pool(finer, (1, 1, 1), (1, 2, 3)) == 5
    finer[0, 1] = (9, 9, 5)
    assert pool(finer, (1, 1, 1), (1, 2, 3)) == 5


@pytest.mark.parametrize(("labelled", "expected"), [(3, 0), (4, 7), (8, 7)])
def test_half_a_window_must_be_labelled(labelled, expected):
    finer = np.zeros(8, "uint32")
    finer[:labelled] = 7
    assert pool(finer.reshape(2, 2, 2), (1, 1, 1), (2, 2, 2)) == expected


def test_empty_space_between_ids_is_no_vote_against_each():
    finer = np.array([1, 2, 3, 4, 0, 0, 0, 0], "uint32").reshape(2, 2, 2)
    assert pool(finer, (1, 1, 1), (2, 2, 2)) == 1  # none has half, together they have


def test_a_factor_with_a_rounding_error_moves_no_window():
    finer = np.arange(1, 26, dtype="uint32").reshape(1, 1, 25)
    for factor in (25 / 12, np.nextafter(25 / 12, 0), 2.7083333333333335 / 1.3):
        windows = [pool_read_box(Box((0, 0, i), (1, 1, i + 1)), (1, 1, factor), finer.shape) for i in range(12)]
        assert [w.start[2] for w in windows] == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22]
        assert windows[-1].stop[2] == 25


def test_a_box_needs_its_own_windows_and_no_others():
    assert pool_read_box(Box((1, 0, 3), (2, 1, 5)), (2, 1, 2.5), (9, 9, 19)) == Box((2, 0, 7), (4, 1, 12))
    assert pool_read_box(Box((4, 8, 6), (5, 9, 8)), (2, 1, 2.5), (9, 9, 19)) == Box((8, 8, 15), (9, 9, 19))  # cut off


def test_odd_sides_leave_the_last_window_short_or_out():
    finer = np.arange(1, 6, dtype="uint32").reshape(1, 1, 5)
    np.testing.assert_array_equal(pool(finer, (1, 1, 2), (1, 1, 2)), [[[1, 3]]])
    np.testing.assert_array_equal(pool(finer, (1, 1, 3), (1, 1, 2)), [[[1, 3, 5]]])


def test_repeated_pooling_keeps_large_cells_and_drops_specks():
    finer = np.zeros((16, 16, 16), "uint32")
    finer[:, :, :8], finer[3, 3, 12] = 1, 2
    for _ in range(3):
        finer = pool(finer, tuple(s // 2 for s in finer.shape), (2, 2, 2))
        assert set(np.unique(finer)) == {0, 1}
        assert (finer > 0).mean() == 0.5


def test_labels_of_another_shape_than_their_box_are_refused():
    with pytest.raises(ValueError, match="for the box"):
        pool_labels(np.zeros((2, 2, 2), "uint32"), Box.of_shape((4, 4, 4)), Box.of_shape((2, 2, 2)), (2, 2, 2))
