"""Scores from sparse tables equal those of dense arrays, whatever the blocks."""

import json

import numpy as np
import pytest

from bigcp3d.pure.score.matching import find_partners, group_by_true_cell, match_one_to_one, number_cells
from bigcp3d.pure.score.metrics import list_cells, score_groups, score_overlaps
from bigcp3d.pure.score.overlaps import count_overlaps
from tests.pure.score.reference_scores import THRESHOLDS, dense_cells, dense_scores, dense_tp


def blobs(seed, shape=(20, 30, 30), cells=25):
    """Overlapping boxes with ids that are neither dense nor small."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint64)
    for k in range(cells):
        start = [rng.integers(0, n - 4) for n in shape]
        labels[tuple(slice(a, a + int(rng.integers(3, 12))) for a in start)] = 10**12 + 7 * k
    return labels


@pytest.fixture(params=range(5))
def pair(request):
    """A truth, and a prediction that gets most of it about right."""
    truth = blobs(request.param)
    rng = np.random.default_rng(request.param + 100)
    pred = np.roll(truth, rng.integers(0, 2, 3), axis=(0, 1, 2))
    pred[pred == rng.choice(pred[pred > 0])] = 0
    pred[:, 22:][pred[:, 22:] > 0] += 1  # cells cut in two
    return pred, truth


def score(pred, truth):
    table = number_cells([count_overlaps(pred, truth)])
    return score_groups(table, list_cells(table), [None])[0]


def test_scores_equal_those_of_dense_masks(pair):
    numbers = score_overlaps(count_overlaps(*pair))
    assert numbers == pytest.approx(dense_scores(*pair))
    assert 0 < numbers["ap50"] < 1
    assert 0 < numbers["voi_merge"] != numbers["voi_split"] > 0


def test_noise_where_every_cell_overlaps_every_other_equals_the_dense_scores():
    rng = np.random.default_rng(3)
    pred, truth = rng.integers(0, 6, (2, 6, 7, 8))
    assert score_overlaps(count_overlaps(pred, truth)) == pytest.approx(dense_scores(pred, truth))


def test_matches_at_every_threshold_are_those_of_an_optimal_assignment(pair):
    rows = score(*pair).by_iou
    assert [row["iou"] for row in rows] == list(THRESHOLDS)
    assert [row["tp"] for row in rows] == [dense_tp(*pair, t) for t in THRESHOLDS]
    assert len({row["tp"] for row in rows}) > 3
    for row in rows:
        tp, fp, fn = row["tp"], row["fp"], row["fn"]
        rates = {"ap": tp / (tp + fp + fn), "precision": tp / (tp + fp), "recall": tp / (tp + fn)}
        assert {key: row[key] for key in rates} == pytest.approx(rates)
        both = rates["precision"] + rates["recall"]
        assert row["f1"] == pytest.approx(2 * rates["precision"] * rates["recall"] / both if tp else 0)


def test_below_one_half_the_matching_is_the_largest_and_not_a_greedy_one():
    # true 1 overlaps found 1 (IoU 6/16) and 2 (4/14); true 2 overlaps found 1 alone (4/14): greedy takes 6/16 first
    truth = np.array([1] * 10 + [2] * 4 + [0] * 4)[None, None]
    pred = np.array([2] * 4 + [1] * 6 + [1] * 4 + [2] * 4)[None, None]
    table = number_cells([count_overlaps(pred, truth)])
    first = list_cells(table).iou.argmax()
    greedy = 1 + int((table.matches_at(2) & (table.true != first + 1) & (table.found != 1)).any())
    assert match_one_to_one(table, 2)[0].sum() == dense_tp(pred, truth, 0.2) == 2 > greedy


def test_an_iou_on_the_threshold_counts_whatever_its_rounding():
    for tenths in range(1, 10):
        truth = np.ones((1, 1, 10), int)
        pred = (np.arange(10) < tenths).astype(int)[None, None]
        assert [row["tp"] for row in score(pred, truth).by_iou] == [int(k <= tenths) for k in range(1, 10)]


def test_the_list_of_cells_equals_that_of_dense_masks(pair):
    pred, truth = pair[0].copy(), pair[1]
    pred[truth == truth[truth > 0][50]] = 0
    cells = list_cells(number_cells([count_overlaps(pred, truth)]))
    expected = dense_cells(pred, truth)
    assert [(int(c), int(f)) for c, f in zip(cells.cell, cells.found, strict=True)] == [row[:2] for row in expected]
    assert cells.dice == pytest.approx([row[2] for row in expected])
    assert cells.iou == pytest.approx([row[3] for row in expected])
    assert 0 in cells.found  # a true cell that was missed is in the list, with Dice 0


def test_of_cells_that_share_equally_much_the_lower_id_is_best():
    best = find_partners(np.array([2, 2, 1]), np.array([9, 7, 3]), np.array([5, 5, 1]), 4)
    assert best.tolist() == [-1, 2, 1, -1]


def test_groups_add_up_to_the_whole_and_hold_their_own_cells(pair):
    table = number_cells([count_overlaps(*pair)])
    cells = list_cells(table)
    true = np.arange(len(table.true_vox)) % 3 == 1
    found = group_by_true_cell(table, true, np.zeros(len(table.found_vox), bool))
    whole, some, rest = score_groups(table, cells, [None, (true, found), (~true, ~found)])
    for key in ("true_cells", "found_cells", "tp", "fp", "fn"):
        assert some.numbers[key] + rest.numbers[key] == whole.numbers[key]
    for a, b, c in zip(some.by_iou, rest.by_iou, whole.by_iou, strict=True):
        assert all(a[key] + b[key] == c[key] for key in ("tp", "fp", "fn"))
    assert some.numbers["mean_dice"] == cells.dice[true[1:]].mean() != rest.numbers["mean_dice"]
    assert sorted([*some.dice, *rest.dice]) == sorted(whole.dice)


def test_a_group_scores_as_if_its_cells_were_alone():
    truth, pred = np.zeros((2, 4, 8), int), np.zeros((2, 4, 8), int)
    truth[:, :, :3], pred[:, :, :2] = 1, 4  # in the group
    truth[:, :2, 4:7], pred[:, :, 5:] = 2, 5
    table = number_cells([count_overlaps(pred, truth)])
    true, found = np.array([False, True, False]), np.array([False, True, False])
    numbers = score_groups(table, list_cells(table), [(true, found)])[0].numbers
    assert numbers == pytest.approx(dense_scores(np.where(pred == 4, 1, 0), np.where(truth == 1, 1, 0)))


def test_halves_of_a_cell_that_was_cut_count_in_its_group_and_strays_in_their_own():
    truth = np.array([1, 1, 1, 1, 1, 1, 0, 2, 0, 0])[None, None]
    pred = np.array([1, 1, 1, 2, 2, 2, 0, 3, 4, 4])[None, None]
    table = number_cells([count_overlaps(pred, truth)])
    true = np.array([False, True, False])
    assert group_by_true_cell(table, true, np.zeros(5, bool)).tolist() == [False, True, True, False, False]
    assert group_by_true_cell(table, true, np.ones(5, bool)).tolist() == [True, True, True, False, True]


def test_time_points_have_cells_of_their_own():
    truth = blobs(2)
    one = count_overlaps(truth, truth)
    table = number_cells([one, count_overlaps(np.zeros_like(truth), truth)])
    cells = list_cells(table)
    assert cells.time.tolist() == sorted(cells.time)
    assert set(cells.time) == {0, 1}
    assert set(cells.dice[cells.time == 0]) == {1.0}
    assert set(cells.dice[cells.time == 1]) == {0.0}
    assert score_groups(table, cells, [None])[0].numbers["recall"] == 0.5


def test_frames_that_repeat_have_the_scores_of_one(pair):
    one = count_overlaps(*pair)
    table = number_cells([one] * 100)
    numbers, expected = score_groups(table, list_cells(table), [None])[0].numbers, score_overlaps(one)
    names = ("mean_dice", "ap50", "seg", "adapted_rand_error", "voi_split", "voi_merge", "foreground_dice")
    assert [numbers[name] for name in names] == pytest.approx([expected[name] for name in names])


def test_perfect_labels_score_one_whatever_their_names():
    truth = blobs(1)
    numbers = score_overlaps(count_overlaps(truth * 3, truth))
    best = ("mean_dice", "dice_p5", "ap50", "f1", "seg", "foreground_dice")
    assert {numbers[key] for key in best} == {1.0}
    assert {numbers[key] for key in ("adapted_rand_error", "voi_split", "voi_merge", "fp", "fn")} == {0}
    assert json.loads(json.dumps(numbers)) == numbers


def test_two_halves_of_a_cell_are_one_match():
    truth = np.ones((2, 1, 1), int)
    numbers = score_overlaps(count_overlaps(np.array([1, 2]).reshape(2, 1, 1), truth))
    assert (numbers["tp"], numbers["fp"], numbers["fn"]) == (1, 1, 0)
    assert (numbers["seg"], numbers["voi_split"], numbers["voi_merge"]) == (0.0, 1.0, 0.0)  # half is not more than half


def test_nothing_to_compare_gives_none_and_not_an_error():
    empty = np.zeros((3, 3, 3), np.uint32)
    numbers = score_overlaps(count_overlaps(empty, empty))
    assert {value for key, value in numbers.items() if isinstance(value, float)} == set()
    numbers = score_overlaps(count_overlaps(empty, empty + 1))
    assert (numbers["mean_dice"], numbers["ap50"], numbers["precision"], numbers["seg"]) == (0.0, 0.0, None, 0.0)
    numbers = score_overlaps(count_overlaps(empty + 1, empty))
    assert (numbers["mean_dice"], numbers["ap50"], numbers["fp"], numbers["voi_split"]) == (None, 0.0, 1, None)
