"""The options of a segmentation, each declared once, and the checks that need no image.

Imports nothing heavy, because the command line reads the options whenever it shows its help.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from bigcp3d.edge.labels.default_name import DEFAULT_NAME
from bigcp3d.errors import InputError
from bigcp3d.option import Option, Setting, check_choices, settings_of
from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.choices import PredictionPrecision

if TYPE_CHECKING:
    from bigcp3d.schedule.clusters.requested_machines import Machines

IMAGE = "What to segment"
RESULT = "Where the labels go"
CELLS = "Which cells are kept (measured on whole cells, never on pieces)"
METHOD = "How cells are found"
MACHINE = "Blocks and machines (none of these changes the labels)"
RUN = "The run"

LARGEST_CLOSING = 21
"""Closing radius in working voxels of the largest cells whose paths can be stored."""

AS_IS = "as-is"
"""In place of a diameter: the image is not resampled."""

SWEPT = (
    "prepare", "diameter_um", "diameter_vox", "foreground", "radius_vox", "closing_vox", "min_volume", "max_volume",
    "min_foreground", "max_elongation", "max_flow_error",
)  # fmt: skip
"""Settings that a sweep can vary. Those on which most depends come first: maps, then objects, then filters."""

ESTIMATED_FROM = ("source", "model", "channel", "scale_um", "prepare")
"""Settings that an estimate of the diameter takes."""

Roi = str | Sequence[tuple[float | None, float | None]]
MEMORY = (
    "Memory of one worker, such as 4GiB. Default: the memory of this machine, or of its container or job in "
    "a queue, divided among the workers."
)
MemoryLimit = Annotated[str | int | None, Option(MACHINE, "SIZE", asked=False, help=MEMORY)]
ADDRESS = (
    "Address of a Dask scheduler that already runs, such as tcp://host:8786. Its workers must see the same "
    "files. Default: bigcp3d starts a cluster itself."
)
Scheduler = Annotated[str | None, Option(MACHINE, "ADDRESS", asked=False, help=ADDRESS)]


@dataclass(frozen=True)
class Request:
    """The options of a segmentation; the arguments of `bigcp3d.segment`."""

    source: Annotated[str | Path, Option(metavar="IN.zarr", positional=True, asked=False)]
    """OME-Zarr image (0.1 to 0.6): a path, s3://BUCKET/PATH or https://."""
    diameter_um: Annotated[float | str | None, Option(IMAGE, "UM|as-is")] = None
    """Expected cell diameter in micrometres. The image is resampled so that cells have the diameter that the model
    knows. as-is: the image is not resampled. Default: estimated on a few crops (see: bigcp3d estimate-diameter); with
    --maps, as-is."""
    diameter_vox: Annotated[float | None, Option(IMAGE, "VOX", "--diameter-voxels")] = None
    """Expected cell diameter in voxels of level 0 (the full resolution), along the axis with the smallest voxel size.
    The other axes follow from the scale. Without a scale, voxels count as cubes."""
    scale_um: Annotated[tuple[float, float, float] | None, Option(IMAGE, "Z Y X")] = None
    """Voxel size of level 0 in micrometres, if that in the store is missing or wrong. Default: that of the store."""
    model: Annotated[str | None, Option(IMAGE, "NAME|PATH")] = None
    """membrane, nuclei, or a .safetensors file (see: bigcp3d models). cellpose:cpsam or cellpose:PATH for a Cellpose
    model, which runs on xy, xz and yz planes. Default: membrane or nuclei, whichever finds clearly more plausible cells
    on a few crops; if neither does, the command stops and lists both; a run from maps takes membrane."""
    channel: Annotated[int | str | Sequence[int | str] | None, Option(IMAGE, "N|NAME", many=True)] = None
    """Number of the channel, from 0, or its name. Give it several times for a model of several channels, in the model's
    order (see: bigcp3d models). Default: the channels with the model's names; for a model of one channel, the first."""
    level: Annotated[int | None, Option(IMAGE, "N")] = None
    """Resolution level of the image to read; 0 is the finest. Default: with a diameter, the coarsest level that is fine
    enough; otherwise 0."""
    prepare: Annotated[str | None, Option(IMAGE, "'NAME:SIZE ...'")] = None
    """Filters for the image before the network sees it, in their order: 'background:30um median:3px'. background:SIZE
    subtracts what is wider than SIZE. contrast:SIZE subtracts the mean of a window of SIZE, and divides by the standard
    deviation in it. clahe:SIZE equalises intensities in tiles. gaussian:SIGMA and median:SIZE smooth. Sizes are in
    micrometres; um may be left out. With px, sizes are in voxels of level 0, along the axis with the smallest voxel
    size. none (the default): no filter. Intensities are always measured on the unfiltered image."""
    roi: Annotated[Roi | None, Option(IMAGE, "Z0:Z1,Y0:Y1,X0:X1")] = None
    """Label this region only, such as 0:64,100:228,: (z, y, x) in voxels of level 0. With um at the end, the numbers
    are micrometres. A colon alone means the whole axis. Cells inside the region are the same, voxel by voxel, as in a
    run on the whole volume; only their ids differ."""
    mask: Annotated[str | Path | None, Option(IMAGE, "MASK.zarr")] = None
    """Look for cells only where this OME-Zarr image or labels group is above 0. It must cover the same volume, at any
    resolution."""
    time: Annotated[str | int | None, Option(IMAGE, metavar="A:B")] = None
    """Time points: 5, or 3:10 for 3 to 9. Labels of other time points stay empty. Default: all."""
    output: Annotated[str | Path | None, Option(RESULT, "OUT.zarr", asked=False)] = None
    """Store to write the labels into: a path or s3://BUCKET/PATH. The labels record which image they belong to.
    Default: the labels are written into the image's store."""
    labels_level: Annotated[int, Option(RESULT, "N")] = 0
    """Resolution level of the labels; 0 is the finest of the image. Labels of a higher level are coarser and take less
    space."""
    name: Annotated[str, Option(RESULT, asked=False)] = DEFAULT_NAME
    """Name of the labels: labels/NAME."""
    overwrite: Annotated[bool, Option(RESULT, asked=False)] = False
    """Replace labels of this name and their table, unless somebody has corrected them. An unfinished run with other
    settings is discarded. An unfinished run with the same settings continues. Kept maps in the work directory are
    discarded only if --from image is given too."""
    keep_maps: Annotated[bool, Option(RESULT, asked=False)] = False
    """Keep the predicted maps in the work directory: the foreground and the flow of each voxel, which take 4 bytes a
    voxel. A later run with another threshold, radius, filter or --name then uses them and does not predict again."""
    table: Annotated[str | Path | None, Option(RESULT, "FILE|csv|zarr", asked=False)] = None
    """Also measure the cells and write a table with one row for each (see: bigcp3d measure). FILE.csv or FILE.parquet:
    write this file. csv: write STORE.NAME.csv beside the store. zarr: a table inside the store. none: no table.
    Default: on the command line csv for stores on this machine; in Python no table. csv writes no table of more than a
    million cells."""
    min_volume: Annotated[float | None, Option(CELLS, "VOX")] = None
    """Volume of the smallest cell that is kept, in voxels of the image. 0 keeps all cells. Default: 1/40 of the volume
    of a ball of the expected diameter."""
    max_volume: Annotated[float | None, Option(CELLS, "VOX")] = None
    """Volume of the largest cell that is kept, in voxels of the image."""
    min_foreground: Annotated[float | None, Option(CELLS, "0..1")] = None
    """Lowest mean foreground of a cell. The foreground says how sure the network is that a voxel belongs to a cell. 0
    keeps all cells. Default: the value that the model states."""
    max_elongation: Annotated[float | None, Option(CELLS, "RATIO")] = None
    """Highest elongation of a cell: its longest principal axis divided by its shortest. A ball has 1."""
    max_flow_error: Annotated[float | None, Option(CELLS, "E")] = None
    """Highest flow error of a cell: the mean squared difference between the predicted flow and the flow of an ideal
    cell of this shape. 0 is perfect; about 4 is the largest possible value. Takes one more pass over the volume."""
    foreground: Annotated[float, Option(METHOD, "0..1")] = 0.5
    """Voxels with a predicted foreground of at least this belong to cells."""
    radius_vox: Annotated[float | None, Option(METHOD, "VOX")] = None
    """Expected cell radius in working voxels, which are the voxels of the resampled image. It sets how far a voxel
    follows the flow (3 radii at most), in how many steps, and the default of --closing. Default: half the diameter that
    the model knows."""
    closing_vox: Annotated[int | None, Option(METHOD, "VOX")] = None
    """Each voxel follows the flow to an end point near the centre of its cell. End points less than about twice this
    distance apart form one cell. In working voxels, 0 to 21. Default: a quarter of the radius."""
    maps: Annotated[str | Path | None, Option(METHOD, "MAPS.zarr")] = None
    """Start from these maps (foreground and flow of each voxel) and run no network: the work directory of a run with
    --keep-maps, or maps of another tool in zarr or OME-Zarr. Whether the maps belong to the image is not checked. Their
    shape is (4, Z, Y, X) or (T, 4, Z, Y, X). The four are the foreground, 0 to 1, and the flow along z, y and x in
    voxels per step. The flow must point towards the cell's centre; store the negative of flows that point away. Values
    are floats, which are cut to -1..1, or int8, which hold 127 times the value. NaN is an error. Give --radius with
    it."""
    start: Annotated[Literal["auto", "maps", "image"], Option(METHOD, flag="--from")] = "auto"
    """Whether to use maps that an earlier run on this image kept (--keep-maps). auto: use them if this run would
    predict the same maps; otherwise predict. maps: use them, or stop and list which settings differ. image: always
    predict."""
    precision: Annotated[PredictionPrecision, Option(METHOD)] = "auto"
    """Number format in which the network computes. bfloat16 changes the maps a little, and is 2 to 4 times as fast
    where the processor has instructions for it. int8 changes them a little more. It is faster than float32 on
    processors with AVX512-VNNI, and at most a third faster than bfloat16. It never uses a GPU, and needs a model of
    the architecture half, such as those that come with bigcp3d. auto: bfloat16 if the processor (or GPU) of the machine
    where you type the command has instructions for it, otherwise float32. So on a cluster, give this option. A run
    continues only in the precision in which it began."""
    block: Annotated[Vec3 | None, Option(MACHINE, "Z Y X")] = None
    """Size of a block in working voxels (voxels of the resampled image). Default: chosen from the volume and the memory
    limit."""
    workers: Annotated[int | str | None, Option(MACHINE, "N|MIN:MAX", asked=False)] = None
    """Number of worker processes. MIN:MAX: as many as there is work for, within these limits. Default: one for each
    core of this machine, or of its container or job in a queue. SLURM, LSF and PBS need this option. SSH does not take
    it, because the file of --cluster-config sets the number."""
    memory_limit: MemoryLimit = None
    scheduler: Scheduler = None
    cluster: Annotated[str, Option(MACHINE, "KIND", asked=False)] = "local"
    """Where to start the workers: local (this machine), slurm, lsf, pbs or ssh. All but local need --cluster-config. On
    Kubernetes and other systems, start a Dask cluster yourself and give --scheduler."""
    cluster_config: Annotated[str | Path | None, Option(MACHINE, "FILE.yaml", asked=False)] = None
    """File that describes the cluster: memory of a worker, queue, hosts. Run once with --cluster and without this
    option to see an example."""
    tls: Annotated[str | Path | None, Option(MACHINE, "DIR", asked=False)] = None
    """Encrypt the connections of Dask, and refuse unencrypted ones. DIR holds ca.pem, cert.pem and key.pem."""
    work_dir: Annotated[str | Path | None, Option(MACHINE, "DIR", asked=False)] = None
    """Folder for intermediate arrays and finished blocks, on a file system that all workers share. Default:
    STORE.bigcp3d/NAME beside the store that gets the labels; for s3:// targets BUCKET-STORE.bigcp3d/NAME in the current
    directory."""
    executor: Annotated[
        Literal["auto", "serial", "dask"], Option(MACHINE, flag="--serial", switch="serial", asked=False)
    ] = "auto"
    """Run in one process, without Dask. The labels are the same as with Dask. Default: volumes of up to 16 million
    working voxels run in one process, unless --workers, --cluster or --scheduler is given; larger ones run on Dask."""
    on_error: Annotated[Literal["fail", "skip"], Option(RUN, asked=False)] = "fail"
    """What to do if a chunk of the input cannot be read. fail: the run ends with an error after it has finished all
    blocks that do not need the chunk. skip: the chunk becomes background (label 0), and is listed at the end."""
    missing_chunks: Annotated[Literal["fill", "fail"], Option(RUN)] = "fill"
    """What to do about chunks of the image that are not in the store. fill: read the fill value there, as the Zarr
    format says, and report their number. fail: treat them as unreadable; use this if no chunk may be missing."""

    def check(self) -> None:
        """Refuse values that are wrong for every image."""
        check_choices(self)
        self._check_numbers()
        self._check_combinations()
        self.machines.check()

    def _check_numbers(self) -> None:
        flags = {name: each.flag for name, each in settings_of(type(self)).items()}
        if isinstance(self.diameter_um, str) and self.diameter_um != AS_IS:
            raise InputError(f"--diameter is {self.diameter_um!r}; use a number of micrometres, or {AS_IS!r}")
        for name in ("diameter_um", "diameter_vox", "radius_vox", "max_volume", "max_elongation", "max_flow_error"):
            value = getattr(self, name)
            if value not in (None, AS_IS) and not (math.isfinite(value) and value > 0):
                raise InputError(f"{flags[name]} is {value}; use a positive number")
        for name in ("scale_um", "block"):
            triple = getattr(self, name)
            if triple is not None and not all(math.isfinite(v) and v > 0 for v in triple):
                raise InputError(f"{flags[name]} is {triple}; use three positive numbers, in the order z y x")
        for name in ("foreground", "min_foreground"):
            share = getattr(self, name)
            if share is not None and not 0 <= share <= 1:
                raise InputError(f"{flags[name]} is {share}; use a number from 0 to 1")
        if self.min_volume is not None and not (math.isfinite(self.min_volume) and self.min_volume >= 0):
            raise InputError(f"--min-volume is {self.min_volume}; use 0 or more voxels")
        if self.max_volume is not None and (self.min_volume or 0) > self.max_volume:
            raise InputError(f"--min-volume {self.min_volume:g} is above --max-volume {self.max_volume:g}; swap them")
        if self.closing_vox is not None and not 0 <= self.closing_vox <= LARGEST_CLOSING:
            raise InputError(f"--closing is {self.closing_vox}; use 0 to {LARGEST_CLOSING} working voxels")

    def _check_combinations(self) -> None:
        if self.diameter_um is not None and self.diameter_vox is not None:
            raise InputError("--diameter and --diameter-voxels were both given; leave one out")
        if self.prepare is not None:
            from bigcp3d.edge.image.preparation import parse_preparation

            if parse_preparation(self.prepare) and self.maps is not None:
                raise InputError(
                    "--prepare and --maps were both given, but a run from maps has no network for "
                    "which to prepare the image; leave one out"
                )
        if self.precision != "auto" and self.maps is not None:
            raise InputError(
                f"maps are {self.maps}, so no network computes and precision {self.precision} would have no effect; "
                "leave out --precision, or --maps"
            )
        if self.start == "image" and self.maps is not None:
            raise InputError(f"--maps {self.maps} and --from {self.start} were both given; leave one out")
        if self.executor == "serial" and (self.scheduler or self.workers or self.cluster != "local"):
            raise InputError(
                "--serial runs in one process; leave out --serial, or --scheduler, --cluster and --workers"
            )

    @property
    def has_diameter(self) -> bool:
        """Whether a diameter, or the image as it is, was asked for."""
        return self.diameter_um is not None or self.diameter_vox is not None

    @property
    def asks_for_workers(self) -> bool:
        """Whether the user said something that only worker processes can do."""
        return bool(self.scheduler or self.workers or self.tls or self.cluster_config) or self.cluster != "local"

    @cached_property
    def machines(self) -> Machines:
        """Where the run takes place. The serial run counts as one worker of this machine."""
        from bigcp3d.schedule.clusters.requested_machines import Machines

        workers = 1 if self.executor == "serial" else self.workers
        return Machines(self.scheduler, self.cluster, self.cluster_config, workers, self.tls, self.memory_limit)


