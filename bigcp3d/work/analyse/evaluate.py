"""Evaluates labels on disk against the truth, block by block.

Each block gives sparse tables of integers, which add up in any order. So memory grows with the cells, not with the
voxels, and the numbers are those of the whole volume.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo, open_labels
from bigcp3d.edge.image.same_grid import check_same_grid
from bigcp3d.edge.image.voxels import read_box, stored_chunk
from bigcp3d.edge.labels.truth import open_truth
from bigcp3d.edge.stores.places import same_place
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import BlockGrid, Vec3, block_of_chunks, vec3
from bigcp3d.pure.plural import count
from bigcp3d.pure.score.bounding_boxes import CellBoxes, cross_seams, find_boxes, look_up_boxes, merge_boxes
from bigcp3d.pure.score.matching import Contingency, Mask, group_by_true_cell, number_cells
from bigcp3d.pure.score.metrics import CellScores, Number, Scores, list_cells, score_groups
from bigcp3d.pure.score.overlaps import (
    Overlaps,
    count_overlaps,
    count_unknown,
    ignore_cells,
    merge_gradually,
    merge_overlaps,
)
from bigcp3d.work.analyse.blocks_read import BlocksRead
from bigcp3d.work.analyse.evaluate_settings import EvaluateSettings
from bigcp3d.work.analyse.measure import warn_of_unknown

log = logging.getLogger(__name__)

BLOCK_VOX = 2**23
"""Most voxels that are compared at a time; 20 to 40 bytes of memory are needed for each."""


@dataclass(frozen=True, eq=False)
class Evaluation(Mapping[str, Number]):
    """The numbers by name (``evaluation["mean_dice"]``), and what they were computed from.

    Attributes
    ----------
    whole : Scores
        Of all cells.
    cells : CellScores
        One row a true cell.
    start, stop : ndarray of int64, shape (n, 3)
        Half-open boxes around the true cells, (z, y, x).
    false_cells : dict of ndarray, each of shape (k,)
        The found cells that match no true cell at an IoU of 0.5, by column: ``time``, ``cell``, ``cell_vox``, and
        half-open boxes as ``z0`` to ``x1``.
    blocks : tuple of float, optional
        The block grid, where one was given.
    at_seam : ndarray of bool, shape (n,), optional
        Which true cells this grid cuts.
    seam, elsewhere : Scores, optional
        Of the cells that it cuts, and of the others.
    inside : Scores, optional
        Of the cells that the border of the volume does not cut, where they were asked for.
    """

    whole: Scores
    cells: CellScores
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    false_cells: dict[str, NDArray[Any]]
    blocks: tuple[float, float, float] | None = None
    at_seam: NDArray[np.bool_] | None = None
    seam: Scores | None = None
    elsewhere: Scores | None = None
    inside: Scores | None = None

    def __getitem__(self, name: str) -> Number:
        return self.whole.numbers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.whole.numbers)

    def __len__(self) -> int:
        return len(self.whole.numbers)

    def __repr__(self) -> str:
        return f"Evaluation({self.whole.numbers})"

    @property
    def dice(self) -> NDArray[np.float64]:
        """Dice of each true cell, shape (n,)."""
        return self.cells.dice

    @property
    def groups(self) -> dict[str, Scores]:
        """The scores of each group of cells, by its name."""
        named = {
            "whole cells": self.inside,
            "all cells": self.whole,
            "at seams": self.seam,
            "elsewhere": self.elsewhere,
        }
        return {name: scores for name, scores in named.items() if scores is not None}

    def columns(self) -> dict[str, NDArray[Any]]:
        """The list of true cells by column; half-open boxes as ``z0`` to ``x1``, ``at_seam`` if blocks were given."""
        columns: dict[str, NDArray[Any]] = {field.name: getattr(self.cells, field.name) for field in fields(CellScores)}
        if self.at_seam is not None:
            columns["at_seam"] = self.at_seam
        return columns | _name_corners(self.start, self.stop)

    def as_json(self) -> dict[str, Any]:
        """All numbers, ready for `json.dumps`: those of all cells, and the same for each group that was asked for."""

        def numbers(scores: Scores) -> dict[str, Any]:
            return {**scores.numbers, "by_iou": list(scores.by_iou)}

        groups = {"at_seam": self.seam, "elsewhere": self.elsewhere, "whole_cells": self.inside}
        blocks = {} if self.blocks is None else {"blocks": list(self.blocks)}
        found = {name: numbers(scores) for name, scores in groups.items() if scores is not None}
        return {**numbers(self.whole), **blocks, **found}


@dataclass(frozen=True)
class _Table:
    """Overlaps and bounding boxes of the cells of a time point, or of a part of it."""

    overlaps: Overlaps
    unknown: Overlaps  # of found cells and voxels that were not annotated
    true: CellBoxes
    found: CellBoxes

    def __len__(self) -> int:
        return len(self.overlaps)

    @classmethod
    def merged(cls, tables: list[_Table]) -> _Table:
        """The sum of some tables."""
        return cls(
            merge_overlaps([table.overlaps for table in tables]),
            merge_overlaps([table.unknown for table in tables]),
            merge_boxes([table.true for table in tables]),
            merge_boxes([table.found for table in tables]),
        )


def compare_labels(settings: EvaluateSettings, on_event: Callable[[BlocksRead], None] | None = None) -> Evaluation:
    """Compare labels with the truth, both OME-Zarr; ``on_event`` hears of each block (`bigcp3d.evaluate`)."""
    found, true = open_labels(settings.pred, settings.pred_name), open_truth(settings.truth, settings.truth_name)
    check_same_image(found, true)
    if same_place(found.path, true.path):
        log.warning(
            "%s: these labels are compared with themselves, so the scores are perfect; give the truth", true.path
        )
    done = 0
    chunk = vec3(map(max, stored_chunk(found, 0), stored_chunk(true, 0)))
    grid = BlockGrid(true.levels[0].shape, block_of_chunks(chunk, true.levels[0].shape, BLOCK_VOX))

    def read(time: int) -> Iterator[_Table]:
        nonlocal done
        for index in grid:
            box = grid.core(index)
            p, t = (read_box(info, 0, box, time=time) for info in (found, true))
            boxes = (find_boxes(ids, box.start) for ids in (t, p))
            yield _Table(count_overlaps(p, t), count_unknown(p, t), *boxes)
            done += 1
            if on_event is not None:
                on_event(BlocksRead(done, len(grid) * true.times))

    tables = [merge_gradually(read(time), _Table.merged) for time in range(true.times)]
    warn_of_unknown(true.path, sum(int(table.unknown.count.sum()) for table in tables))
    return _score(tables, settings, true.levels[0].shape)


def check_same_image(found: ImageInfo, true: ImageInfo) -> None:
    """Refuse labels that differ in shape, time points, voxel size or place; warn of what is taken."""
    first, second = found.levels[0], true.levels[0]
    if (first.shape, found.times) != (second.shape, true.times):
        raise InputError(
            f"{found.path} has the shape {first.shape} (z, y, x) and {count(found.times, 'time point')}, but "
            f"{true.path} has {second.shape} and {true.times}; compare labels of the same image at the same resolution"
        )
    check_same_grid(found, true)


def _score(times: list[_Table], settings: EvaluateSettings, shape: Vec3) -> Evaluation:
    """All numbers from the tables of all time points."""
    table = number_cells([ignore_cells(time.overlaps, settings.min_cell_vox, time.unknown) for time in times])
    start, stop = look_up_boxes(table.true_ids[1:], table.true_time[1:], [time.true for time in times])
    cells, blocks = list_cells(table), settings.blocks
    boxes = look_up_boxes(table.found_ids[1:], table.found_time[1:], [time.found for time in times])
    at_seam, groups = None, list[tuple[Mask, Mask] | None]([None])
    if settings.whole_cells:
        groups += _split(table, _at_border(start, stop, shape), _at_border(*boxes, shape))[1:]
    if blocks is not None:
        at_seam = cross_seams(start, stop, blocks)
        groups += _split(table, at_seam, cross_seams(*boxes, blocks))
    scores = iter(score_groups(table, cells, groups))
    whole, inside = next(scores), next(scores) if settings.whole_cells else None
    seam, elsewhere = (None, None) if blocks is None else scores
    found = {"time": table.found_time[1:], "cell": table.found_ids[1:], "cell_vox": table.found_vox[1:]}
    false_cells = {name: column[whole.false] for name, column in (found | _name_corners(*boxes)).items()}
    return Evaluation(whole, cells, start, stop, false_cells, blocks, at_seam, seam, elsewhere, inside)


def _name_corners(start: NDArray[np.int64], stop: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Half-open boxes, shape (n, 3), as the columns ``z0`` to ``x1``."""
    return {axis + end: box[:, k] for end, box in (("0", start), ("1", stop)) for k, axis in enumerate("zyx")}


def _split(table: Contingency, true: Mask, found: Mask) -> list[tuple[Mask, Mask]]:
    """The group of some cells and that of the others; a found cell goes with the true cell that it shares most with."""
    true = _with_background(true)
    found = group_by_true_cell(table, true, _with_background(found))
    return [(true, found), (~true, ~found)]


def _at_border(start: NDArray[np.int64], stop: NDArray[np.int64], shape: Vec3) -> Mask:
    """Which boxes touch the border of the volume."""
    touching: Mask = np.any((start <= 0) | (stop >= np.array(shape)), axis=1)
    return touching


def _with_background(cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """With an entry for row 0."""
    return np.concatenate([np.zeros(1, bool), cells])
