"""Finds the box of a cell in labels: from a table, or from the coarsest level down.

A box from a table may be old, so it is read with one voxel around it, and grows while the cell reaches its faces. On
coarser levels a cell may be lost, so the search goes on with the next finer level. What is found there grows in the
same way. A detached part of a cell that no coarser level shows, far from the rest, can be missed; a table knows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.labels.label_plan import LabelTarget
from bigcp3d.edge.labels.labels import read_label_box
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box, vec3
from bigcp3d.pure.label.pooling_box import pool_read_box

MARGIN = 2
"""Voxels of the level on which a cell was found, by which its box grows."""


def boxes_of(target: LabelTarget, ids: Sequence[int], known: Mapping[int, Box], *, time: int = 0) -> dict[int, Box]:
    """The box of each cell at level 0; `InputError` for ids that no voxel has.

    ``known`` are boxes from a table, in which the cells are looked for first.
    """
    boxes, left = {}, []
    for cell in dict.fromkeys(ids):
        hint = known.get(cell)
        box = None if hint is None else _grow_to_cell(target, cell, hint, time)
        if box is None:
            left.append(cell)
        else:
            boxes[cell] = box
    for level in reversed(range(len(target.levels))):
        for cell, seen in _look_through(target, left, level, time).items():
            box = _grow_to_cell(target, cell, _at_level_0(target, level, seen), time)
            if box is not None:
                boxes[cell] = box
                left.remove(cell)
    if left:
        raise InputError(
            f"{target.path}: there is no cell {', '.join(map(str, left))} (time point {time}); it may have been "
            "merged or deleted ('bigcp3d edit STORE log' shows how)"
        )
    return {cell: boxes[cell] for cell in ids}


def union(boxes: Sequence[Box]) -> Box:
    """The smallest box that holds some boxes."""
    low, high = np.min([box.start for box in boxes], axis=0), np.max([box.stop for box in boxes], axis=0)
    return Box(vec3(low), vec3(high))


def box_of(mask: NDArray[np.bool_], start: Sequence[int]) -> Box | None:
    """The box of the voxels of a mask that begins at ``start``; None if there are none."""
    spans = []
    for axis in range(3):
        at = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        if not len(at):
            return None
        spans.append((int(at[0]) + start[axis], int(at[-1]) + 1 + start[axis]))
    return Box(vec3(a for a, _ in spans), vec3(b for _, b in spans))


def _grow_to_cell(target: LabelTarget, cell: int, hint: Box, time: int) -> Box | None:
    """The box of a cell that has voxels in or beside a hint; None if it has none."""
    shape = target.levels[0].shape
    around = hint.grow(1).clip(shape)
    while not around.empty:
        found = box_of(read_label_box(target, 0, around, time=time) == cell, around.start)
        if found is None:
            return None
        cut = [
            (a == low and a > 0, b == high and b < side)
            for a, b, low, high, side in zip(found.start, found.stop, around.start, around.stop, shape, strict=True)
        ]
        if not any(map(any, cut)):
            return found
        more = [max(8, side) for side in around.shape]
        low = vec3(n if at[0] else 0 for n, at in zip(more, cut, strict=True))
        high = vec3(n if at[1] else 0 for n, at in zip(more, cut, strict=True))
        around = around.grow(low, high).clip(shape)
    return None


def _look_through(target: LabelTarget, ids: Sequence[int], level: int, time: int) -> dict[int, Box]:
    """The boxes that some cells have on a level; those that it does not show are left out."""
    found: dict[int, Box] = {}
    grid = target.grid(level)
    for index in grid if ids else ():
        core = grid.core(index)
        labels = read_label_box(target, level, core, time=time)
        for cell in ids:
            box = box_of(labels == cell, core.start)
            if box is not None:
                found[cell] = union([found[cell], box]) if cell in found else box
    return found


def _at_level_0(target: LabelTarget, level: int, box: Box) -> Box:
    """The voxels of level 0 under a box of a coarser level and a margin around it."""
    box = box.grow(MARGIN if level else 0).clip(target.levels[level].shape)
    for finer in range(level, 0, -1):
        box = pool_read_box(box, target.factors[finer], target.levels[finer - 1].shape)
    return box
