"""Tables of overlaps and extents add up, whatever the parts; crumbs leave the comparison."""

import itertools

import numpy as np
import pytest
from scipy.ndimage import find_objects

from bigcp3d.pure.boxes import BlockGrid
from bigcp3d.pure.score import overlaps as module
from bigcp3d.pure.score.bounding_boxes import (
    cross_seams,
    find_boxes,
    look_up_boxes,
    merge_boxes,
)
from bigcp3d.pure.score.metrics import score_overlaps
from bigcp3d.pure.score.overlaps import (
    add_overlaps,
    count_overlaps,
    count_unknown,
    ignore_cells,
    merge_gradually,
    merge_overlaps,
)
from tests.pure.score.reference_scores import dense_at_seam

SHAPE = (13, 17, 19)
BLOCKS = [SHAPE, (5, 6, 7), (1, 17, 3), (2, 2, 2)]


def boxes(seed, cells=20):
    """Boxes over each other: what is left of some is cut into pieces."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(SHAPE, np.int32)
    for k in range(cells):
        start = [int(rng.integers(0, n - 2)) for n in SHAPE]
        labels[tuple(slice(a, a + int(rng.integers(1, 9))) for a in start)] = 3 * k + 1
    return labels


def same(a, b):
    return all(np.array_equal(getattr(a, key), getattr(b, key)) for key in vars(a))


def test_the_table_counts_the_voxels_of_every_pair():
    pred, truth = boxes(0), boxes(1)
    table = count_overlaps(pred, truth)
    rows = list(zip(table.pred.tolist(), table.truth.tolist(), table.count.tolist(), strict=True))
    pairs, counts = np.unique(np.stack([pred.ravel(), truth.ravel()]), axis=1, return_counts=True)
    assert rows == [(*pair, n) for pair, n in zip(pairs.T.tolist(), counts.tolist(), strict=True)]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint64, ">u4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_dtype_byte_order_and_memory_order_do_not_matter(dtype, order):
    pred, truth = boxes(0), boxes(1)
    assert same(
        count_overlaps(np.array(pred, dtype, order=order), np.array(truth, dtype, order=order)),
        count_overlaps(pred, truth),
    )


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("rows", [1, 40, 1 << 20])
def test_tables_of_blocks_add_up_to_that_of_the_volume(monkeypatch, block, rows):
    monkeypatch.setattr(module, "MERGE_ROWS", rows)
    pred, truth = boxes(2), boxes(3)
    cores = [BlockGrid(SHAPE, block).core(i) for i in BlockGrid(SHAPE, block)]
    np.random.default_rng(0).shuffle(cores)
    assert same(
        add_overlaps(count_overlaps(pred[c.slices()], truth[c.slices()]) for c in cores), count_overlaps(pred, truth)
    )
    assert same(
        merge_boxes([find_boxes(truth[c.slices()], c.start) for c in cores]),
        find_boxes(truth),
    )
    if len(cores) > 1:
        lost = add_overlaps(count_overlaps(pred[c.slices()], truth[c.slices()]) for c in cores[1:])
        assert not same(lost, count_overlaps(pred, truth))


def test_few_rows_wait_to_be_merged(monkeypatch):
    monkeypatch.setattr(module, "MERGE_ROWS", 10)
    waiting = []

    def merge(parts):
        waiting.append(sum(map(len, parts)))
        return merge_overlaps(parts)

    table = count_overlaps(boxes(0), boxes(1))
    assert len(merge_gradually(itertools.repeat(table, 1000), merge)) == len(table)
    assert max(waiting) <= 3 * len(table) < 1000 * len(table)


def test_labels_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="shapes"):
        count_overlaps(boxes(0), boxes(0)[1:])


def test_no_voxels_give_an_empty_table():
    empty = np.zeros((0, 4, 4), int)
    assert len(count_overlaps(empty, empty)) == len(find_boxes(empty)) == len(add_overlaps([])) == 0


def test_extents_are_those_of_scipy():
    labels = boxes(4)
    found = find_boxes(labels, (100, 0, 7))
    expected = {k + 1: box for k, box in enumerate(find_objects(labels)) if box is not None}
    assert found.ids.tolist() == list(expected)
    assert (found.start - (100, 0, 7)).tolist() == [[s.start for s in box] for box in expected.values()]
    assert (found.stop - (100, 0, 7)).tolist() == [[s.stop for s in box] for box in expected.values()]


@pytest.mark.parametrize("block", [(5, 6, 7), (13, 8, 19), (4.5, 3.3, 7.9), (0.7, 99, 99)])
def test_a_cell_touches_a_seam_where_two_face_neighbours_lie_in_different_blocks(block):
    rng = np.random.default_rng(1)
    labels = np.zeros(SHAPE, int)
    for k in range(60):  # whole boxes only: connected through faces
        box = tuple(slice(a, a + int(rng.integers(1, 5))) for a in (rng.integers(0, n) for n in SHAPE))
        if not labels[box].any():
            labels[box] = k + 1
    found = find_boxes(labels)
    crosses = cross_seams(found.start, found.stop, block)
    assert crosses.tolist() == [dense_at_seam(labels, int(i), block) for i in found.ids]
    assert crosses.any()
    assert not crosses.all() or block[0] < 1


def test_a_cell_that_lies_against_a_seam_does_not_touch_it():
    start, stop = np.array([[0, 0, 0], [0, 0, 4], [0, 0, 3]]), np.array([[1, 1, 4], [1, 1, 8], [1, 1, 5]])
    assert cross_seams(start, stop, (4, 4, 4)).tolist() == [False, False, True]


def test_extents_are_looked_up_by_time_and_id():
    one, two = find_boxes(boxes(5)), find_boxes(boxes(6))
    ids, time = (
        np.concatenate([one.ids[1::2], two.ids[::3]]),
        np.repeat([0, 1], [len(one.ids[1::2]), len(two.ids[::3])]),
    )
    start, stop = look_up_boxes(ids, time, [one, two])
    assert np.array_equal(start, np.concatenate([one.start[1::2], two.start[::3]]))
    assert np.array_equal(stop, np.concatenate([one.stop[1::2], two.stop[::3]]))


def test_crumbs_of_the_truth_are_neither_needed_nor_counted_wrong():
    truth, pred = np.zeros((4, 4, 4), int), np.zeros((4, 4, 4), int)
    truth[0, 0, :2], truth[2:] = 5, 6
    pred[2:] = 1
    missed = count_overlaps(pred, truth)
    pred[0, 0, :2] = 2
    pred[0, 1, :2] = 2
    found = count_overlaps(pred, truth)  # half of it lies in the crumb
    assert score_overlaps(missed)["recall"] == 0.5
    for table in (missed, found):
        numbers = score_overlaps(table, min_truth_vox=3)
        assert (numbers["recall"], numbers["precision"], numbers["true_cells"]) == (1.0, 1.0, 1)
        assert numbers["foreground_dice"] == 1.0
    pred[0, 2, :2] = 2
    assert score_overlaps(count_overlaps(pred, truth), min_truth_vox=3)["fp"] == 1  # most of it lies elsewhere


def test_a_crumb_inside_a_found_cell_costs_it_nothing():
    truth, pred = np.ones((4, 4, 4), int), np.ones((4, 4, 4), int)
    truth[1, 1, 1] = 2
    assert score_overlaps(count_overlaps(pred, truth))["mean_dice"] < 1
    assert score_overlaps(count_overlaps(pred, truth), min_truth_vox=2)["mean_dice"] == 1.0
    table = count_overlaps(pred, truth)
    assert ignore_cells(table, 1, merge_overlaps([])) is table


def test_voxels_that_were_not_annotated_are_neither_needed_nor_counted_wrong():
    truth, pred = np.zeros((4, 4, 4), np.int16), np.zeros((4, 4, 4), np.int64)
    truth[0], truth[1], truth[2:] = -1, -32768, 6
    pred[0], pred[1], pred[2:] = 2, -5, 1

    def score():
        return score_overlaps(count_overlaps(pred, truth), unknown=count_unknown(pred, truth))

    perfect = {"true_cells": 1, "found_cells": 1, "precision": 1.0, "recall": 1.0, "mean_dice": 1.0}
    assert {name: score()[name] for name in perfect} == perfect
    pred[2, 0, 0] = 2  # a found cell that lies mostly where nothing is known
    assert score()["precision"] == 1.0
    truth[0] = 0
    assert score()["precision"] == 0.5


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "uint32", "uint64"])
def test_ids_of_any_size_are_the_same_cells(dtype):
    rng = np.random.default_rng(1)
    pred, truth = rng.integers(0, 4, (2, 3, 8, 8))
    ids = np.array([0, 7, np.iinfo(dtype).max - 1, np.iinfo(dtype).max], dtype)
    assert score_overlaps(count_overlaps(pred, ids[truth])) == score_overlaps(count_overlaps(pred, truth))
    assert find_boxes(ids[truth]).start.tolist() == find_boxes(truth).start.tolist()