def decides_labels(each: Setting) -> bool:
    """Whether a setting says what the cells are, and not where, how or on which part of the image a run works."""
    return each.option.asked and each.option.panel != MACHINE and each.name not in ("roi", "labels_level", "start")


@dataclass(frozen=True, kw_only=True)
class UpdateRequest(Request):
    """The options of an update, which segments a region of existing labels again.

    Settings that decide the labels and that are not given, or None, are those of the labels, not the defaults here.
    """

    roi: Annotated[Roi | None, Option(IMAGE, "Z0:Z1,Y0:Y1,X0:X1")] = None
    """The region, in voxels of level 0, or with um at the end in micrometres."""
    edited: Annotated[bool, Option(RESULT, asked=False)] = False
    """Do not segment. Give this after another program has changed voxels of level 0 in the region: the coarser levels
    (the smaller copies of the labels) are computed again there."""
    dry_run: Annotated[bool, Option(RUN, asked=False)] = False
    """Segment the region and show the numbers, but change no label. The same command without --dry-run is quick
    afterwards."""
    yes: Annotated[bool, Option(RUN, asked=False)] = False
    """Do not ask, even if more than half of the region's cells would disappear."""

    @staticmethod
    def adjust(each: Setting) -> Setting:
        """A setting as an update takes it: by default, that of the labels. In help, the default comes last."""
        if not decides_labels(each):
            return each
        text = each.option.help.replace(
            "Labels of other time points stay empty.", "Labels of other time points stay as they are."
        )
        meaning, _, _ = text.partition("Default:")
        words = f"{meaning.strip()} Default: as the labels were made."
        return replace(each, default=None, option=replace(each.option, help=words))

    def check(self) -> None:
        """Refuse values that are wrong for every image, and what an update does not do."""
        if self.roi is None:
            raise InputError("give --roi: the region to update, such as 0:64,100:228,: in voxels of level 0")
        if self.labels_level or self.table is not None:
            raise InputError(
                "an update takes no labels_level and no table; leave them out, and run 'bigcp3d measure' afterwards"
            )
        super().check()
