"""What was painted is told as whole cells deleted, merged and added, and voxels that changed hands; nothing is lost."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bigcp3d.pure.label.painted import find_painted

CLOSED = np.zeros((3, 2), bool)


def labels(row):
    return np.array(row).reshape(1, 1, -1)


def test_each_kind_is_told():
    before = labels([1, 1, 2, 2, 3, 3, 4, 4, 0, 0, 0, 5])
    after = labels([0, 0, 3, 3, 3, 3, 4, 0, 9, 9, 8, 8])
    found = find_painted(before, after, CLOSED)
    assert found.deleted == (1,)
    assert found.merged == {3: (2,)}
    assert found.added.ravel().tolist() == [0] * 8 + [9, 9, 0, 0]
    assert found.rest.ravel().tolist() == [-1] * 7 + [0, -1, -1, 8, 8]
    assert found.new == (8,)
    assert found.cut == ()


def test_cells_that_may_go_on_outside_are_not_changed_as_a_whole():
    before, after = labels([1, 1, 0, 2, 2]), labels([0, 0, 0, 0, 0])
    found = find_painted(before, after, np.array([[False, False], [False, False], [True, False]]))
    assert (found.deleted, found.cut) == ((2,), (1,))
    assert found.rest.ravel().tolist() == [0, 0, -1, -1, -1]


def test_cells_that_swapped_their_ids_are_not_merged():
    found = find_painted(labels([1, 1, 2]), labels([2, 2, 1]), CLOSED)
    assert found.merged == {}
    assert found.rest.ravel().tolist() == [2, 2, 1]


@given(*[arrays(np.int64, (2, 2, 4), elements=st.integers(0, 4))] * 2, arrays(bool, (3, 2)))
def test_the_parts_together_give_what_was_painted(before, after, faces):
    found, again = find_painted(before, after, faces), before.copy()
    again[np.isin(before, found.deleted)] = 0
    for cell, others in found.merged.items():
        again[np.isin(before, others)] = cell
    assert not ((found.added > 0) & (again != 0)).any(), "cells are added on background"
    again = np.where(found.added > 0, found.added, again)
    again = np.where(found.rest >= 0, found.rest, again)
    assert np.array_equal(again, after)
    assert found.nothing == np.array_equal(before, after)
    assert not set(found.new) & set(before.ravel().tolist())
