"""The options of linking cells over time, each declared once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from bigcp3d.edge.labels.default_name import DEFAULT_NAME
from bigcp3d.option import Option
from bigcp3d.schedule.planning.request import MACHINE, MemoryLimit, Scheduler

WHAT = "What is linked"
RESULT = "Where the result goes"


@dataclass(frozen=True)
class LinkRequest:
    """The options of linking; the arguments of `bigcp3d.link`."""

    store: Annotated[str | Path, Option(metavar="STORE", positional=True)]
    """OME-Zarr image with labels of several time points, or one labels image."""
    name: Annotated[str, Option(WHAT)] = DEFAULT_NAME
    """Name of the labels: labels/NAME. Any tool may have written them."""
    max_distance_um: Annotated[float | None, Option(WHAT, "UM")] = None
    """Largest distance of a link, in micrometres (in voxels if the image has no scale). It is measured from the place
    where the cell is expected. Cells that are farther away are not linked. Default: the
    median diameter of the cells."""
    no_divisions: Annotated[bool, Option(WHAT)] = False
    """Allow no divisions: each cell has at most one successor."""
    table: Annotated[str | Path | None, Option(RESULT, "FILE|zarr")] = None
    """Also write a table of the cells with the columns track and parent_track: FILE.csv, FILE.parquet, or zarr for one
    inside the store (as bigcp3d measure does)."""
    track_labels: Annotated[str | None, Option(RESULT, "NAME")] = None
    """Also write labels/NAME, in which the id of a cell is the number of its track, the same at all time points."""
    overwrite: Annotated[bool, Option(RESULT)] = False
    """Replace an existing lineage, table and labels/NAME."""
    workers: Annotated[int | None, Option(MACHINE, "N")] = None
    """Number of worker processes. Default: everything runs in this process."""
    memory_limit: MemoryLimit = None
    scheduler: Scheduler = None
