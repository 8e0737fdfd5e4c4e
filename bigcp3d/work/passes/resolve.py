"""From components to cells: objects are joined over blocks, filtered, and numbered by their first voxels.

A run of one range of first voxels (`bigcp3d.work.plan.id_ranges`) does all of it in one task, `resolve`, or in `join`
and `resolve` if ``check`` needs whole objects before the filters. A larger run splits the work, so that no task sees
the components of all blocks::

    stitch, a block   finds the objects that are whole among its neighbours, and writes the totals of its own
    join, once        joins the components that are left: those of objects that span three blocks
    gather, once      lists in which ranges of first voxels each line of blocks has objects
    filter, a range   adds up, filters, writes the cells of the range in the order of their first voxels
    resolve, once     counts the cells before those of each plane of each range, from which ids follow

All sums are whole numbers, so it does not matter in which order they are added.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.workdir.records import read_record
from bigcp3d.edge.workdir.tables import open_rows, write_rows, write_table
from bigcp3d.pure.boxes import Box, Vec3, vec3
from bigcp3d.pure.cells.found import CellCounts, count_cells, sum_up_cells
from bigcp3d.pure.group.objects import flow_errors, keep_objects, mean_foreground
from bigcp3d.pure.read_ahead import THREADS, read_each
from bigcp3d.pure.track.sinks import FIRST, ROW, Sums
from bigcp3d.work.passes.join import join
from bigcp3d.work.plan.id_ranges import IdRanges
from bigcp3d.work.plan.pass_blocks import part_of
from bigcp3d.work.run.run import Run
from bigcp3d.work.run.work_dir import ONCE

TABLES = {"stitch": "whole", "check": "flow_errors"}
"""Passes whose rows have objects of several ranges, in the order of `IdRanges.order`. Their records name the ranges.

Those of `stitch` are the sums of each object, those of `check` its first voxel and a number: int64, shape (n, 2).
"""

SORTED = ("whole_cells", "cut_cells")
"""Files of the sorted arrays of `CellCounts`."""


def gather(run: Run, time: int, index: Vec3) -> dict[str, Any]:
    """Write in which ranges each line of blocks along x has objects: int64 (n, 3), range, and z and y of the blocks.

    Sorted by range. Ranges are bars along x, so nearly all blocks of a line have objects in the same ranges.
    """
    runs = {"stitch": True, "check": run.plan.checks_flow}
    for name in (name for name in TABLES if runs[name]):
        grid, part = part_of(run.plan, name)
        records = read_each(partial(_record, run, time, name), grid.visit(part), threads=THREADS)
        found = array("q")
        for line, blocks in groupby(zip(grid.visit(part), records, strict=True), key=lambda pair: pair[0][:2]):
            for one in set[int]().union(*(record["ranges"] for _, record in blocks)):
                found.extend((one, *line))
        rows = np.array(found, np.int64).reshape(-1, 3)
        write_rows(run.dir.rows("gathered", time, name), rows[np.argsort(rows[:, 0])])
    return {}


def filter_range(run: Run, time: int, index: Vec3) -> dict[str, Any]:
    """Filter the objects of one range; write its cells, and what `resolve` needs of them."""
    plan, part = run.plan, index[0]
    rows = [np.empty((0, ROW), np.int64), _rows_in(run.dir.vector("sums", time), plan.id_ranges, part)]
    if plan.stitches:
        blocks = _blocks_with(run, time, "stitch", part)
        rows += [_rows_in(run.dir.rows("whole", time, block), plan.id_ranges, part) for block in blocks]
    all_rows = np.concatenate(rows)
    sums = Sums.from_rows(all_rows[np.argsort(all_rows[:, FIRST])])
    del rows, all_rows
    squares = None
    if plan.checks_flow:
        squares = _add_up(run, time, "check", part, sums.first)
    seen = sums.image_vox > 0
    among = None if plan.where.roi is None else seen
    keep, removed = keep_objects(sums, plan.filters, squares, voxel=plan.voxel, among=among)
    if (keep & ~seen).any():  # so thin that no voxel of the labels looks at them
        removed["between the image's voxels"] = int(np.count_nonzero(keep & ~seen))
        keep &= seen
    counts = count_cells(sums.take(seen), keep[seen], plan.shape)
    _write_cells(run, time, part, sums.take(keep), None if squares is None else squares[keep], counts)
    return {"removed_here": removed, "totals": counts.totals}


def _write_cells(
    run: Run, time: int, part: int, cells: Sums, squares: NDArray[np.int64] | None, counts: CellCounts
) -> None:
    """Write the cells of a range: their table, their first voxels, and their sizes in order."""
    write_table(
        run.dir.objects(time, part),  # exact sums, and what derives from them
        mean_foreground=mean_foreground(cells),
        **({} if squares is None else {"flow_error": flow_errors(squares, cells)}),
        **cells.arrays(),
    )
    write_rows(run.dir.rows("first", time, part), cells.first)
    for name, columns in zip(SORTED, counts.sorted, strict=True):
        write_rows(run.dir.rows(name, time, part), columns)


def resolve(run: Run, time: int, index: Vec3) -> dict[str, Any]:
    """Give ids. Returns what was found."""
    plan = run.plan
    if plan.stitches:
        parts = [_record(run, time, "filter", vec3((part, 0, 0))) for part in range(plan.id_ranges.number)]
    else:
        if not plan.checks_flow:
            join(run, time, ONCE)
        parts = [filter_range(run, time, ONCE)]
    totals, removed = [part["totals"] for part in parts], Counter[str]()
    for part in parts:
        removed.update(part["removed_here"])
    cells = _number(run, time)

    def sorted_cells(kind: int) -> Iterator[NDArray[np.float64]]:
        return (open_rows(run.dir.rows(SORTED[kind], time, part)) for part in range(len(parts)))

    found = sum_up_cells(totals, sorted_cells, removed)
    return {"cells": cells, "removed": dict(removed), "found": found}


def _number(run: Run, time: int) -> int:
    """Write what makes a row of ``first`` an id, for each plane of each range; return the number of cells."""
    ranges, before = run.plan.id_ranges, 0
    for layer, parts in enumerate(ranges.layers):
        counts = np.empty((ranges.bars.block[0], len(parts)), np.int64)
        for column, part in enumerate(parts):
            planes = ranges.plane(open_rows(run.dir.rows("first", time, part)))
            counts[:, column] = np.bincount(planes, minlength=len(counts))
        ends = before + np.cumsum(counts).reshape(counts.shape)  # plane by plane, as ids go
        write_rows(run.dir.rows("id_bases", time, layer), ends - np.cumsum(counts, axis=0))
        before = int(ends[-1, -1])
    return before


def find_ids(run: Run, time: int, first: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ids of objects by their first voxels; 0 for those that were removed."""
    ids, ranges = np.zeros(len(first), np.int64), run.plan.id_ranges
    found = ranges.find(first)
    for part in np.unique(found[found < ranges.number]).tolist():  # the others are without voxels
        known, rows = open_rows(run.dir.rows("first", time, part)), np.flatnonzero(found == part)
        at = np.searchsorted(known, first[rows])
        hit = at < len(known)
        hit[hit] = known[at[hit]] == first[rows[hit]]
        layer, column = divmod(part, ranges.bars.counts[1])
        bases = open_rows(run.dir.rows("id_bases", time, layer))[:, column]
        ids[rows[hit]] = bases[ranges.plane(first[rows[hit]])] + at[hit] + 1
    return ids


