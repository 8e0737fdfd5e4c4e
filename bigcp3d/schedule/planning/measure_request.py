"""The options of a measurement of cells, each declared once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from bigcp3d.edge.labels.default_name import DEFAULT_NAME
from bigcp3d.option import Option
from bigcp3d.pure.boxes import Vec3
from bigcp3d.schedule.planning.request import MACHINE, MemoryLimit, Scheduler

WHAT = "What is measured"
TABLE = "Where the table goes"


@dataclass(frozen=True)
class MeasureRequest:
    """The options of a measurement; the arguments of `bigcp3d.measure`."""

    store: Annotated[str | Path, Option(metavar="STORE", positional=True)]
    """OME-Zarr image with labels, a labels group, or one labels image."""
    name: Annotated[str, Option(WHAT)] = DEFAULT_NAME
    """Name of the labels: labels/NAME. Any tool may have written them."""
    image: Annotated[str | Path | None, Option(WHAT, "IN.zarr")] = None
    """Image whose intensities are measured. Default: the image that the labels belong to."""
    channel: Annotated[int | str | Sequence[int | str] | None, Option(WHAT, "N|NAME", many=True)] = None
    """Number of the channel, from 0, or its name. May be repeated. Default: all."""
    work_dir: Annotated[str | Path | None, Option(WHAT, "DIR")] = None
    """Work directory of a run with --keep-maps. Adds the mean foreground of each cell, and its flow error if that run
    computed it."""
    output: Annotated[str | Path | None, Option(TABLE, "FILE|zarr")] = None
    """FILE.csv, FILE.parquet, or zarr: AnnData in STORE/tables/NAME, for ngio, anndata and SpatialData (needs
    bigcp3d[anndata])."""
    overwrite: Annotated[bool, Option(TABLE)] = False
    """Replace an existing table."""
    workers: Annotated[int | None, Option(MACHINE, "N")] = None
    """Number of worker processes. Default: everything runs in this process."""
    memory_limit: MemoryLimit = None
    scheduler: Scheduler = None
    block: Annotated[Vec3 | None, Option(flag="")] = None
    """Size of the blocks that are read, in voxels. The numbers do not depend on it. Default: chosen automatically."""
