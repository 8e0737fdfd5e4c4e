"""What a user asks of a segmentation: every option once, and what is refused before any image is opened.

Imports nothing heavy, since the command line reads the options from here whenever it shows its help.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from bigcp3d.errors import InputError
from bigcp3d.option import Option, check_choices
from bigcp3d.pure.boxes import Vec3

if TYPE_CHECKING:
    from bigcp3d.schedule.clusters.machines import Machines

IMAGE = "What to segment"
RESULT = "Where the labels go"
CELLS = "Which cells are kept (measured on whole cells, never on pieces)"
METHOD = "How cells are found"
MACHINE = "Blocks and machines (none of these changes the labels)"
RUN = "The run"

LARGEST_CLOSING = 21
"""The closing of the largest radius whose paths can be stored."""

SWEPT = ("foreground", "radius_vox", "min_volume", "max_volume", "min_foreground", "max_elongation", "max_flow_error")
"""Settings of which a sweep tries several values."""

Roi = str | Sequence[tuple[float | None, float | None]]
MemoryLimit = Annotated[
    str | int | None,
    Option(
        MACHINE,
        "SIZE",
        asked=False,
        help="Memory of one worker, such as 4GiB. Default: this machine's memory, divided among the workers.",
    ),
]
Scheduler = Annotated[
    str | None,
    Option(
        MACHINE,
        "ADDRESS",
        asked=False,
        help="Address of a running Dask scheduler (tcp://host:8786). Its workers need the same files and packages. "
        "Default: a cluster is started.",
    ),
]


@dataclass(frozen=True)
class Request:
    """The options of a segmentation; the arguments of `bigcp3d.segment`."""

    source: Annotated[str | Path, Option(metavar="IN.zarr", positional=True, asked=False)]
    """OME-Zarr image (0.1 to 0.5): a path, s3://BUCKET/PATH or https://."""
    diameter_um: Annotated[float | None, Option(IMAGE, "UM")] = None
    """Expected cell diameter in micrometres. The image is resampled so that cells have the diameter that the model
    knows. Default: the image is taken as it is."""
    diameter_vox: Annotated[float | None, Option(IMAGE, "VOX", "--diameter-voxels")] = None
    """The same in voxels of level 0, along its finest axis. The other axes follow from the scale; without a scale,
    voxels are cubes."""
    scale_um: Annotated[tuple[float, float, float] | None, Option(IMAGE, "Z Y X")] = None
    """Voxel size of level 0 in micrometres, where the store has none or a wrong one. Default: what the store says."""
    model: Annotated[str, Option(IMAGE, "NAME|PATH")] = "membrane"
    """membrane, nuclei, or a .safetensors file (see: bigcp3d models); cellpose:NAME or cellpose:PATH for a Cellpose
    model, run on xy, xz and yz planes."""
    channel: Annotated[int | str | Sequence[int | str] | None, Option(IMAGE, "N|NAME", many=True)] = None
    """Channel, from 0, or its name. Several for a model that takes several, in its order (see: bigcp3d models).
    Default: the first; for a model with several, the channels of the same names."""
    level: Annotated[int | None, Option(IMAGE, "N")] = None
    """Resolution to read, 0 the finest. Default: with a diameter the coarsest that is fine enough, else 0."""
    roi: Annotated[Roi | None, Option(IMAGE, "Z0:Z1,Y0:Y1,X0:X1")] = None
    """Label this region only, in voxels of level 0 (0:64,100:228,:), or in micrometres with um at its end. Cells inside
    are those of the whole volume, voxel by voxel; only their numbers differ."""
    mask: Annotated[str | Path | None, Option(IMAGE, "MASK.zarr")] = None
    """Look for cells where this OME-Zarr image or labels group is above 0. It shows the same volume at any
    resolution."""
    time: Annotated[str | int | None, Option(IMAGE, metavar="A:B")] = None
    """Time points: 5, or 3:10 for 3 to 9. Labels of the others stay empty. Default: all."""
    output: Annotated[str | Path | None, Option(RESULT, "OUT.zarr", asked=False)] = None
    """Another store for the labels, a path or s3://BUCKET/PATH, which points back to its source. Default: the image's
    own group."""
    labels_level: Annotated[int, Option(RESULT, "N")] = 0
    """Resolution of the image on which the labels lie, 0 the finest. Coarser labels are smaller files."""
    name: Annotated[str, Option(RESULT, asked=False)] = "cells"
    """Name of the labels: labels/NAME."""
    overwrite: Annotated[bool, Option(RESULT, asked=False)] = False
    """Replace labels of this name, and the table; discard an unfinished run with other settings. A run with the same
    settings is carried on."""
    keep_maps: Annotated[bool, Option(RESULT, asked=False)] = False
    """Keep the predicted maps (int8, 4 bytes a voxel) in WORK_DIR, to tune the later steps without predicting again:
    the same command with another threshold, radius, filter or --name finds them."""
    table: Annotated[str | Path | None, Option(RESULT, "FILE|zarr", asked=False)] = None
    """Measure the cells as well, one row each: FILE.csv, FILE.parquet, or zarr for a table inside the store (see:
    bigcp3d measure)."""
    min_volume: Annotated[float | None, Option(CELLS, "VOX")] = None
    """Smallest cell, in voxels of the image. Default: 1/40 of a ball of the expected diameter; 0 keeps all."""
    max_volume: Annotated[float | None, Option(CELLS, "VOX")] = None
    """Largest cell, in voxels of the image."""
    min_foreground: Annotated[float | None, Option(CELLS, "0..1")] = None
    """Lowest mean predicted foreground of a cell: how sure the network is of it. 0 keeps all. Default: the model's."""
    max_elongation: Annotated[float | None, Option(CELLS, "RATIO")] = None
    """Longest over shortest principal axis, 1 for a ball."""
    max_flow_error: Annotated[float | None, Option(CELLS, "E")] = None
    """Mean squared difference between the predicted flow and the flow of the cell found, in (voxels per step) squared,
    0 to about 4. Costs one more pass."""
    foreground: Annotated[float, Option(METHOD, "0..1")] = 0.5
    """Voxels with a predicted foreground above this belong to cells."""
    radius_vox: Annotated[float | None, Option(METHOD, "VOX")] = None
    """Expected cell radius in working voxels. Steps, reach (3 x) and closing follow from it. Default: half the model's
    diameter."""
    closing_vox: Annotated[int | None, Option(METHOD, "VOX")] = None
    """End points of paths nearer than about twice this are one cell, in working voxels, 0 to 21. Default: half the
    radius."""
    maps: Annotated[str | Path | None, Option(METHOD, "MAPS.zarr")] = None
    """Start from these maps, whatever they were predicted from: a WORK_DIR with kept maps, or maps of another tool,
    zarr or OME-Zarr, (4, Z, Y, X) or (T, 4, Z, Y, X), foreground 0..1 and flow z, y, x in voxels per step towards the
    cell's centre (store the negative of flows that point away); floats, cut to -1..1, or int8 times 127; no NaN. Give
    --radius with it."""
    start: Annotated[Literal["auto", "maps", "image"], Option(METHOD, flag="--from")] = "auto"
    """Where to start. auto: from maps that an earlier run on this image kept (--keep-maps), if they are those that this
    run would predict. maps: stop where there are none, and list what differs. image: predict."""
    precision: Annotated[Literal["auto", "float32", "bfloat16"], Option(METHOD)] = "auto"
    """In which the network computes. auto: bfloat16 where this machine has instructions for it, 2 to 4 times as fast.
    It changes the maps a little. A run is carried on in the precision in which it began."""
    block: Annotated[Vec3 | None, Option(MACHINE, "Z Y X")] = None
    """Block in working voxels. Default: chosen from the volume and the memory limit."""
    workers: Annotated[int | str | None, Option(MACHINE, "N|MIN:MAX", asked=False)] = None
    """Worker processes of the cluster that is started; with MIN:MAX as many as there is work for. Default: one a core
    of this machine."""
    memory_limit: MemoryLimit = None
    scheduler: Scheduler = None
    cluster: Annotated[str, Option(MACHINE, "KIND", asked=False)] = "local"
    """Where a cluster is started: local (this machine), slurm, lsf, pbs or ssh; all but local need --cluster-config.
    deploy/README.md says which to pick."""
    cluster_config: Annotated[str | Path | None, Option(MACHINE, "FILE.yaml", asked=False)] = None
    """What the cluster needs to know: memory of a worker, queue, hosts. Examples: deploy/*.yaml."""
    tls: Annotated[str | Path | None, Option(MACHINE, "DIR", asked=False)] = None
    """Encrypt Dask's connections and refuse others; DIR holds ca.pem, cert.pem and key.pem."""
    work_dir: Annotated[str | Path | None, Option(MACHINE, "DIR", asked=False)] = None
    """Folder for intermediate arrays and finished blocks, seen by all workers; a file system. Default: IN.bigcp3d/NAME;
    for s3:// targets BUCKET-IN.bigcp3d/NAME in the current directory."""
    executor: Annotated[Literal["dask", "serial"], Option(MACHINE, flag="--serial", switch="serial", asked=False)] = (
        "dask"
    )
    """One process, no Dask: the reference that Dask must equal."""
    on_error: Annotated[Literal["fail", "skip"], Option(RUN, asked=False)] = "fail"
    """Where a chunk of the input cannot be read. fail: its block fails, and blocks that do not need it are finished.
    skip: the chunk becomes background (label 0) and is listed."""
    missing_chunks: Annotated[Literal["fill", "fail"], Option(RUN)] = "fill"
    """Chunks of the image that are not in the store. fill: they have the fill value, as Zarr defines, and are counted.
    fail: they cannot be read; for images that are known to be whole."""

    def check(self) -> None:
        """Refuse values that no image could make right."""
        check_choices(self)
        positive = {
            "diameter": self.diameter_um,
            "diameter in voxels": self.diameter_vox,
            "radius": self.radius_vox,
            "max volume": self.max_volume,
            "max elongation": self.max_elongation,
            "max flow error": self.max_flow_error,
        }
        for what, value in positive.items():
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"{what} is {value}; it must be a positive number")
        if self.diameter_um is not None and self.diameter_vox is not None:
            raise InputError("a diameter was given in micrometres and one in voxels; leave one out")
        for what, triple in (("scale", self.scale_um), ("block", self.block)):
            if triple is not None and not all(math.isfinite(v) and v > 0 for v in triple):
                raise InputError(f"{what} is {triple}; it must be three positive numbers, in the order z y x")
        for what, share in (("foreground", self.foreground), ("min foreground", self.min_foreground)):
            if share is not None and not 0 <= share <= 1:
                raise InputError(f"{what} is {share}; it must lie between 0 and 1")
        if self.min_volume is not None and self.min_volume < 0:
            raise InputError(f"min volume is {self.min_volume}; it must be 0 or more voxels")
        if self.max_volume is not None and (self.min_volume or 0) > self.max_volume:
            raise InputError(f"min volume {self.min_volume} is above max volume {self.max_volume}; swap them")
        if self.closing_vox is not None and not 0 <= self.closing_vox <= LARGEST_CLOSING:
            raise InputError(f"closing is {self.closing_vox}; it must be 0 to {LARGEST_CLOSING} working voxels")
        if self.start == "image" and self.maps is not None:
            raise InputError(f"maps are {self.maps}, and the start is {self.start}; leave one of the two out")
        if self.executor == "serial" and (self.scheduler or self.workers or self.cluster != "local"):
            raise InputError(
                "--serial was given with --scheduler, --cluster or --workers; it runs in one process: leave one out"
            )
        self.machines.check()

    @cached_property
    def machines(self) -> Machines:
        """Where it runs; in this process alone, the machine is one worker."""
        from bigcp3d.schedule.clusters.machines import Machines

        workers = 1 if self.executor == "serial" else self.workers
        return Machines(self.scheduler, self.cluster, self.cluster_config, workers, self.tls, self.memory_limit)


@dataclass(frozen=True, kw_only=True)
class UpdateRequest(Request):
    """The options of an update: a segmentation of a region of labels that are there."""

    roi: Annotated[Roi, Option(IMAGE, "Z0:Z1,Y0:Y1,X0:X1")] = field()
    """The region, in voxels of level 0, or with um."""
    edited: Annotated[bool, Option(RESULT)] = False
    """Level 0 was corrected by hand in the region: segment nothing, and make its coarser levels again."""