def _record(run: Run, time: int, name: str, index: Vec3) -> dict[str, Any]:
    """What a task that is done has counted."""
    found = read_record(run.dir.records(time), name, index)
    if found is None:
        raise FileNotFoundError(f"{run.dir.records(time)}: the record of {name} {index} is gone; run the command again")
    return found


def _rows_in(path: Path, ranges: IdRanges, part: int, column: int = FIRST) -> NDArray[np.int64]:
    """Rows of a file, in the order of `IdRanges.order`, whose first voxels lie in a range; few others are read."""
    rows = open_rows(path)
    begin, end = (bisect_left(rows, one, key=lambda row: int(ranges.find(row[column]))) for one in (part, part + 1))
    return np.array(rows[begin:end])  # a view would keep the file open


def _blocks_with(run: Run, time: int, name: str, part: int) -> Iterator[Vec3]:
    """Blocks of a pass whose rows may have objects in a range."""
    grid, whole = part_of(run.plan, name)
    if not run.plan.stitches:
        yield from grid.visit(whole)
        return
    found = open_rows(run.dir.rows("gathered", time, name))
    begin, end = (bisect_left(found, one, key=lambda row: int(row[0])) for one in (part, part + 1))
    for z, y in found[begin:end, 1:].tolist():
        core = grid.core((z, y, 0))
        line = Box(vec3((*core.start[:2], whole.start[2])), vec3((*core.stop[:2], whole.stop[2])))
        yield from grid.visit(line)


def _add_up(run: Run, time: int, name: str, part: int, first: NDArray[np.int64]) -> NDArray[np.int64]:
    """What a pass has counted in all blocks, for each object of a range; ``first`` are theirs, sorted."""
    total, ranges = np.zeros(len(first), np.int64), run.plan.id_ranges
    for block in _blocks_with(run, time, name, part):
        objects, counts = _rows_in(run.dir.rows(TABLES[name], time, block), ranges, part, column=0).T
        known = np.isin(objects, first)
        np.add.at(total, np.searchsorted(first, objects[known]), counts[known])
    return total
