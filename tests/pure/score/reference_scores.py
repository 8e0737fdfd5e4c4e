"""Plain, dense, slow scores, written without the package: mask by mask, pair by pair."""

import itertools

import numpy as np
from scipy.optimize import linear_sum_assignment
from skimage.metrics import adapted_rand_error, variation_of_information

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def ids_of(labels):
    return np.unique(labels[labels > 0])


def overlap_matrix(pred, truth):
    return np.array([[((pred == i) & (truth == j)).sum() for i in ids_of(pred)] for j in ids_of(truth)])


def dense_cells(pred, truth):
    """Dice, IoU and partner of every true cell, by most common voxels."""
    rows = []
    for j in ids_of(truth):
        best, partner = 0, 0
        for i in ids_of(pred):
            common = int(((pred == i) & (truth == j)).sum())
            if common > best:
                best, partner = common, int(i)
        own, other = int((truth == j).sum()), int((pred == partner).sum()) if partner else 0
        rows.append((int(j), partner, 2 * best / (own + other), best / (own + other - best)))
    return rows


def dense_tp(pred, truth, threshold):
    """Most one-to-one matches, by optimal assignment."""
    both = overlap_matrix(pred, truth)
    pv = np.array([(pred == i).sum() for i in ids_of(pred)])
    tv = np.array([(truth == j).sum() for j in ids_of(truth)])
    good = both / (pv + tv[:, None] - both) >= threshold
    return int(good[linear_sum_assignment(~good)].sum())


def dense_seg(pred, truth):
    """SEG of the Cell Tracking Challenge."""
    values = []
    for j in ids_of(truth):
        cell, value = truth == j, 0.0
        for i in ids_of(pred):
            other = pred == i
            if (cell & other).sum() > 0.5 * cell.sum():
                value = (cell & other).sum() / (cell | other).sum()
        values.append(value)
    return float(np.mean(values))


def dense_scores(pred, truth):
    """All numbers of `score_overlaps`."""
    dice = np.array([row[2] for row in dense_cells(pred, truth)])
    tp, t, p = dense_tp(pred, truth, 0.5), len(ids_of(truth)), len(ids_of(pred))
    to_int = [np.searchsorted(np.unique(np.append(a.ravel(), 0)), a) for a in (truth, pred)]  # skimage allocates to max
    split, merge = variation_of_information(*to_int, ignore_labels=(0,))
    return {
        "mean_dice": dice.mean(), "median_dice": np.median(dice), "dice_p5": np.percentile(dice, 5),
        "dice_q1": np.percentile(dice, 25), "dice_q3": np.percentile(dice, 75), "dice_p95": np.percentile(dice, 95),
        "ap50": tp / (t + p - tp), "precision": tp / p, "recall": tp / t, "f1": 2 * tp / (p + t),
        "seg": dense_seg(pred, truth), "adapted_rand_error": adapted_rand_error(*to_int, ignore_labels=(0,))[0],
        "voi_split": split, "voi_merge": merge,
        "foreground_dice": 2 * ((pred > 0) & (truth > 0)).sum() / ((pred > 0).sum() + (truth > 0).sum()),
        "true_cells": t, "found_cells": p, "tp": tp, "fp": p - tp, "fn": t - tp,
    }  # fmt: skip


def dense_at_seam(labels, cell, block):
    """Whether two face-neighbouring voxels of a cell lie in different blocks."""
    mask = labels == cell
    own = [np.floor((np.arange(n) + 0.5) / b) for n, b in zip(mask.shape, block, strict=True)]
    block_of = np.stack(np.meshgrid(*own, indexing="ij"))
    for axis, k in itertools.product(range(3), range(1, max(mask.shape))):
        if k < mask.shape[axis]:
            a, b = (np.take(mask, i, axis) for i in (k - 1, k))
            apart = (np.take(block_of, k - 1, axis + 1) != np.take(block_of, k, axis + 1)).any(axis=0)
            if (a & b & apart).any():
                return True
    return False
