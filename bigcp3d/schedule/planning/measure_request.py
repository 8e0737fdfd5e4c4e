"""What a user asks of a measurement of cells: every option of `bigcp3d.measure` once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from bigcp3d.option import Option
from bigcp3d.pure.boxes import Vec3
from bigcp3d.schedule.planning.request import MACHINE, MemoryLimit

WHAT = "What is measured"
TABLE = "Where the table goes"


@dataclass(frozen=True)
class MeasureRequest:
    """The options of a measurement; the arguments of `bigcp3d.measure`."""

    store: Annotated[
        str | Path,
        Option(
            "OME-Zarr image with labels, a labels group, or one labels image.",
            metavar="STORE",
            positional=True,
        ),
    ]
    name: Annotated[str, Option("Which labels: labels/NAME; of any tool.", WHAT)] = "cells"
    image: Annotated[
        str | Path | None,
        Option("Whose intensities are measured. Default: the image that the labels belong to.", WHAT, "IN.zarr"),
    ] = None
    channel: Annotated[
        int | str | Sequence[int | str] | None,
        Option("Channel, from 0, or its name; several may be given. Default: all.", WHAT, "N", many=True),
    ] = None
    work_dir: Annotated[
        str | Path | None,
        Option(
            "What a run with --keep-maps left: adds the mean predicted foreground of each cell, and the flow error "
            "where it was checked.",
            WHAT,
            "DIR",
        ),
    ] = None
    output: Annotated[
        str | Path | None,
        Option(
            "FILE.csv, FILE.parquet, or zarr: AnnData in STORE/tables/NAME, for ngio, anndata and SpatialData (needs "
            "bigcp3d[anndata]).",
            TABLE,
            "FILE|zarr",
        ),
    ] = None
    overwrite: Annotated[bool, Option("Replace a table that is there.", TABLE)] = False
    workers: Annotated[int | None, Option("Worker processes. Default: this process alone.", MACHINE, "N")] = None
    memory_limit: MemoryLimit = None
    scheduler: Annotated[
        str | None,
        Option(
            "Address of a running Dask scheduler (tcp://host:8786). Its workers need the same files and packages. "
            "Default: none.",
            MACHINE,
            "ADDRESS",
        ),
    ] = None
    block: Annotated[
        Vec3 | None, Option("Voxels that are read at a time; no number depends on it. Default: chosen.", flag="")
    ] = None
