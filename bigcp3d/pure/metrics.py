"""How well labels agree with the truth, from the sparse table of their overlaps.

The table holds one row for each pair of a found and a true label that share a voxel, so it is small, and tables of
blocks add up to that of the volume: the numbers are the same whatever the blocks, and no volume need fit in memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

Ids = NDArray[np.uint64]


@dataclass(frozen=True)
class Overlaps:
    """Pairs of labels that share voxels, sorted; 0 is background.

    Attributes
    ----------
    pred, truth : ndarray of uint64, shape (n,)
    count : ndarray of int64, shape (n,)
        Voxels in common.
    """

    pred: Ids
    truth: Ids
    count: NDArray[np.int64]


def count_overlaps(pred: NDArray[np.integer], truth: NDArray[np.integer]) -> Overlaps:
    """The table of two label arrays of one shape."""
    if pred.shape != truth.shape:
        raise ValueError(f"labels of shapes {pred.shape} and {truth.shape} cannot be compared voxel by voxel")
    found, at_found = np.unique(pred, return_inverse=True)
    true, at_true = np.unique(truth, return_inverse=True)
    pair, count = np.unique(at_found.ravel() * len(true) + at_true.ravel(), return_counts=True)
    return Overlaps(found[pair // len(true)].astype(np.uint64), true[pair % len(true)].astype(np.uint64), count)


def add_overlaps(tables: Iterable[Overlaps]) -> Overlaps:
    """The table of a volume from those of its disjoint parts."""
    parts = list(tables)
    pairs = np.stack([np.concatenate([p.pred for p in parts]), np.concatenate([p.truth for p in parts])])
    unique, place = np.unique(pairs, axis=1, return_inverse=True)
    count = np.zeros(unique.shape[1], np.int64)
    np.add.at(count, place.ravel(), np.concatenate([p.count for p in parts]))
    return Overlaps(unique[0], unique[1], count)


def score_overlaps(overlaps: Overlaps, *, min_truth_vox: int = 0) -> dict[str, float | int | None]:
    """Numbers that say how well labels agree with the truth.

    Parameters
    ----------
    overlaps : Overlaps
        Of whole volumes.
    min_truth_vox : int
        True cells with fewer voxels are background.

    Returns
    -------
    numbers : dict
        ``mean_dice``, ``median_dice``: over true cells, Dice of each with the found cell that shares most voxels with
        it (the lower id of equals; 0 where none does). ``ap50`` = TP / (TP + FP + FN), ``precision``, ``recall``:
        one-to-one matches at IoU >= 0.5. ``foreground_dice``. Counts: ``true_cells``, ``found_cells``, ``tp``, ``fp``,
        ``fn``. None where a ratio has nothing under its line.
    """
    truth, true_vox = _table(overlaps.truth, overlaps.count)
    small = true_vox < min_truth_vox
    truth = np.where(small[truth], 0, truth)
    pred, found_vox = _table(overlaps.pred, overlaps.count)
    true_vox = np.where(small, 0, true_vox)
    both = (pred > 0) & (truth > 0)
    p, t, count = pred[both], truth[both], overlaps.count[both]
    true_cells, found_cells = int(np.count_nonzero(true_vox[1:])), len(found_vox) - 1
    order = np.lexsort((p, -count, t))
    best = order[np.flatnonzero(np.diff(t[order], prepend=0))]
    dice = np.zeros(true_cells)
    dice[: len(best)] = 2 * count[best] / (true_vox[t[best]] + found_vox[p[best]])
    tp = _count_matches(p, t, count / (found_vox[p] + true_vox[t] - count))
    foreground = int(true_vox[1:].sum()) + int(found_vox[1:].sum())
    return {
        "mean_dice": float(dice.mean()) if true_cells else None,
        "median_dice": float(np.median(dice)) if true_cells else None,
        "ap50": _ratio(tp, true_cells + found_cells - tp),
        "precision": _ratio(tp, found_cells),
        "recall": _ratio(tp, true_cells),
        "foreground_dice": _ratio(2 * int(count.sum()), foreground),
        "true_cells": true_cells,
        "found_cells": found_cells,
        "tp": tp,
        "fp": found_cells - tp,
        "fn": true_cells - tp,
    }


def _table(ids: Ids, count: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row of each pair's id among all ids (0 is background), and the voxels of each row (none for background)."""
    names = np.union1d(ids, np.zeros(1, np.uint64))
    rows = np.searchsorted(names, ids)
    voxels = np.zeros(len(names), np.int64)
    np.add.at(voxels, rows, count)
    voxels[0] = 0
    return rows, voxels


def _count_matches(p: NDArray[np.int64], t: NDArray[np.int64], iou: NDArray[np.float64]) -> int:
    """Most pairs with IoU >= 0.5 in which no cell comes twice; only at 0.5, as halves of a cell, could one."""
    good = iou >= 0.5
    if not good.any():
        return 0
    graph = csr_array((np.ones(int(good.sum()), np.int8), (t[good], p[good])))
    return int(np.count_nonzero(maximum_bipartite_matching(graph, perm_type="column") >= 0))


def _ratio(part: int, whole: int) -> float | None:
    """``part / whole``, None for 0 / 0."""
    return part / whole if whole else None
