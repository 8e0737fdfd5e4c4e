"""Scores of labels against the truth, from the table of overlaps.

Every score follows from integers that do not depend on blocks, added in one order.

=====================  ==============================================================================================
``mean_dice`` etc.     Over true cells: Dice of each with the found cell that shares most voxels with it (the lower id
                       of equals), 0 where none does. Two true cells may have the same found cell. ``dice_q1`` and
                       ``dice_q3`` are quartiles, ``dice_p5`` and ``dice_p95`` percentiles (linear, as numpy's).
``ap50`` etc.          One-to-one matches (TP) at IoU >= 0.5: AP = TP / (TP + FP + FN), ``precision``, ``recall``,
                       ``f1``. `by_iou` has them at 0.1 to 0.9.
``seg``                Mean over true cells of the IoU with the found cell that holds more than half of it, else 0: SEG
                       of the Cell Tracking Challenge (Maska et al. 2014).
``adapted_rand_error`` 1 - F of pairs of voxels (Arganda-Carreras et al. 2015); ``voi_split`` = H(found | truth) and
``voi_split``,         ``voi_merge`` = H(truth | found), in bits (Meila 2007). Of the voxels of true cells alone, where
``voi_merge``          found background is one more region at each time point: scikit-image with
                       ``ignore_labels=(0,)``.
``foreground_dice``    Of "in a cell" as a mask.
=====================  ==============================================================================================

None stands for 0 / 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.score.matching import IOU_TENTHS, Contingency, Mask, find_partners, match_one_to_one, number_cells
from bigcp3d.pure.score.overlaps import Ids, Overlaps, ignore_cells, merge_overlaps

Number = float | int | None


@dataclass(frozen=True)
class CellScores:
    """One row for each true cell, by time point and id."""

    time: NDArray[np.int64]
    cell: Ids
    found: Ids
    """The found cell that shares most voxels with the true one; 0 where none does."""
    cell_vox: NDArray[np.int64]
    found_vox: NDArray[np.int64]
    overlap_vox: NDArray[np.int64]
    """Voxels in common."""
    dice: NDArray[np.float64]
    """0 where there is no found cell; so is ``iou``."""
    iou: NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """How well the cells of a group were found."""

    numbers: dict[str, Number]
    """By name, see the head of this module; also the counts ``true_cells``, ``found_cells``, ``tp``, ``fp`` and ``fn``
    (at IoU 0.5). Can be written as JSON."""
    by_iou: tuple[dict[str, Number], ...]
    """``iou``, ``ap``, ``precision``, ``recall``, ``f1``, ``tp``, ``fp``, ``fn`` at each threshold."""
    dice: NDArray[np.float64]
    """Dice of each true cell of the group, float64, in the order of `CellScores`."""
    false: Mask
    """Which found cells belong to the group and match no true cell at IoU 0.5, bool (F,)."""


def score_overlaps(overlaps: Overlaps, *, min_truth_vox: int = 0, unknown: Overlaps | None = None) -> dict[str, Number]:
    """The numbers of `Scores` for the overlaps of a whole volume.

    True cells smaller than ``min_truth_vox``, and voxels that were not annotated, are ignored (`ignore_cells`).
    """
    table = number_cells([ignore_cells(overlaps, min_truth_vox, unknown or merge_overlaps([]))])
    return score_groups(table, list_cells(table), [None])[0].numbers


def list_cells(table: Contingency) -> CellScores:
    """Each true cell with the found cell that shares most voxels with it."""
    cells = table.cells
    pair = find_partners(cells.true, cells.found, cells.count, len(table.true_vox))[1:]
    hit = pair >= 0
    row, overlap = np.zeros(len(pair), np.int64), np.zeros(len(pair), np.int64)
    row[hit], overlap[hit] = cells.found[pair[hit]], cells.count[pair[hit]]
    own, other = table.true_vox[1:], table.found_vox[row]
    return CellScores(
        time=table.true_time[1:],
        cell=table.true_ids[1:],
        found=table.found_ids[row],
        cell_vox=own,
        found_vox=other,
        overlap_vox=overlap,
        dice=2 * overlap / (own + other),
        iou=overlap / (own + other - overlap),
    )


def score_groups(table: Contingency, cells: CellScores, groups: Sequence[tuple[Mask, Mask] | None]) -> list[Scores]:
    """Scores of groups of cells; cells are matched once, among all of ``table``, whose `list_cells` are ``cells``.

    A group is two masks of bool, (T + 1,) and (F + 1,): rows of true and of found cells in it; None for all. Voxels
    count in the group of their true cell, those of true background in that of their found cell. So counts of disjoint
    groups add up.
    """
    chosen = [
        (np.ones(len(table.true_vox), bool), np.ones(len(table.found_vox), bool)) if group is None else group
        for group in groups
    ]
    by_iou: list[list[dict[str, Number]]] = [[] for _ in chosen]
    matches = {tenths: match_one_to_one(table, tenths) for tenths in IOU_TENTHS}
    for tenths, (matched, taken) in matches.items():
        for (true, found), rows in zip(chosen, by_iou, strict=True):
            tp = int(np.count_nonzero((true & matched)[1:]))
            fp, fn = int(np.count_nonzero((found & ~taken)[1:])), int(np.count_nonzero((true & ~matched)[1:]))
            rows.append({"iou": tenths / 10, **_rates(tp, fp, fn)})
    scores = []
    for (true, found), rows in zip(chosen, by_iou, strict=True):
        dice = cells.dice[true[1:]]
        half = rows[IOU_TENTHS.index(5)]
        pairs = table.select(np.where(table.true > 0, true[table.true], (table.found > 0) & found[table.found]))
        numbers = {
            **_spread(dice),
            "ap50": half["ap"],
            **{key: half[key] for key in ("precision", "recall", "f1")},
            "seg": _mean(np.where(2 * cells.overlap_vox > cells.cell_vox, cells.iou, 0)[true[1:]]),
            **_compare_partitions(pairs),
            "foreground_dice": _foreground_dice(pairs),
            "true_cells": len(dice),
            "found_cells": int(np.count_nonzero(found[1:])),
            **{key: half[key] for key in ("tp", "fp", "fn")},
        }
        scores.append(Scores(numbers, tuple(rows), dice, (found & ~matches[5][1])[1:]))
    return scores


def _rates(tp: int, fp: int, fn: int) -> dict[str, Number]:
    """AP, precision, recall and F1 of counts, and the counts."""
    return {
        "ap": _ratio(tp, tp + fp + fn),
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "tp": tp,
        "fp": fp,
        "fn": fn,
    }


def _spread(dice: NDArray[np.float64]) -> dict[str, Number]:
    """Mean, median, quartiles and whiskers."""
    names = {"median_dice": 50, "dice_p5": 5, "dice_q1": 25, "dice_q3": 75, "dice_p95": 95}
    values = np.percentile(dice, list(names.values())).tolist() if len(dice) else [None] * len(names)
    return {"mean_dice": _mean(dice), **dict(zip(names, values, strict=True))}


def _compare_partitions(pairs: Contingency) -> dict[str, Number]:
    """Adapted Rand error and variation of information over the voxels of true cells."""
    inside = pairs.true > 0
    true_row, found_row = pairs.true[inside], pairs.found[inside]
    background = len(pairs.found_vox) + pairs.true_time[true_row]  # a row for each time point
    found_row = np.where(found_row > 0, found_row, background)
    count = pairs.count[inside].astype(np.float64)
    total = float(count.sum())
    if not total:
        return {"adapted_rand_error": None, "voi_split": None, "voi_merge": None}
    sums = []
    for row in (true_row, found_row):
        voxels = np.zeros(int(row.max()) + 1)
        np.add.at(voxels, row, count)  # whole numbers, exact below 2 ** 53
        sums.append((voxels, voxels[row]))
    (true, of_true), (found, of_found) = sums
    together, in_true, in_found = (float((v * (v - 1)).sum()) for v in (count, true, found))
    return {
        "adapted_rand_error": None if in_true + in_found == 0 else 1 - 2 * together / (in_true + in_found),
        "voi_split": float(-(count * np.log2(count / of_true)).sum() / total) + 0.0,
        "voi_merge": float(-(count * np.log2(count / of_found)).sum() / total) + 0.0,
    }


def _foreground_dice(pairs: Contingency) -> float | None:
    """Dice of the two foregrounds."""
    true, found = pairs.true > 0, pairs.found > 0
    both, one, other = (int(pairs.count[mask].sum()) for mask in (true & found, true, found))
    return _ratio(2 * both, one + other)


def _mean(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None


def _ratio(part: int, whole: int) -> float | None:
    """``part / whole``, None for 0 / 0."""
    return part / whole if whole else None
