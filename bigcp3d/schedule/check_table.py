"""Refuses a table of cells that cannot be written, before anything is computed. Imports nothing that measures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bigcp3d.edge.cell_tables.cell_files import check_cell_file
from bigcp3d.edge.cell_tables.label_table import check_label_table
from bigcp3d.edge.labels.label_plan import LabelTarget
from bigcp3d.edge.stores.beside_store import beside_store
from bigcp3d.edge.stores.places import Place, is_address, lies_in, place
from bigcp3d.edge.stores.remote import Remote
from bigcp3d.errors import TargetError
from bigcp3d.schedule.planning.request import Request
from bigcp3d.work.plan.plan import Plan
from bigcp3d.work.run.work_dir import WorkDir

IN_STORE = "zarr"
"""Means a table inside the store instead of a file."""

BESIDE = "csv"
"""Means the file STORE.NAME.csv beside the store, the default of the command line."""

TABLE = "table"
"""Record that a run has begun to write its table, so that it may replace the table."""


def in_file(output: str | Path | None) -> bool:
    """Whether a table goes into a file that the user named."""
    return output is not None and str(output) not in (IN_STORE, BESIDE)


def check_output(output: str | Path, in_store: Callable[[], Place], *, overwrite: bool, may_write: bool = True) -> None:
    """Refuse a table that cannot be written, before anything is measured. ``in_store`` gives its place in the store.

    If ``may_write``, an object is written to a bucket and removed again, since nothing else shows the permission.
    """
    if str(output) == IN_STORE:
        path = in_store()
        check_label_table(path, overwrite=overwrite)
        if may_write and isinstance(path, Remote):
            path.parent.check_writable()
    else:
        check_cell_file(output, overwrite=overwrite)


def table_of(target: LabelTarget) -> Place:
    """The place in the store of the table of labels."""
    return place(target.group) / "tables" / target.name


def file_beside(target: LabelTarget) -> Path:
    """The file of the table of labels on this machine that goes beside their store."""
    return beside_store(target.group, f".{target.name}.csv")


def table_output(target: LabelTarget, table: str | Path) -> str | Path:
    """Where the table of a run goes: a file, or `IN_STORE`."""
    if str(table) != BESIDE:
        return table
    if is_address(target.group):
        raise TargetError(f"{target.group}: a table cannot go beside an address; give --table FILE.csv, or zarr")
    return file_beside(target)


def check_run_table(plan: Plan, request: Request) -> None:
    """Refuse a table that the run cannot write at its end, or that exists and is not of this run."""
    if request.table is not None:
        said = WorkDir.of(plan).read_once(TABLE)
        output = table_output(plan.output.target, request.table)
        overwrite = request.overwrite or (said is not None and said["output"] == str(output))
        if str(request.table) == BESIDE and Path(output).is_file() and not overwrite:
            raise TargetError(
                f"{output}: this file exists already, and the table of the cells would go there; move it away, give "
                "--overwrite to replace it, --table FILE.csv to write another file, or --table none to write no table"
            )
        if str(output) != IN_STORE and lies_in(output, plan.storage.work_dir):
            raise TargetError(
                f"{output}: the table lies in the work directory {plan.storage.work_dir}, which the run empties; give "
                "another file, or another --work-dir"
            )
        check_output(output, lambda: table_of(plan.output.target), overwrite=overwrite, may_write=False)
