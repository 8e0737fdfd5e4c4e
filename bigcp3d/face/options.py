"""The options that commands share, with their help: units and defaults in the words that a user reads.

Kept apart from the commands, so that a command reads as its signature and an option is described once.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from bigcp3d.errors import InputError

IMAGE = "What to segment"
RESULT = "Where the labels go"
CELLS = "Which cells are kept (measured on whole cells, never on pieces)"
METHOD = "How cells are found"
MACHINE = "Blocks and machines (none of these changes the labels)"
RUN = "The run"


def option(*names: str, panel: str, text: str, **more: Any) -> Any:
    """An option under a heading of the help page."""
    return typer.Option(*names, help=text, rich_help_panel=panel, **more)


Source = Annotated[
    str, typer.Argument(metavar="IN.zarr", help="OME-Zarr image (0.1 to 0.5): a path, s3://BUCKET/PATH or https://.")
]
Diameter = Annotated[
    float | None,
    option(
        "--diameter",
        panel=IMAGE,
        metavar="UM",
        text="Expected cell diameter in micrometres. With the image's scale it decides how the image is resampled for "
        "the model; without it the image is taken as it is.",
    ),
]
DiameterVoxels = Annotated[
    float | None,
    option(
        "--diameter-voxels",
        panel=IMAGE,
        metavar="VOX",
        text="The same in voxels of level 0, along its finest axis; other axes follow from the scale.",
    ),
]
Scale = Annotated[
    tuple[float, float, float] | None,
    option(
        "--scale",
        panel=IMAGE,
        metavar="Z Y X",
        text="Voxel size in micrometres, where the store has none or a wrong one. Default: what the store says.",
    ),
]
Model = Annotated[
    str,
    option(
        "--model",
        panel=IMAGE,
        metavar="NAME|PATH",
        text="membrane, nuclei, or a .safetensors file (see: bigcp3d models); cellpose:NAME or cellpose:PATH for a "
        "Cellpose model, run on xy, xz and yz planes.",
    ),
]
Channel = Annotated[
    list[str] | None,
    option(
        "--channel",
        panel=IMAGE,
        metavar="N|NAME",
        text="Channel, from 0, or its name. Once for each channel that the model takes, in its order (see: bigcp3d "
        "models). Default: the first; for a model with several, those of the same names.",
    ),
]
Level = Annotated[
    int | None,
    option(
        "--level",
        panel=IMAGE,
        metavar="N",
        text="Resolution to read, 0 the finest. Default: with a diameter the coarsest that is fine enough, else 0.",
    ),
]
Roi = Annotated[
    str | None,
    option(
        "--roi",
        panel=IMAGE,
        metavar="Z0:Z1,Y0:Y1,X0:X1",
        text="Label this region only, in voxels of level 0 (0:64,100:228,:), or in micrometres with um at its end. "
        "Cells that lie inside are those of the whole volume, voxel by voxel; only their numbers differ.",
    ),
]
Mask = Annotated[
    str | None,
    option(
        "--mask",
        panel=IMAGE,
        metavar="MASK.zarr",
        text="Look for cells where this OME-Zarr image or labels group is above 0; any resolution, the same volume.",
    ),
]
Time = Annotated[
    str | None,
    option("--time", panel=IMAGE, metavar="A:B", text="Time points: 5, or 3:10 for 3 to 9. Default: all."),
]
LabelsLevel = Annotated[
    int,
    option(
        "--labels-level",
        panel=RESULT,
        metavar="N",
        text="Resolution of the image on which the labels lie, 0 the finest; coarser labels are smaller files.",
    ),
]
ImageOfLabels = Annotated[
    str | None,
    typer.Option(
        "--image",
        metavar="IMAGE.zarr",
        help="The image of the labels. Default: the one that they name; an address that they name is only asked where "
        "they lie under it themselves.",
    ),
]
Output = Annotated[
    str | None,
    option(
        "--output",
        panel=RESULT,
        metavar="OUT.zarr",
        text="Another store for the labels, a path or s3://BUCKET/PATH, which points back to its source. Default: the "
        "image's own group.",
    ),
]
Name = Annotated[str, option("--name", panel=RESULT, text="Name of the labels: labels/NAME.")]
Overwrite = Annotated[
    bool,
    option(
        "--overwrite",
        panel=RESULT,
        text="Replace labels of this name, and discard an unfinished run with other settings. One with "
        "these settings is carried on.",
    ),
]
OnError = Annotated[
    str,
    option(
        "--on-error",
        panel=RUN,
        metavar="fail|skip",
        text="Where a chunk of the input cannot be read: fail its block and finish what does not depend on it, or take "
        "the chunk for background (label 0) and list it.",
    ),
]
MissingChunks = Annotated[
    str,
    option(
        "--missing-chunks",
        panel=RUN,
        metavar="fill|fail",
        text="Chunks of the image that are not in the store: the fill value, as Zarr has it (they are counted), or "
        "chunks that cannot be read, for images that are known to be whole.",
    ),
]
KeepMaps = Annotated[
    bool,
    option(
        "--keep-maps",
        panel=RESULT,
        text="Keep the predicted maps (int8, 4 bytes a voxel) in WORK_DIR, to tune the later steps without predicting "
        "again: the same command with another threshold, radius, filter or --name finds them.",
    ),
]
Table = Annotated[
    str | None,
    option(
        "--table",
        panel=RESULT,
        metavar="FILE|zarr",
        text="Measure the cells as well, one row each: FILE.csv, FILE.parquet, or zarr for a table inside the store "
        "(see: bigcp3d measure).",
    ),
]
KeepOffsets = Annotated[
    bool,
    option(
        "--keep-offsets",
        panel=RESULT,
        text="Keep maps and what tracking finds (3 bytes a voxel more): other filters and another --closing then start "
        "from there.",
    ),
]
MinVolume = Annotated[
    float | None,
    option(
        "--min-volume",
        panel=CELLS,
        metavar="VOX",
        text="Smallest cell, in voxels of the image. Default: 1/40 of a ball of the expected diameter; 0 keeps all.",
    ),
]
MaxVolume = Annotated[
    float | None, option("--max-volume", panel=CELLS, metavar="VOX", text="Largest cell, in voxels of the image.")
]
MinForeground = Annotated[
    float | None,
    option(
        "--min-foreground",
        panel=CELLS,
        metavar="0..1",
        text="Lowest mean predicted foreground over a cell: how surely the network calls it one. 0 keeps all. "
        "Default: the model's.",
    ),
]
MaxElongation = Annotated[
    float | None,
    option(
        "--max-elongation", panel=CELLS, metavar="RATIO", text="Longest over shortest principal axis, 1 for a ball."
    ),
]
MaxFlowError = Annotated[
    float | None,
    option(
        "--max-flow-error",
        panel=CELLS,
        metavar="E",
        text="Mean squared difference between the predicted flow and the flow of the cell found, in (voxels per step) "
        "squared, 0 to about 4; costs one more pass.",
    ),
]
Foreground = Annotated[
    float,
    option(
        "--foreground",
        panel=METHOD,
        metavar="0..1",
        text="Voxels with a predicted foreground above this belong to cells.",
    ),
]
Radius = Annotated[
    float | None,
    option(
        "--radius",
        panel=METHOD,
        metavar="VOX",
        text="Expected cell radius in working voxels: sets steps, reach, closing. Default: half the model's diameter.",
    ),
]
Closing = Annotated[
    int | None,
    option(
        "--closing",
        panel=METHOD,
        metavar="VOX",
        text="End points of paths nearer than about twice this are one cell, in working voxels, 0 to 21. Default: half "
        "the radius.",
    ),
]
Maps = Annotated[
    str | None,
    option(
        "--maps",
        panel=METHOD,
        metavar="MAPS.zarr",
        text="Start from these maps, whatever they were predicted from: a WORK_DIR with kept ones, or those of another "
        "tool, zarr or OME-Zarr, "
        "(4, Z, Y, X), foreground 0..1 and flow z, y, x in voxels per step towards the cell's centre (store the "
        "negative of flows that point away); floats, or int8 times 127. Give --radius with it.",
    ),
]
Start = Annotated[
    str,
    option(
        "--from",
        panel=METHOD,
        metavar="auto|offsets|maps|image",
        text="Where to start. auto: from what an earlier run on this image kept (--keep-offsets, --keep-maps), if it "
        "is what this one would find. offsets, maps: refuse where there is none, and say what differs. image: predict.",
    ),
]
Block = Annotated[
    tuple[int, int, int] | None,
    option(
        "--block",
        panel=MACHINE,
        metavar="Z Y X",
        text="Block in working voxels. Default: chosen from the volume and the memory limit.",
    ),
]
Workers = Annotated[
    str | None,
    option(
        "--workers",
        panel=MACHINE,
        metavar="N|MIN:MAX",
        text="Worker processes of the cluster that is started; with MIN:MAX as many as there is work for. Default: one "
        "a core of this machine.",
    ),
]
MemoryLimit = Annotated[
    str | None,
    option(
        "--memory-limit",
        panel=MACHINE,
        metavar="SIZE",
        text="Memory of one worker, such as 4GiB. Default: this machine's, shared among the workers.",
    ),
]
Scheduler = Annotated[
    str | None,
    option(
        "--scheduler",
        panel=MACHINE,
        metavar="ADDRESS",
        text="A running Dask scheduler (tcp://host:8786). Its workers need the same files and packages. Default: a "
        "cluster is started.",
    ),
]
Cluster = Annotated[
    str,
    option(
        "--cluster",
        panel=MACHINE,
        metavar="KIND",
        text="Where a cluster is started: local (this machine), slurm, lsf, pbs or ssh; all but local "
        "need --cluster-config. deploy/README.md says which to pick.",
    ),
]
ClusterConfig = Annotated[
    Path | None,
    option(
        "--cluster-config",
        panel=MACHINE,
        metavar="FILE.yaml",
        text="What the cluster needs to know: memory of a worker, queue, hosts. Examples: deploy/*.yaml.",
    ),
]
Tls = Annotated[
    Path | None,
    option(
        "--tls",
        panel=MACHINE,
        metavar="DIR",
        text="Encrypt all that Dask says and refuse strangers; DIR holds ca.pem, cert.pem and key.pem.",
    ),
]
WorkDir = Annotated[
    Path | None,
    option(
        "--work-dir",
        panel=MACHINE,
        metavar="DIR",
        text="Where intermediate arrays and finished blocks lie, seen by all workers; a file system. Default: "
        "IN.bigcp3d/NAME; for s3:// targets BUCKET-IN.bigcp3d/NAME in the current directory.",
    ),
]
Precision = Annotated[
    str,
    option(
        "--precision",
        panel=METHOD,
        metavar="auto|float32|bfloat16",
        text="In which the network computes. auto: bfloat16 where this machine has instructions for it, 2 to 4 times "
        "as fast; it changes the maps a little. A run is carried on in the precision that it began with.",
    ),
]
Serial = Annotated[
    bool, option("--serial", panel=MACHINE, text="One process, no Dask: the reference that Dask must equal.")
]
DryRun = Annotated[
    bool,
    option(
        "--dry-run",
        panel=RUN,
        text="Check everything, print blocks, halos, patches, memory and disk, and write nothing.",
    ),
]
Verbose = Annotated[bool, option("--verbose", "-v", panel=RUN, text="Log everything; show tracebacks.")]
Quiet = Annotated[bool, option("--quiet", "-q", panel=RUN, text="No progress, no warnings.")]
NoReport = Annotated[
    bool,
    option(
        "--no-report",
        panel=RESULT,
        text="Write no report. Else STORE.NAME.report.html lies beside the store (for an address here, as "
        "BUCKET-STORE.NAME.report.html): slices, cells, time.",
    ),
]
Json = Annotated[
    bool,
    option(
        "--json",
        panel=RUN,
        text="For pipelines: events on stdout, one JSON object a line (fields: README, *Watching a run*).",
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="The same seed gives the same tissue, voxel by voxel.")]


def read_channels(given: list[str] | None) -> tuple[int | str, ...] | None:
    """What ``--channel`` says: numbers are indices, all else is a name."""
    return tuple(int(channel) if channel.isdecimal() else channel for channel in given) if given else None


def refuse_serial_beside(serial: bool, machines: object) -> None:
    """Refuse ``--serial`` where workers or machines were asked for as well (`InputError`)."""
    if serial and machines:
        raise InputError(
            "--serial was given with --scheduler, --cluster or --workers; it runs in one process: leave one out"
        )


class Stain(StrEnum):
    """What a simulated tissue shows."""

    membrane = "membrane"
    nuclei = "nuclei"


NAMES = {
    "diameter": "diameter_um",
    "diameter_voxels": "diameter_vox",
    "scale": "scale_um",
    "radius": "radius_vox",
    "closing": "closing_vox",
}
"""Options that the library knows by another name; the others have the same."""

OF_THE_SCREEN = ("source", "dry_run", "verbose", "quiet", "json", "no_report")
"""What a command keeps to itself, or hands on in its own way."""


def library_arguments(options: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `bigcp3d.segment` and `bigcp3d.update` from the options of their commands."""
    settings = {NAMES.get(name, name): value for name, value in options.items() if name not in OF_THE_SCREEN}
    settings["channel"] = read_channels(settings["channel"])
    settings["executor"] = "serial" if settings.pop("serial") else "dask"
    return settings
