"""What an update of a region takes, leaves and numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigcp3d.pure.replacement import plan_replacement
from bigcp3d.pure.score.overlaps import count_overlaps

REGION = slice(3, 17)


def plan(old, new, next_id=100):
    """Replacement of a row of voxels, of which `REGION` is the region."""
    old, new = (np.array(row, np.uint32)[None, None] for row in (old, new))
    outside = np.ones(old.shape[-1], bool)
    outside[REGION] = False
    ids = [np.unique(labels[..., outside]).astype(np.uint64) for labels in (old, new)]
    replacement = plan_replacement(count_overlaps(new[..., REGION], old[..., REGION]), *ids, next_id)
    merged = old.copy()
    merged[..., REGION] = replacement.apply(old[..., REGION], new[..., REGION])
    return replacement, merged[0, 0]


def row(*runs):
    """Voxels from (id, length) pairs."""
    return np.concatenate([np.full(n, i) for i, n in runs])


def test_a_cell_that_is_found_again_keeps_its_id():
    old = row((0, 4), (7, 5), (0, 11))
    replacement, merged = plan(old, row((0, 4), (1, 5), (0, 11)))
    assert (replacement.same, replacement.gone) == (1, 0)
    assert np.array_equal(merged, old)


def test_a_cell_that_changed_keeps_its_id_where_it_shares_more_than_half():
    _, merged = plan(row((0, 4), (7, 5), (0, 11)), row((0, 4), (1, 7), (0, 9)))
    assert np.array_equal(merged, row((0, 4), (7, 7), (0, 9)))
    _, merged = plan(row((0, 4), (7, 3), (0, 13)), row((0, 4), (1, 7), (0, 9)))
    assert np.array_equal(merged, row((0, 4), (100, 7), (0, 9)))


def test_a_split_cell_leaves_its_id_to_the_larger_half():
    replacement, merged = plan(row((0, 4), (7, 8), (0, 8)), row((0, 4), (2, 5), (1, 3), (0, 8)))
    assert np.array_equal(merged, row((0, 4), (7, 5), (100, 3), (0, 8)))
    assert replacement.gone == 0


def test_cells_that_cross_the_border_stay_and_are_not_replaced():
    old = row((5, 6), (7, 4), (0, 10))
    replacement, merged = plan(old, row((0, 2), (1, 3), (2, 5), (0, 10)))
    assert np.array_equal(merged[:6], old[:6]), "old cell 5 crosses the border"
    assert list(replacement.staying) == [5]
    assert np.array_equal(merged[6:10], [7] * 4)


def test_an_old_cell_claimed_by_a_new_one_that_is_not_taken_stays():
    old = row((0, 4), (7, 3), (0, 13))
    _, merged = plan(old, row((1, 8), (0, 12)))
    assert np.array_equal(merged, old)


def test_a_cell_that_is_not_found_again_goes():
    replacement, merged = plan(row((0, 4), (7, 5), (0, 11)), row((0, 20)))
    assert replacement.gone == 1
    assert not merged.any()


labellings = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 5)), min_size=8, max_size=12).map(
    lambda runs: np.resize(row(*runs), 20)
)


@given(labellings, labellings)
def test_nothing_changes_outside_and_a_second_time_changes_nothing(old, new):
    replacement, merged = plan(old, new)
    outside = np.r_[0 : REGION.start, REGION.stop : 20]
    assert np.array_equal(merged[outside], np.asarray(old)[outside])
    again = replacement.apply(merged[REGION].astype(np.uint32), np.asarray(new)[REGION].astype(np.uint32))
    assert np.array_equal(again, merged[REGION])
    for i in np.setdiff1d(np.unique(np.asarray(old)[outside]), [0]):
        assert np.array_equal(merged == i, np.asarray(old) == i), "cells that cross the border are untouched"
    assert len(np.unique(replacement.ids)) == len(replacement.ids)
    assert not np.isin(replacement.ids, replacement.staying).any()


def test_ids_may_reach_the_end_and_never_begin_again_at_0():
    old, new = row((0, 20)), row((0, 4), (1, 2), (2, 2), (0, 12))
    assert list(plan(old, new, 2**64 - 2)[0].ids) == [2**64 - 2, 2**64 - 1]
    for next_id in (2**64 - 1, 2**64):
        with pytest.raises(OverflowError):
            plan(old, new, next_id)
    assert plan(new, new, 2**64)[0].same == 2, "without new cells there is nothing to number"


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
def test_labels_keep_their_dtype(dtype):
    replacement, _ = plan(row((0, 4), (7, 5), (0, 11)), row((0, 4), (1, 5), (0, 11)))
    assert replacement.apply(np.array([7, 0], dtype), np.array([1, 1], np.uint32)).dtype == dtype
