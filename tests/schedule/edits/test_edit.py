"""Corrections of single cells change their voxels, all levels and the table; all of them can be taken back."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import zarr

import bigcp3d
from bigcp3d.edge.cell_tables.label_table import said_of_table
from bigcp3d.edge.image.image import open_labels
from bigcp3d.edge.labels.edit_log import EditLog
from bigcp3d.errors import InputError, TargetError
from bigcp3d.face.commands.edit import describe_change
from bigcp3d.schedule.edits.edited_table import changes_behind
from bigcp3d.schedule.edits.review import decisions, take_back_last
from bigcp3d.work import update_labels
from tests.schedule.edits.conftest import SHAPE, Store, ball_labels, make_balls, write_labels

TABLE_OF_OTHERS = r"a table of other labels or of another program is there; make one: .* --overwrite"


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_merged_cells_have_the_first_id(store):
    change = bigcp3d.edit(store.path).merge(2, 1)
    expected = ball_labels()
    expected[expected == 1] = 2
    assert np.array_equal(store.levels()[0], expected)
    assert [cell["id"] for cell in change.cells] == [2, 1]
    store.check()


def test_cells_that_do_not_touch_are_merged_and_the_log_says_so(store):
    edits = bigcp3d.edit(store.path)
    assert describe_change(edits.merge(3, 4)) == "merge of 3, 4, which do not touch"
    assert describe_change(edits.merge(1, 2)) == "merge of 1, 2"


@pytest.fixture
def new_ids(store, monkeypatch):
    """Writes labels with notes, and splits two of them: the new ids, and how often all labels were read."""

    def split(**noted):
        seen = []
        monkeypatch.setattr(update_labels, "find_largest_id", lambda target: seen.append(target) or 7)
        write_labels(store.path, ball_labels(), **noted)
        edits = bigcp3d.edit(store.path)
        return [edits.split(cell, parts=2).made[-1]["id"] for cell in (3, 4)], len(seen)

    return split


@pytest.mark.parametrize("noted", [{"cells": 30}, {"largest_id": 30}, {"cells": 9, "updates": [{"largest_id": 30}]}])
def test_labels_are_not_read_for_a_new_id_where_they_note_the_largest(new_ids, noted, caplog):
    assert new_ids(bigcp3d=noted) == ([31, 32], 0)
    assert caplog.text == ""


def test_labels_that_note_no_largest_id_are_read_once(new_ids, caplog):
    assert new_ids() == ([8, 9], 1)
    assert "all labels are read once" in caplog.text


def test_undo_takes_corrections_back_and_leaves_decisions(store):
    first, edits = store.levels(), bigcp3d.edit(store.path)
    edits.delete(3)
    edits.decide(4, "good")
    edits.delete(5)
    edits.decide(1, "wrong")
    assert [change.kind for change in edits.undo(2)] == ["delete", "delete"]
    assert same(first, store.levels())
    with pytest.raises(InputError, match="there are only 0"):
        edits.undo()
    assert take_back_last(edits).cells[0]["id"] == 1
    assert [change.cells[0]["id"] for change in decisions(edits.changes)] == [4]


def test_labels_that_somebody_corrected_are_not_replaced(store, random_model):
    again = {"model": random_model, "diameter_um": "as-is", "overwrite": True}
    edits = bigcp3d.edit(store.path)
    edits.merge(1, 2)
    edits.decide(3, "good")
    with pytest.raises(TargetError, match=r"hold 1 correction and 1 review decision, which --overwrite would delete"):
        bigcp3d.plan_segmentation(store.path, **again)
    with pytest.raises(TargetError, match=r"already: .*changed by hand 2 times since\. Give"):
        bigcp3d.plan_segmentation(store.path, **again | {"overwrite": False})
    edits.undo()
    with pytest.raises(TargetError, match="hold 1 review decision, which"):
        bigcp3d.plan_segmentation(store.path, **again)
    bigcp3d.plan_segmentation(store.path, name="more", **again)
    take_back_last(edits)
    bigcp3d.plan_segmentation(store.path, **again)  # the control


def test_labels_are_no_image_and_are_found_by_their_path_whatever_lies_in_them(store, random_model):
    labels = store.path / "labels" / "cells"
    with pytest.raises(InputError, match=r"these are labels, not an image; give the image, .*balls\.zarr$"):
        bigcp3d.plan_segmentation(labels, model=random_model, diameter_um="as-is")
    with pytest.raises(InputError, match="these are labels, not an image"):
        bigcp3d.estimate_diameter(labels, model=random_model)
    alone = shutil.copytree(labels, store.path.parent / "alone.zarr")
    with pytest.raises(InputError, match=r"these are labels, not an image; give the image$"):
        bigcp3d.plan_segmentation(alone, model=random_model, diameter_um="as-is")
    zarr.open_group(labels, mode="r+").create_group("labels").attrs["ome"] = {"version": "0.5", "labels": ["cells"]}
    assert open_labels(labels, "").levels[0].shape == SHAPE


def test_a_cell_is_split_into_parts_and_the_largest_keeps_the_id(store):
    edits = bigcp3d.edit(store.path)
    edits.merge(1, 2)
    change = edits.split(1, parts=2)
    levels = store.levels()[0]
    first = ball_labels()
    assert [cell["id"] for cell in change.made] == [1, 8]
    assert np.array_equal(np.isin(levels, (1, 8)), np.isin(first, (1, 2)))
    assert np.count_nonzero(levels == 1) > np.count_nonzero(levels == 8)
    assert np.count_nonzero((levels == 8) & (first == 1)) > 0.9 * np.count_nonzero(first == 1)
    store.check()


def test_a_cell_is_split_at_seeds(store):
    change = bigcp3d.edit(store.path).split(4, seeds=[(12, 30, 31), (12, 30, 41)])
    labels = store.levels()[0]
    assert labels[12, 30, 31] != labels[12, 30, 41]
    assert {int(labels[12, 30, 31]), int(labels[12, 30, 41])} == {4, 8} == {cell["id"] for cell in change.made}
    store.check()


def test_a_deleted_cell_is_background_and_its_id_does_not_come_back(store):
    edits = bigcp3d.edit(store.path)
    edits.delete(7)
    assert not (store.levels()[0] == 7).any()
    store.check()
    assert [cell["id"] for cell in edits.add(np.ones((3, 3, 3), bool), at=(2, 38, 2)).made] == [8]
    edits.undo(2)
    assert [cell["id"] for cell in edits.add(np.ones((3, 3, 3), bool), at=(2, 38, 2)).made] == [9]
    store.check()


def test_added_cells_leave_others_as_they_are(store):
    block = np.zeros((8, 8, 8), np.uint8)
    block[:4], block[4:] = 1, 5
    change = bigcp3d.edit(store.path).add(block, at=(2, 6, 4))
    labels, first = store.levels()[0], ball_labels()
    assert [cell["id"] for cell in change.made] == [8, 9]
    assert np.array_equal(labels[first > 0], first[first > 0])
    assert np.count_nonzero(labels >= 8) == np.count_nonzero(first[2:10, 6:14, 4:12] == 0)
    store.check()


def test_renumbered_cells_are_in_raster_order(store):
    edits = bigcp3d.edit(store.path)
    edits.delete(1)
    before = store.levels()
    edits.renumber()
    labels = store.levels()[0]
    ids, first = np.unique(labels, return_index=True)
    assert ids.tolist() == [0, 1, 2, 3, 4, 5]
    assert np.array_equal(np.argsort(first[1:]), np.arange(5))
    assert np.array_equal(labels > 0, before[0] > 0)
    edits.undo()
    assert same(store.levels(), before)
    edits.undo()
    assert same([ball_labels()], store.levels()[:1])


def test_an_undo_of_everything_gives_back_all_levels_and_the_table(store):
    first, table = store.levels(), store.table()
    edits = bigcp3d.edit(store.path)
    edits.merge(1, 2)
    edits.split(4, parts=3)
    edits.delete(3, 5)
    edits.add(np.ones((4, 4, 4), bool), at=(0, 40, 0))
    edits.merge(8, 4, 7)
    assert not same(store.levels(), first)
    store.check()
    assert [change.kind for change in edits.undo(2)] == ["merge", "add"]
    store.check()
    assert [change.kind for change in edits.undo(3)] == ["delete", "split", "merge"]
    assert same(store.levels(), first)
    assert all(np.array_equal(table[name], column) for name, column in store.table().items())
    with pytest.raises(InputError, match="there are only 0"):
        edits.undo()
    assert [change.kind for change in edits.log() if change.kind != "ids"][-5:] == ["undo"] * 5


def test_a_table_that_was_written_again_needs_no_rows_of_changes(store):
    edits = bigcp3d.edit(store.path)
    edits.merge(1, 2)
    edits.decide(3, "good")
    assert changes_behind(edits.labels, EditLog(edits.target.path)) == 1
    edits.table(write=True)
    assert changes_behind(edits.labels, EditLog(edits.target.path)) == 0
    take_back_last(edits)
    assert changes_behind(edits.labels, EditLog(edits.target.path)) == 0, "a decision changes no row"
    edits.undo()
    assert changes_behind(edits.labels, EditLog(edits.target.path)) == 1, "the one that takes back"
    store.check()
    edits.renumber()
    with pytest.raises(InputError, match="measure again"):
        edits.table()


def test_a_cell_is_found_without_a_table_and_where_no_coarser_level_shows_it(store):
    import shutil

    shutil.rmtree(store.path / "tables")
    edits = bigcp3d.edit(store.path)
    edits.add(np.ones((1, 1, 1), bool), at=(19, 43, 51))
    assert not (store.levels()[1] == 8).any(), "the control"
    (store.path / "labels/cells/edits/log.jsonl").unlink()
    edits.delete(8)
    edits.delete(4)
    assert not np.isin(store.levels()[0], (4, 8)).any()
    store.check()


def test_what_cannot_be_done_changes_nothing(store):
    edits, first = bigcp3d.edit(store.path), store.levels()
    for call, words in (
        (lambda: edits.merge(1), "two or more"),
        (lambda: edits.merge(1, 6), "there is no cell 6"),
        (lambda: edits.delete(), "no cell was given"),
        (lambda: edits.split(1, parts=1), "give 2 or more"),
        (lambda: edits.split(1, seeds=[(0, 0, 0), (6, 10, 10)]), "lies outside of cell 1"),
        (lambda: edits.split(1, seeds=[(6, 10, 10)]), "one for each part"),
        (lambda: edits.add(np.ones((1, 1, 1), bool), at=(6, 10, 10)), "belong to cells"),
        (lambda: edits.add(np.ones((4, 4, 4), bool), at=(18, 0, 0)), "reach beyond"),
        (lambda: edits.add(np.ones((4, 4, 4)), at=(1, 0, 0)), "float64"),
        (lambda: edits.delete(1, time=1), "time point 1"),
    ):
        with pytest.raises(InputError, match=words):
            call()
    assert same(store.levels(), first)
    assert [change.kind for change in edits.log()] in ([], ["ids"])


def test_replayed_changes_make_the_same_labels(store, ball_store, tmp_path):
    import shutil

    from tests.schedule.edits.conftest import Store

    other = Store(tmp_path / "other.zarr")
    shutil.copytree(ball_store, other.path)
    edits = bigcp3d.edit(store.path)
    edits.merge(1, 2)
    edits.split(1, parts=2)
    edits.delete(3)
    edits.undo()
    edits.add(np.ones((4, 4, 4), bool), at=(0, 40, 0))
    edits.delete(5)
    bigcp3d.edit(other.path).delete(5)
    done = bigcp3d.replay_edits(bigcp3d.edit(other.path), store.path / "labels/cells/edits/log.jsonl")
    assert [(change.kind, isinstance(new, str)) for change, new in done] == [
        ("merge", False),
        ("split", False),
        ("add", False),
        ("delete", True),
    ]
    assert "there is no cell at" in done[-1][1]
    assert np.array_equal(store.levels()[0], other.levels()[0])
    other.check()


def test_a_table_of_another_program_is_told_and_labels_are_corrected_all_the_same(store):
    attributes = store.path / "tables/cells/zarr.json"
    attributes.write_text(attributes.read_text().replace('"bigcp3d"', '"others"'))
    edits = bigcp3d.edit(store.path)
    edits.delete(1)
    assert not (store.levels()[0] == 1).any()
    with pytest.raises(InputError, match=TABLE_OF_OTHERS):
        edits.table()


def test_a_table_of_earlier_labels_is_not_carried_on(store):
    write_labels(store.path, ball_labels(), bigcp3d={"id": "first"})
    bigcp3d.measure(store.path, output="zarr", overwrite=True)
    bigcp3d.edit(store.path).delete(1)
    assert 1 not in store.table()["label"]
    write_labels(store.path, ball_labels() % 4, bigcp3d={"id": "second"})
    edits = bigcp3d.edit(store.path)
    with pytest.raises(InputError, match=TABLE_OF_OTHERS):
        edits.table()
    edits.delete(1)
    bigcp3d.measure(store.path, output="zarr", overwrite=True)
    assert store.table()["label"].tolist() == [2, 3]


def test_ids_up_to_the_largest_are_corrected_with_a_table_in_the_store(tmp_path):
    """Ids from hashes. 2^63 + 1 and 2^63 are one number as floating point, and negative as int64."""
    first, second, third, last = 2**63 + 1, 2**63, 5, 2**64 - 4
    labels = ball_labels().astype(np.uint64)
    for small, large in ((1, first), (2, second), (3, third), (4, last), (5, 2**63 + 2), (7, 9)):
        labels[ball_labels() == small] = large
    make_balls(tmp_path / "image.zarr", labels)
    store = Store(tmp_path / "image.zarr")
    assert said_of_table(open_labels(store.path, "cells")) is not None
    edits = bigcp3d.edit(store.path)
    edits.merge(second, first)
    assert np.array_equal(store.levels()[0], np.where(labels == first, second, labels))
    edits.undo()
    edits.split(last, seeds=[(12, 30, 31), (12, 30, 41)])
    assert np.array_equal(np.isin(store.levels()[0], (last, last + 1)), labels == last)
    edits.undo()
    assert np.array_equal(store.levels()[0], labels)
    brush = np.full((4, 4, 4), third)
    with pytest.raises(InputError, match=f"cell {first} cannot be painted, because its id is above .*renumber"):
        edits.paint(brush, at=(6, 10, 8))
    store.check()
    edits.renumber()
    edits.paint(brush, at=(6, 10, 8), new=[third])
    assert (store.levels()[0][6:10, 10:14, 8:12] == last + 2).all()
