"""A table of the cells of any labels: block by block, serially or on Dask, then written where it was asked for.

Each block gives sums of its cells, which add up to the same table whatever the blocks and their order. They come back
to this process, some 300 bytes a cell and block; the table is kept in memory, and no volume is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import bigcp3d
from bigcp3d.edge.cell_tables.cell_files import check_cell_file, write_cell_file
from bigcp3d.edge.cell_tables.label_table import check_label_table, table_path, write_label_table
from bigcp3d.edge.labels.label_plan import LabelTarget
from bigcp3d.edge.stores.places import Place, place
from bigcp3d.edge.workdir.records import read_record, write_record
from bigcp3d.edge.workdir.tables import read_table
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.cells.cell_sums import CellSums
from bigcp3d.pure.cells.cell_table import Columns
from bigcp3d.schedule.clusters.machines import Machines
from bigcp3d.schedule.planning.request import Request
from bigcp3d.schedule.running.events import Observer, Warned
from bigcp3d.work.analyse.measure import Measurement, measure_block, plan_measurement
from bigcp3d.work.plan.plan import Plan
from bigcp3d.work.run.run import ONCE

IN_STORE = "zarr"
"""What asks for a table inside the store, where a file name could stand."""

TABLE = "table"
"""Record that a run has begun to write its table, so that what lies there is its own."""

OnBlock = Callable[[int, int], None]
Task = tuple[int, Vec3]
"""Time point and block."""


@dataclass(frozen=True, eq=False)
class CellTable:
    """The cells of labels; ``columns`` by name, one row a cell and time point, and what was measured."""

    columns: Columns
    what: Measurement

    def __len__(self) -> int:
        return len(self.columns["label"])

    def about(self) -> dict[str, Any]:
        """What the table is of."""
        image = self.what.image
        return {
            "version": bigcp3d.__version__,
            "labels": self.what.labels.path,
            "image": None if image is None else image.path,
            "scale_um": self.what.labels.levels[0].scale_um,
        }

    def write(self, output: str | Path) -> Place:
        """Write it to a ``.csv`` or ``.parquet`` file, or into the store (``"zarr"``), in place of what is there."""
        if str(output) == IN_STORE:
            return write_label_table(self.what.labels, self.columns, self.about())
        write_cell_file(output, self.columns, self.about())
        return Path(output)


def check_output(output: str | Path, what: Measurement, *, overwrite: bool) -> None:
    """Refuse an output that could not be written, before anything is measured."""
    if str(output) != IN_STORE:
        check_cell_file(output, overwrite=overwrite)
    else:
        check_label_table(table_path(what.labels), overwrite=overwrite)


def measure(
    store: str | Path,
    name: str = "cells",
    *,
    output: str | Path | None = None,
    image: str | Path | None = None,
    channels: Sequence[int | str] | None = None,
    work_dir: str | Path | None = None,
    block: Vec3 | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    memory_limit: str | int | None = None,
    machines: Machines | None = None,
    overwrite: bool = False,
    on_block: OnBlock | None = None,
) -> CellTable:
    """Measure every cell of labels.

    Parameters
    ----------
    store : str or Path
        An OME-Zarr image with labels, a labels group, or one labels image; ours or of another tool.
    name : str
        Of the labels.
    output : str or Path, optional
        A ``.csv`` or ``.parquet`` file, or "zarr" for a table inside the store (``tables/<name>``).
    image, channels
        Whose intensities are measured, default all channels of the labels' own image; see
        `bigcp3d.work.analyse.measure.plan_measurement`.
    work_dir : str or Path, optional
        Of the run that made the labels, if it is kept: gives each cell's mean predicted foreground and flow error.
    block : tuple of int, optional
        No number depends on it.
    workers, scheduler, memory_limit
        A local Dask cluster of so many workers, or a running one; neither: serially, in this process.
    machines : Machines, optional
        In the place of these three: any cluster.
    overwrite : bool
        Replace what is at ``output``.
    on_block : callable, optional
        Told after each block how many of how many are done.

    Returns
    -------
    CellTable
        Columns: `bigcp3d.pure.cells.cell_table.tabulate_cells`; ``time`` in front where there are several time points.
    """
    what = plan_measurement(store, name, image=image, channels=channels, block=block)
    if work_dir is not None and not any(Path(work_dir).glob("t*/objects.npz")):
        raise InputError(
            f"{work_dir}: found no cells of a run; needed is a work directory that 'bigcp3d segment --keep-maps' left; "
            "give it, or leave --work-dir out"
        )
    if output is not None:
        check_output(output, what, overwrite=overwrite)
    tasks: list[Task] = [(time, index) for time in range(what.labels.times) for index in what.grid]
    done = 0

    def told(parts: Iterable[CellSums]) -> Iterator[CellSums]:
        nonlocal done
        for part in parts:
            done += 1
            if on_block is not None:
                on_block(done, len(tasks))
            yield part

    def run(compute: Callable[[list[Task]], Iterable[CellSums]]) -> list[CellSums]:
        times = range(what.labels.times)
        return [what.merge(told(compute([task for task in tasks if task[0] == time]))) for time in times]

    if machines is None and (workers, scheduler) != (None, None):
        machines = Machines(scheduler, workers=workers, memory_limit=memory_limit)
    if machines is None:
        merged = run(lambda mine: (measure_block(what, *task) for task in mine))
    else:
        merged = _on_dask(what, run, machines)
    table = CellTable(_tabulate(what, merged, work_dir), what)
    if output is not None:
        table.write(output)
    return table


def _on_dask(
    what: Measurement,
    run: Callable[[Callable[[list[Task]], Iterable[CellSums]]], list[CellSums]],
    machines: Machines,
) -> list[CellSums]:
    """The same on a cluster; results are taken as they come."""
    from distributed import as_completed

    from bigcp3d.schedule.clusters.connect import connect

    machines.check()
    with connect(machines) as client:
        shared = client.scatter(what, broadcast=True, hash=False)

        def compute(tasks: list[Task]) -> Iterator[CellSums]:
            times, blocks = zip(*tasks, strict=True)
            futures = client.map(measure_block, [shared] * len(tasks), times, blocks, key="measure", pure=False)
            for future in as_completed(futures, loop=client.loop):
                yield future.result()
                future.release()

        return run(compute)


def _tabulate(what: Measurement, merged: list[CellSums], work_dir: str | Path | None) -> Columns:
    """The rows of all time points."""
    tables = []
    for time, cells in enumerate(merged):
        columns = what.tabulate(cells)
        if work_dir is not None:
            columns |= recorded_columns(columns, Path(work_dir) / f"t{time}" / "objects.npz")
        if what.labels.times > 1:
            columns = {"time": np.full(len(columns["label"]), time), **columns}
        tables.append(columns)
    shared = [name for name in tables[0] if all(name in columns for columns in tables)]
    return {name: np.concatenate([columns[name] for columns in tables]) for name in shared}


def recorded_columns(columns: Columns, file: Path) -> Columns:
    """What a run knew of its cells and labels do not hold: mean predicted foreground and flow error.

    Cells with another volume than the run's are NaN: the labels were changed since. No columns where most are.
    """
    if not file.exists():
        return {}
    known = read_table(file)
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


def check_run_table(plan: Plan, request: Request) -> None:
    """Refuse a table that a run could not write in the end, or that is there and not this very run's own."""
    if request.table is None:
        return
    said = read_record(f"{plan.work_dir}/records", TABLE, ONCE)
    overwrite = request.overwrite or (said is not None and said["output"] == str(request.table))
    if request.table != IN_STORE:
        check_cell_file(request.table, overwrite=overwrite)
    else:
        check_label_table(place(plan.target.group) / "tables" / plan.target.name, overwrite=overwrite)


def measure_run(plan: Plan, request: Request, observe: Observer) -> None:
    """Measure the labels that a run has finished, if asked to, with what it knew of its cells; on as many workers."""
    if request.table is not None:
        write_record(f"{plan.work_dir}/records", TABLE, ONCE, {"output": str(request.table)})
        serial = request.executor == "serial"
        measure(
            str(plan.target.path),
            plan.target.name,
            output=request.table,
            image=plan.image.path,
            work_dir=plan.work_dir,
            machines=None if serial else request.machines,
            overwrite=True,  # asked before the run
        )
    else:
        warn_of_old_table(plan.target, observe)


def warn_of_old_table(target: LabelTarget, observe: Observer) -> None:
    """Say that a table in the store is that of labels before these, where there is one."""
    if (old := place(target.group) / "tables" / target.name).exists():
        observe(Warned(f"{old} describes earlier labels; renew it: bigcp3d measure {target.path} --overwrite"))
