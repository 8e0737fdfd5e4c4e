"""What a user asks of a measurement of cells: every option of `bigcp3d.measure` once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from bigcp3d.option import Option
from bigcp3d.pure.boxes import Vec3
from bigcp3d.schedule.planning.request import MACHINE, RESULT, MemoryLimit, Scheduler

WHAT = "What is measured"


@dataclass(frozen=True)
class MeasureRequest:
    """The options of a measurement; the arguments of `bigcp3d.measure`."""

    store: Annotated[str | Path, Option(metavar="STORE", positional=True)]
    """OME-Zarr image with labels, a labels group, or one labels image."""
    name: Annotated[str, Option(WHAT)] = "cells"
    """Which labels: labels/NAME; of any tool."""
    image: Annotated[str | Path | None, Option(WHAT, "IN.zarr")] = None
    """Whose intensities are measured. Default: the image that the labels belong to."""
    channel: Annotated[int | str | Sequence[int | str] | None, Option(WHAT, "N", many=True)] = None
    """Channel, from 0, or its name; several may be given. Default: all."""
    work_dir: Annotated[str | Path | None, Option(WHAT, "DIR")] = None
    """What a run with --keep-maps left: adds the mean predicted foreground of each cell, and the flow error where it
    was checked."""
    output: Annotated[str | Path | None, Option(RESULT, "FILE|zarr")] = None
    """FILE.csv, FILE.parquet, or zarr: AnnData in STORE/tables/NAME, for ngio, anndata and SpatialData."""
    overwrite: Annotated[bool, Option(RESULT)] = False
    """Replace a table that is there."""
    workers: Annotated[int | None, Option(MACHINE, "N")] = None
    """Worker processes. Default: this process alone."""
    memory_limit: MemoryLimit = None
    scheduler: Scheduler = None
    block: Annotated[Vec3 | None, Option(flag="")] = None
    """Voxels that are read at a time; no number depends on it. Default: chosen."""
