"""Corrects single cells of finished labels in place, and takes corrections back.

Each correction reads and writes the box of its cells only, at all levels. It holds the lock of the labels, and first
puts right what was stopped. `bigcp3d.schedule.edits.correction` says how it is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.labels.default_name import DEFAULT_NAME
from bigcp3d.edge.labels.edit_log import Change
from bigcp3d.edge.labels.labels import read_label_box
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box, Vec3, vec3
from bigcp3d.pure.label.mask_of import mask_of
from bigcp3d.pure.label.painted import as_painted
from bigcp3d.pure.label.split_cell import split_along, split_at_seeds, split_into
from bigcp3d.pure.label.touching import all_touch
from bigcp3d.schedule.edits.correction import Labels
from bigcp3d.schedule.edits.found_again import find_parts, grow_seed
from bigcp3d.schedule.edits.history import History
from bigcp3d.work.change_labels import change_labels
from bigcp3d.work.renumber import plan_new_ids, renumber_labels


class Edits(History):
    """Corrections of some labels, as `edit` opens them. Each method makes one change, and returns its line of the log.

    `TargetError` if somebody else is changing the labels. Ids of cells that are gone are not given again, except by
    `renumber`. The next command that changes or reads the labels takes back a correction that was stopped, and finishes
    an undo that was stopped.
    """

    def merge(self, *ids: int, time: int = 0) -> Change:
        """Make one cell of several: all voxels get the first id.

        Parameters
        ----------
        *ids : int
            Two cells or more. They may lie apart; ``given`` of the change then has ``apart``.
        time : int, default 0
            The time point.

        Returns
        -------
        Change

        Raises
        ------
        InputError
            For fewer than two ids, or ids that no voxel has.

        Examples
        --------
        >>> bigcp3d.edit("tissue.zarr").merge(3, 7).kind
        'merge'
        """
        if len(set(ids)) < 2:
            raise InputError(f"{len(set(ids))} cell was given to merge; give two or more different ids")

        given: dict[str, Any] = {"ids": list(ids)}

        def join(inner: Labels, around: Box) -> Labels:
            if not all_touch(inner, ids):
                given["apart"] = True
            return np.where(mask_of(inner, ids[1:]), ids[0], inner).astype(inner.dtype)

        with self._held():
            return self._correct("merge", given, ids, time, join, stays=ids[:1])

    def split(
        self, cell: int, *, parts: int | None = None, seeds: Sequence[Sequence[int]] = (), time: int = 0
    ) -> Change:
        """Cut a cell into parts. The largest part keeps the id.

        Parameters
        ----------
        cell : int
            Its id.
        parts : int, optional
            Cut into so many parts, where the cell is narrow.
        seeds : sequence of (z, y, x), optional
            Cut into parts around these voxels of level 0. Without ``parts`` and ``seeds``, the cell is found again
            with smaller and smaller closings, until there are two parts; kept maps make this quick.
        time : int, default 0
            The time point.

        Returns
        -------
        Change

        Raises
        ------
        InputError
            If the cell does not exist, a seed lies outside of it, or it does not fall into parts.

        Examples
        --------
        >>> change = bigcp3d.edit("tissue.zarr").split(5, parts=2)
        >>> len(change.made)
        2
        """
        if parts is not None and (parts < 2 or seeds):
            raise InputError(f"{parts} parts were asked for; give 2 or more, and no seeds")
        if len(seeds) == 1:
            raise InputError("one seed was given; give two or more, one for each part")
        spacing = self.labels.levels[0].scale_um or (1.0, 1.0, 1.0)
        given: dict[str, Any] = {"id": cell}
        given |= {"parts": parts} if parts else {"seeds": [list(map(int, s)) for s in seeds]} if len(seeds) else {}
        with self._held():
            box = self.boxes([cell], time)[cell]
            mask = read_label_box(self.target, 0, box, time=time) == cell
            if parts is not None:
                numbered = split_into(mask, parts, spacing)
            elif len(seeds):
                numbered = split_at_seeds(mask, _mark(mask, seeds, box, cell), spacing)
            else:
                numbered, given["closing_vox"] = self._find_parts(mask, box, time, spacing, cell)
            sizes = np.bincount(numbered.ravel())[1:]
            if np.count_nonzero(sizes) < 2:
                raise InputError(f"cell {cell} ({mask.sum()} voxels) does not fall into parts; give other seeds")
            ids = np.zeros(len(sizes) + 1, np.uint64)
            others = [k for k in np.flatnonzero(sizes) + 1 if k != sizes.argmax() + 1]
            ids[sizes.argmax() + 1] = cell
            ids[others] = self._new_ids(len(others))

            cut = partial(_put, box, mask, ids[numbered[mask]])
            return self._correct("split", given, [cell], time, cut, boxes={cell: box})

    def delete(self, *ids: int, time: int = 0) -> Change:
        """Remove cells: their voxels become background.

        Parameters
        ----------
        *ids : int
            One cell or more.
        time : int, default 0
            The time point.

        Returns
        -------
        Change

        Raises
        ------
        InputError
            For ids that no voxel has.

        Examples
        --------
        >>> bigcp3d.edit("tissue.zarr").delete(9).kind
        'delete'
        """
        if not ids:
            raise InputError("no cell was given to delete; give one id or more")
        with self._held():
            return self._correct("delete", {"ids": list(ids)}, ids, time, partial(_without, ids))

    def add(self, cells: NDArray[np.integer[Any]] | None = None, *, at: Sequence[int], time: int = 0) -> Change:
        """Add cells on background. Voxels of other cells stay as they are.

        Parameters
        ----------
        cells : ndarray of integers, shape (z, y, x), optional
            Each number above 0 becomes a cell with a new id. Without it, the cell at the voxel ``at`` is found again
            from the kept maps, with lower and lower foreground thresholds.
        at : (z, y, x)
            The voxel of level 0 where the array begins, or a voxel of the cell.
        time : int, default 0
            The time point.

        Returns
        -------
        Change

        Raises
        ------
        InputError
            If no voxel of background would become a cell, or the array reaches beyond the volume.

        Examples
        --------
        >>> cell = np.ones((4, 6, 6), "uint8")
        >>> len(bigcp3d.edit("tissue.zarr").add(cell, at=(0, 0, 0)).made) <= 1
        True
        """
        where = vec3(at)
        with self._held():
            if cells is None:
                cells, where = grow_seed(self.labels, self.target, self.image, where, time)
                given: dict[str, Any] = {"seed": list(vec3(at)), "start": list(where)}
            else:
                given = {"at": list(where)}
            cells = np.asarray(cells)
            if cells.ndim != 3 or cells.dtype.kind not in "iub" or not (cells > 0).any():
                raise InputError(f"{cells.dtype} of shape {cells.shape} was given; give 3D integers (z, y, x) above 0")
            box = self._box_at(where, cells.shape)
            free = (cells > 0) & (read_label_box(self.target, 0, box, time=time) == 0)
            if not free.any():
                raise InputError(f"all voxels in {box.start} to {box.stop} belong to cells; delete these first")
            numbers, row = np.unique(cells[free], return_inverse=True)
            ids = np.array(self._new_ids(len(numbers)), np.uint64)
            put = partial(_put, box, free, ids[row])
            return self._correct("add", given, [], time, put, boxes={0: box}, added=np.where(free, cells, 0))

    def paint(
        self, labels: NDArray[np.signedinteger[Any]], *, at: Sequence[int], new: Sequence[int] = (), time: int = 0
    ) -> Change:
        """Set the voxels of a box, as a brush does: cells grow, shrink, come and go.

        Parameters
        ----------
        labels : ndarray of signed integers, shape (z, y, x)
            What each voxel becomes: the id of a cell that is there, 0 for background, -1 to stay as it is.
        at : (z, y, x)
            The voxel of level 0 where the array begins.
        new : sequence of int
            Numbers in ``labels`` that are no ids: each becomes a cell with a new id.
        time : int, default 0
            The time point.

        Returns
        -------
        Change

        Raises
        ------
        InputError
            If nothing would change, an id does not exist, or the array reaches beyond the volume.

        Examples
        --------
        >>> brush = np.ones((2, 3, 3), int)
        >>> bigcp3d.edit("tissue.zarr").paint(brush, at=(0, 0, 0), new=[1]).kind
        'paint'
        """
        labels, where = np.asarray(labels), vec3(at)
        if labels.ndim != 3 or labels.dtype.kind != "i":
            raise InputError(f"{labels.dtype} of shape {labels.shape} was given; give 3D signed integers (z, y, x)")
        box = self._box_at(where, labels.shape)
        with self._held():
            before = as_painted(read_label_box(self.target, 0, box, time=time))
            fresh = (labels > 0) & np.isin(labels, list(new))
            differ = (labels >= 0) & (fresh | (labels != before))
            painted = labels[differ & ~fresh]
            ids = [int(cell) for cell in np.union1d(before[differ], painted) if cell > 0]
            boxes = {**self.boxes(ids, time), 0: box} if ids else {0: box}
            numbers = np.unique(labels[fresh])
            after_of = dict(zip(numbers.tolist(), self._new_ids(len(numbers)), strict=True)) if len(numbers) else {}
            result = labels[differ].astype(np.uint64)
            for number, cell in after_of.items():
                result[labels[differ] == number] = cell
            given = {"at": list(where), "new": list(after_of)}
            put, kept = partial(_put, box, differ, result), np.where(differ, labels, -1)
            return self._correct("paint", given, ids, time, put, boxes=boxes, added=kept)

    def renumber(self) -> Change:
        """Give all cells the ids 1..n in the order of their first voxels, as a fresh segmentation has them.

        All labels are read and written, and all voxels are kept. This is the only change that uses old ids again.

        Returns
        -------
        Change

        Examples
        --------
        >>> bigcp3d.edit("tissue.zarr").renumber().kind
        'renumber'
        """
        times = range(self.labels.times)
        with self._held():
            self._largest()
            plans = {time: plan_new_ids(self.labels, time) for time in times}
            change = self._next("renumber", {}, [], 0)
            whole = Box.of_shape(self.labels.levels[0].shape)
            write = partial(renumber_labels, self.target, plans)
            change_labels(self.target, self.changes, change, whole, times, write)
            return change

    def _box_at(self, start: Vec3, shape: Sequence[int]) -> Box:
        box = Box(start, vec3(np.add(start, shape)))
        if box.clip(self.labels.levels[0].shape) != box:
            raise InputError(
                f"the cells in {box.start} to {box.stop} reach beyond the volume of "
                f"{self.labels.levels[0].shape} voxels (z, y, x); give another place with --at"
            )
        return box

    def _find_parts(
        self, mask: NDArray[np.bool_], box: Box, time: int, spacing: Sequence[float], cell: int
    ) -> tuple[NDArray[np.int32], float]:
        for closing, found in find_parts(self.labels, self.target, self.image, box, time):
            numbered = split_along(mask, found, spacing)
            if numbered.max() > 1:
                return numbered, closing
        raise InputError(f"cell {cell} does not fall into parts with any smaller closing; give --parts or --seed")


def edit(store: str | Path, name: str = DEFAULT_NAME, *, image: str | Path | None = None) -> Edits:
    """Open labels to correct single cells: merge, split, delete, add, renumber, undo.

    Parameters
    ----------
    store : str or Path
        An image with labels, a labels group, or one labels image.
    name : str, default "cells"
        Name of the labels.
    image : str or Path, optional
        The image of the labels, where they do not name one that may be opened.

    Returns
    -------
    Edits

    Raises
    ------
    InputError, TargetError
        If there are no such labels, or they cannot be changed where they are.

    Examples
    --------
    >>> edits = bigcp3d.edit("tissue.zarr")
    >>> edits.merge(1, 2).kind, len(edits.undo())
    ('merge', 1)
    """
    return Edits(store, name, image=image)


def _put(box: Box, where: NDArray[np.bool_], ids: NDArray[np.integer[Any]], inner: Labels, around: Box) -> Labels:
    """The labels of the box ``around``, with new ids at some voxels of ``box``, which lies inside it."""
    after = inner.copy()
    after[box.slices(around.start)][where] = ids.astype(inner.dtype)
    return after


def _without(ids: Sequence[int], inner: Labels, around: Box) -> Labels:
    return np.where(mask_of(inner, ids), 0, inner).astype(inner.dtype)


def _mark(mask: NDArray[np.bool_], seeds: Sequence[Sequence[int]], box: Box, cell: int) -> NDArray[np.int32]:
    """Seeds numbered from 1 in an array of the cell's shape; refuses seeds outside of the cell."""
    marked = np.zeros(mask.shape, np.int32)
    for number, seed in enumerate(seeds, start=1):
        at = vec3(np.subtract(vec3(seed), box.start))
        inside = all(0 <= a < s for a, s in zip(at, mask.shape, strict=True)) and mask[at]
        if not inside:
            raise InputError(
                f"the seed {vec3(seed)} lies outside of cell {cell}, which lies in {box.start} to {box.stop}"
            )
        marked[at] = number
    return marked
