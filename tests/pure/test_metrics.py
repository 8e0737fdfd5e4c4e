"""Scores from sparse tables equal those of dense arrays, whatever the blocks."""

import json

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from bigcp3d.pure.metrics import add_overlaps, count_overlaps, score_overlaps


def blobs(seed, shape=(20, 30, 30), cells=25):
    """Overlapping boxes with ids that are neither dense nor small."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint64)
    for k in range(cells):
        start = [rng.integers(0, n - 4) for n in shape]
        labels[tuple(slice(a, a + int(rng.integers(3, 12))) for a in start)] = 10**12 + 7 * k
    return labels


def dense_scores(pred, truth):
    """Every pair of cells, mask by mask."""
    p, t = (np.unique(a[a > 0]) for a in (pred, truth))
    both = np.array([[((pred == i) & (truth == j)).sum() for i in p] for j in t])
    pv, tv = np.array([(pred == i).sum() for i in p]), np.array([(truth == j).sum() for j in t])
    best = both.argmax(axis=1)
    dice = np.where(both.max(axis=1) > 0, 2 * both.max(axis=1) / (tv + pv[best]), 0)
    iou = both / (pv + tv[:, None] - both)
    tp = int((iou >= 0.5)[linear_sum_assignment(iou < 0.5)].sum())
    return {
        "mean_dice": dice.mean(), "median_dice": np.median(dice), "ap50": tp / (len(p) + len(t) - tp),
        "precision": tp / len(p), "recall": tp / len(t), "true_cells": len(t), "found_cells": len(p), "tp": tp,
        "fp": len(p) - tp, "fn": len(t) - tp,
        "foreground_dice": 2 * ((pred > 0) & (truth > 0)).sum() / ((pred > 0).sum() + (truth > 0).sum()),
    }  # fmt: skip


@pytest.fixture(params=range(5))
def pair(request):
    """A truth, and a prediction that gets most of it about right."""
    truth = blobs(request.param)
    rng = np.random.default_rng(request.param + 100)
    pred = np.roll(truth, rng.integers(0, 2, 3), axis=(0, 1, 2))
    pred[pred == rng.choice(pred[pred > 0])] = 0
    pred[:, 22:][pred[:, 22:] > 0] += 1  # cells cut in two
    return pred, truth


def test_scores_equal_those_of_dense_masks(pair):
    numbers = score_overlaps(count_overlaps(*pair))
    assert numbers == pytest.approx(dense_scores(*pair))
    assert 0 < numbers["ap50"] < 1


def test_tables_of_blocks_add_up_to_that_of_the_volume(pair):
    pred, truth = pair
    whole = count_overlaps(pred, truth)
    cut = add_overlaps(count_overlaps(pred[a], truth[a]) for a in np.s_[:7, 7:13, 13:])
    assert all(np.array_equal(getattr(whole, f), getattr(cut, f)) for f in ("pred", "truth", "count"))
    part = add_overlaps([count_overlaps(pred[:7], truth[:7]), count_overlaps(pred[13:], truth[13:])])
    assert part.count.sum() != whole.count.sum()


def test_perfect_labels_score_one_whatever_their_names():
    truth = blobs(1)
    numbers = score_overlaps(count_overlaps(truth * 3, truth))
    assert numbers["mean_dice"] == numbers["ap50"] == numbers["foreground_dice"] == 1.0
    assert json.loads(json.dumps(numbers)) == numbers


def test_two_halves_of_a_cell_are_one_match():
    truth = np.ones((2, 1, 1), int)
    numbers = score_overlaps(count_overlaps(np.array([1, 2]).reshape(2, 1, 1), truth))
    assert (numbers["tp"], numbers["fp"], numbers["fn"]) == (1, 1, 0)


def test_small_true_cells_are_background_where_asked():
    truth, pred = np.zeros((4, 4, 4), int), np.zeros((4, 4, 4), int)
    truth[0, 0, 0], truth[2:] = 5, 6
    pred[2:] = 1
    assert score_overlaps(count_overlaps(pred, truth))["recall"] == 0.5
    numbers = score_overlaps(count_overlaps(pred, truth), min_truth_vox=2)
    assert (numbers["recall"], numbers["true_cells"], numbers["foreground_dice"]) == (1.0, 1, 1.0)


def test_nothing_to_compare_gives_none_and_not_an_error():
    empty = np.zeros((3, 3, 3), np.uint32)
    assert score_overlaps(count_overlaps(empty, empty))["mean_dice"] is None
    numbers = score_overlaps(count_overlaps(empty, empty + 1))
    assert (numbers["mean_dice"], numbers["ap50"], numbers["precision"]) == (0.0, 0.0, None)
    with pytest.raises(ValueError, match="shapes"):
        count_overlaps(empty, empty[1:])
