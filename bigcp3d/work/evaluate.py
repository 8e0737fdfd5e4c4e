"""Evaluation of labels on disk against the truth, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bigcp3d.edge.image import ImageInfo, open_labels, read_box
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import BlockGrid, Vec3
from bigcp3d.pure.metrics import Ids, Overlaps, add_overlaps, count_overlaps, score_overlaps

BLOCK: Vec3 = (64, 256, 256)
"""Voxels that are compared at a time."""


def evaluate(
    pred: str | Path,
    truth: str | Path,
    *,
    pred_name: str = "cells",
    truth_name: str = "truth",
    min_truth_vox: int = 0,
) -> dict[str, float | int | None]:
    """Compare labels with the truth.

    Parameters
    ----------
    pred, truth : str or Path
        Image or labels groups; the finest level is compared.
    pred_name, truth_name : str
        Which labels.
    min_truth_vox : int
        True cells with fewer voxels are background.

    Returns
    -------
    numbers : dict
        See `bigcp3d.pure.metrics.score_overlaps`; JSON as it stands. Cells of several time points count together.

    Raises
    ------
    InputError
        There are no such labels, or their shapes differ.

    Notes
    -----
    Needs memory for one block (`BLOCK`) and for the table of overlaps.
    """
    found, true = open_labels(pred, pred_name), open_labels(truth, truth_name)
    for what, a, b in (
        ("shape (z, y, x)", found.levels[0].shape, true.levels[0].shape),
        ("number of time points", found.times, true.times),
    ):
        if a != b:
            raise InputError(
                f"{found.path}: found {what} {a}, where {true.path} has {b}; allowed are equal ones: compare labels "
                "of the "
                "same image at the same resolution"
            )
    tables = [_rename(add_overlaps(_read_overlaps(found, true, time)), time) for time in range(true.times)]
    return score_overlaps(add_overlaps(tables), min_truth_vox=min_truth_vox)


def _read_overlaps(found: ImageInfo, true: ImageInfo, time: int) -> Iterator[Overlaps]:
    """The table of each block of a time point."""
    grid = BlockGrid(true.levels[0].shape, BLOCK)
    for index in grid:
        box = grid.core(index)
        yield count_overlaps(read_box(found, 0, box, time=time), read_box(true, 0, box, time=time))


def _rename(table: Overlaps, time: int) -> Overlaps:
    """Ids that differ between time points; a label is one cell at each of them."""

    def own(ids: Ids) -> Ids:
        names = np.union1d(ids, np.zeros(1, ids.dtype))
        rows = np.searchsorted(names, ids).astype(np.uint64)
        return np.where(rows > 0, rows + np.uint64(time << 40), rows)

    return Overlaps(own(table.pred), own(table.truth), table.count)
