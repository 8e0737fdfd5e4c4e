"""Makes a table of the cells of any labels, block by block, in this process or on Dask.

Each block gives sums over its cells. They add up to the same table for all blocks and orders. Only the table is held in
memory, never the volume: about 500 bytes a cell, and up to 1,100 while sums are added and the table is made.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bigcp3d.edge.cell_tables.cell_files import write_cell_file
from bigcp3d.edge.cell_tables.label_table import table_path, write_label_table
from bigcp3d.edge.labels.edit_log import EditLog
from bigcp3d.edge.labels.label_plan import LabelTarget
from bigcp3d.edge.stores.places import Place, is_address, place
from bigcp3d.edge.stores.platforms import join_words
from bigcp3d.edge.workdir.records import write_record
from bigcp3d.edge.workdir.tables import read_table
from bigcp3d.errors import InputError
from bigcp3d.option import takes
from bigcp3d.pure.cells.cell_sums import CellSums
from bigcp3d.pure.cells.cell_table import Columns
from bigcp3d.schedule.check_table import BESIDE, IN_STORE, TABLE, check_output, file_beside, table_of, table_output
from bigcp3d.schedule.clusters.requested_machines import Machines
from bigcp3d.schedule.edits.correction import settle_labels
from bigcp3d.schedule.over_blocks import Compute, machines_of, over_blocks
from bigcp3d.schedule.planning.measure_request import MeasureRequest
from bigcp3d.schedule.planning.request import Request
from bigcp3d.schedule.running.events import Observer, Warned
from bigcp3d.version import __version__
from bigcp3d.work.analyse.blocks_read import BlocksRead
from bigcp3d.work.analyse.measure import Measurement, measure_block, plan_measurement, warn_of_unknown
from bigcp3d.work.plan.plan import Plan
from bigcp3d.work.run.work_dir import OBJECTS, ONCE, WorkDir

MOST_BESIDE = 1_000_000
"""Cells of the largest table that is written without being named: about 1,100 bytes of memory and 300 of disk each."""


@dataclass(frozen=True, eq=False)
class MeasuredCells:
    """The cells of labels: ``columns`` by name, with one row for each cell and time point, and what was measured.

    ``changes`` is the number of the last change by hand that the labels had then.
    """

    columns: Columns
    what: Measurement
    changes: int = 0

    def __len__(self) -> int:
        return len(self.columns["label"])

    def about(self) -> dict[str, Any]:
        """What the table describes."""
        return {
            "version": __version__,
            "labels": self.what.labels.path,
            "image": self.what.image and self.what.image.path,
            "scale_um": self.what.labels.levels[0].scale_um,
            "changes": self.changes,
        }

    def write(self, output: str | Path) -> Place:
        """Write to a ``.csv`` or ``.parquet`` file, or into the store (``"zarr"``). Replaces an existing table."""
        if str(output) == IN_STORE:
            return write_label_table(self.what.labels, self.columns, self.about())
        write_cell_file(output, self.columns, self.about())
        return Path(output)


@takes(MeasureRequest)
def measure(
    store: str | Path,
    name: str = MeasureRequest.name,
    *,
    on_event: Callable[[BlocksRead], None] | None = None,
    **arguments: Any,
) -> MeasuredCells:
    """Measure every cell of labels.

    Without ``workers`` and ``scheduler``, all is done in this process.

    Parameters
    ----------
    **arguments
    on_event : callable, optional
        Receives the number of finished blocks and of all blocks, after each block.

    Returns
    -------
    MeasuredCells
        Columns: `bigcp3d.pure.cells.cell_table.tabulate_cells`; ``time`` in front where there are several time points.

    Examples
    --------
    >>> cells = bigcp3d.measure("tissue.zarr", "cells", output="cells.csv")
    >>> len(cells) == len(cells.columns["volume_um3"]) > 10
    True
    """
    request = MeasureRequest(store, name, **arguments)
    return measure_on(machines_of(request), request, on_event)


def measure_on(
    machines: Machines | None, request: MeasureRequest, on_event: Callable[[BlocksRead], None] | None = None
) -> MeasuredCells:
    """Measure on a cluster, or in this process if ``machines`` is None."""
    what = plan_measurement(
        request.store, request.name, image=request.image, channel=request.channel, block=request.block
    )
    settle_labels(what.labels.path, "")
    if request.work_dir is not None and not any(WorkDir(request.work_dir).own.glob(f"t*/{OBJECTS}")):
        raise InputError(
            f"{request.work_dir}: there are no cells of a run in this folder; give the work directory of a 'bigcp3d "
            "segment --keep-maps', or leave --work-dir out"
        )
    if request.output is not None:
        check_output(request.output, lambda: table_path(what.labels), overwrite=request.overwrite)
    with over_blocks(what, machines) as compute:
        cells = measure_with(compute, what, work_dir=request.work_dir, on_event=on_event)
    if request.output is not None:
        cells.write(request.output)
    return cells


def measure_with(
    compute: Compute,
    what: Measurement,
    *,
    work_dir: str | Path | None = None,
    on_event: Callable[[BlocksRead], None] | None = None,
) -> MeasuredCells:
    """Measure all blocks of all time points."""
    done, changes = itertools.count(1), len(EditLog(place(what.labels.path)).changes())

    def told(parts: Iterable[CellSums]) -> Iterator[CellSums]:
        for part in parts:
            if on_event is not None:
                on_event(BlocksRead(next(done), len(what.grid) * what.labels.times))
            yield part

    merged = [what.merge(told(compute(measure_block, time))) for time in range(what.labels.times)]
    warn_of_unknown(what.labels.path, sum(sums.unknown_vox for sums in merged))
    return MeasuredCells(_tabulate(what, merged, work_dir), what, changes)


def _tabulate(what: Measurement, merged: list[CellSums], work_dir: str | Path | None) -> Columns:
    tables = []
    for time, cells in enumerate(merged):
        columns = what.tabulate(cells)
        if work_dir is not None:
            columns |= recorded_columns(columns, WorkDir(work_dir).all_objects(time))
        if what.labels.times > 1:
            columns = {"time": np.full(len(columns["label"]), time), **columns}
        tables.append(columns)
    shared = [name for name in tables[0] if all(name in columns for columns in tables)]
    return {name: np.concatenate([columns[name] for columns in tables]) for name in shared}


def recorded_columns(columns: Columns, files: Sequence[Path]) -> Columns:
    """Mean predicted foreground and flow error of cells, from the files of the run that made them.

    NaN for cells whose volume has changed since the run. No columns if this holds for most cells.
    """
    if not files:
        return {}
    wanted, tables = ("count", "image_vox", "mean_foreground", "flow_error"), [read_table(file) for file in files]
    by_id = np.argsort(np.concatenate([t["first"] for t in tables]))
    known = {name: np.concatenate([t[name] for t in tables])[by_id] for name in wanted if name in tables[0]}
    row = columns["label"].astype(np.int64) - 1
    same = row < len(known["count"])
    same[same] = known["image_vox"][row[same]] == columns["volume_vox"][same]
    found: Columns = {}
    for name, column in (("foreground", "mean_foreground"), ("flow_error", "flow_error")):
        if column in known and np.count_nonzero(same) * 2 > len(row):
            values = np.full(len(row), np.nan)
            values[same] = known[column][row[same]]
            found[name] = values
    return found


def measure_run(plan: Plan, request: Request, cells: int, observe: Observer) -> str | None:
    """Measure the finished labels of a run, if the user wants a table, on its machines. Returns the table's place."""
    target, written = plan.output.target, None
    if str(request.table) == BESIDE and cells > MOST_BESIDE:
        command = _command(target, file_beside(target))
        observe(Warned(f"no table is written of {cells:,} cells, to save time and memory; to write one: {command}"))
    elif request.table is not None:
        output = table_output(target, request.table)
        write_record(WorkDir.of(plan).records(), TABLE, ONCE, {"output": str(output)})
        asked = MeasureRequest(
            str(target.path),
            target.name,
            output=output,
            image=plan.source.image.path,
            work_dir=plan.storage.work_dir,
            overwrite=True,  # checked before the run
        )
        measure_on(None if request.executor == "serial" else request.machines, asked)
        written = str(table_of(target) if str(output) == IN_STORE else output)
    warn_of_old_table(target, observe, written)
    return written


def warn_of_old_table(target: LabelTarget, observe: Observer, written: str | None = None) -> None:
    """Warn of a table in the store, or beside it, that describes earlier labels of this name, if not just written."""
    if (old := table_of(target)).exists() and str(old) != written:
        observe(Warned(f"{old} describes earlier labels; renew it: {_command(target)} --overwrite"))
    if not is_address(target.group) and (file := file_beside(target)).exists() and str(file) != written:
        observe(Warned(f"{file} describes earlier labels; renew it: {_command(target, file)} --overwrite"))


def _command(target: LabelTarget, file: Path | None = None) -> str:
    """The command that writes the table of labels to a file, or where it is by default."""
    output = [] if file is None else ["--output", str(file)]
    return join_words(["bigcp3d", "measure", str(target.path), *output])
