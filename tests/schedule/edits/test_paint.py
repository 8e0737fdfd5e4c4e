"""Painted voxels change cells, all levels and the table; an undo and a replay know them too."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import bigcp3d
from bigcp3d.errors import InputError
from tests.schedule.edits.conftest import Store, ball_labels


def brush():
    """A brush over cells 1 and 2: a part of 1 goes to 2, a part of 2 to background, a new cell comes over both."""
    before = ball_labels()
    painted, start = np.full((6, 8, 10), -1), (4, 8, 10)
    inside = before[4:10, 8:16, 10:20]
    painted[:2][inside[:2] == 1] = 2
    painted[2:3][inside[2:3] == 2] = 0
    painted[4:, 2:6, 2:6] = 99
    after = before.copy()
    after[4:10, 8:16, 10:20] = np.where(painted >= 0, painted, inside)
    after[after == 99] = 8  # 7 is the largest id there is
    return painted, start, after


def test_a_brush_changes_voxels_levels_and_table_and_can_be_taken_back(store):
    first, edits = store.levels(), bigcp3d.edit(store.path)
    painted, start, after = brush()
    change = edits.paint(painted, at=start, new=[99])
    assert np.array_equal(store.levels()[0], after)
    assert [cell["id"] for cell in change.cells] == [1, 2]
    assert {cell["id"] for cell in change.made} == {1, 2, 8}
    store.check()
    edits.undo()
    assert all(np.array_equal(a, b) for a, b in zip(store.levels(), first, strict=True))
    store.check()


def test_a_replayed_brush_paints_the_same_cells_under_the_ids_of_there(store, ball_store, tmp_path):
    other = Store(tmp_path / "other.zarr")
    shutil.copytree(ball_store, other.path)
    painted, start, after = brush()
    bigcp3d.edit(store.path).paint(painted, at=start, new=[99])
    there = bigcp3d.edit(other.path)
    there.add(np.ones((2, 2, 2), bool), at=(0, 0, 0))
    there.delete(8)
    there.merge(2, 5)
    done = bigcp3d.replay_edits(there, store.path / "labels/cells/edits/log.jsonl")
    assert [str(new) for _, new in done if isinstance(new, str)] == []
    expected = np.where(after == 5, 2, after)
    expected[after == 8] = 9  # 8 was used there before
    assert np.array_equal(other.levels()[0], expected)
    other.check()


def test_a_brush_of_nothing_or_of_a_cell_that_is_not_there_is_refused(store):
    edits, first = bigcp3d.edit(store.path), store.levels()[0]
    for painted, at, words in [
        (np.full((2, 2, 2), -1), (0, 0, 0), "nothing would change"),
        (np.zeros((2, 2, 2), int), (0, 0, 0), "nothing would change"),
        (np.full((2, 2, 2), 6), (0, 0, 0), "there is no cell 6"),
        (np.ones((2, 2, 2), int), (19, 0, 0), "reach beyond"),
        (np.ones((2, 2, 2), "u4"), (0, 0, 0), "signed integers"),
    ]:
        with pytest.raises(InputError, match=words):
            edits.paint(painted, at=at)
    assert np.array_equal(store.levels()[0], first)
    assert not edits.log()
