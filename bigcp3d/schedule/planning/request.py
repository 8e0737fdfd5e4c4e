"""What a user asks for, and what of it can be refused without looking at any image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Vec3
from bigcp3d.schedule.clusters.machines import Machines

STARTS = ("auto", "offsets", "maps", "image")

LARGEST_CLOSING = 21
"""That of the largest radius whose paths can be stored."""


@dataclass(frozen=True)
class Request:
    """What a user asks of a segmentation; the arguments of `bigcp3d.segment`, with their defaults.

    Attributes
    ----------
    source : str or Path
        OME-Zarr image group, version 0.1 to 0.5.
    output : str or Path, optional
        Another store for the labels; None writes into the image's own group.
    name : str
        Of the labels.
    model : str
        A shipped model's name (``bigcp3d models``) or the path of a model file; ``cellpose:NAME`` or
        ``cellpose:PATH`` for one of Cellpose's.
    diameter_um : float, optional
        Expected cell diameter in micrometres; with the image's scale it decides the working grid. None: no resampling.
    diameter_vox : float, optional
        The same in voxels of level 0, along its finest axis; where the image does not say its voxel size, voxels are
        taken as cubes.
    scale_um : tuple of float, optional
        Micrometres per voxel of level 0 (z, y, x), where the store has none or a wrong one.
    block : tuple of int, optional
        Block (z, y, x) in working voxels; None chooses what fits in memory. No label depends on it.
    roi : str or sequence of pairs, optional
        Where labels are wanted: "Z0:Z1,Y0:Y1,X0:X1" in voxels of level 0, or in micrometres with "um" at its end; ends
        may be left out. Cells that lie inside are those of the whole volume; ids count those of the region.
    mask : str or Path, optional
        OME-Zarr image or labels of the same volume at any resolution; cells are looked for where it is above 0.
    time : str or int, optional
        Time points: "5", "3:10" (3 to 9); default all. Labels of the others stay empty.
    channel : int or str, or a sequence of these, optional
        Channels by index or name, as many as the model takes and in its order. Default: the first for a model that
        takes one, else those that bear the names of the model's.
    level : int, optional
        Pyramid level to read. Default: the coarsest that is no coarser than the working grid where a diameter is
        given, else 0.
    labels_level : int
        Level of the image on which the labels lie; their coarser levels follow.
    scheduler : str, optional
        Address of a Dask scheduler that runs already; None starts a cluster.
    cluster : {"local", "slurm", "lsf", "pbs", "ssh"}
        Where it is started.
    cluster_config : str or Path, optional
        YAML file that says what such a cluster needs to know (`bigcp3d.schedule.clusters.config`; examples in
        ``deploy/``); for all but "local".
    workers : int or str, optional
        Worker processes, or "MIN:MAX" for as many as there is work for. Default: one a core of this machine; over SSH
        the file says how many.
    tls : str or Path, optional
        Folder with ca.pem, cert.pem and key.pem: all that Dask says is encrypted, and others are refused.
    memory_limit : str or int, optional
        Memory of each local worker, such as "4GiB".
    overwrite : bool
        Replace labels of this name, or discard an unfinished run with other settings.
    on_error : {"fail", "skip"}
        Where a chunk of the image, or of ``maps``, cannot be read: its block fails, and what does not depend on it is
        finished; or its voxels become background, and the summary and the labels' attributes list it.
    missing_chunks : {"fill", "fail"}
        Chunks that the store lacks are the fill value, as Zarr defines, and are counted; or they cannot be read.
    keep_maps : bool
        Leave the predicted maps in ``work_dir``; else they go as soon as no pass needs them.
    keep_offsets : bool
        Leave what tracking finds there as well, so that other filters and another closing start from it.
    work_dir : str or Path, optional
        Intermediate arrays; default beside the store that gets the labels.
    maps : str or Path, optional
        Maps to take whatever they were predicted from: the work directory of a run that kept them, or those of another
        tool, a zarr array or OME-Zarr image (4, Z, Y, X) on the working grid, or (T, 4,
        Z, Y, X); foreground 0..1 and flow z, y, x in voxels per step, towards the centre (flows that point away are
        stored as their negative). Float16, float32 or float64, cut to [-1, 1]; or int8, each value times 127. NaN is
        refused. Nothing is predicted then; ``model`` still gives the diameter, where ``radius_vox`` does not.
    start : {"auto", "offsets", "maps", "image"}
        Where to start from. Auto takes what a finished run on this image has kept, tracking or maps, if it is what this
        one would find; "offsets" and "maps" refuse where there is none; "maps" tracks anew; "image" predicts. No label
        depends on it.
    table : str or Path, optional
        Where a table of the cells goes when the labels are finished: a ``.csv`` or ``.parquet`` file, or "zarr" for one
        inside the store (`bigcp3d.measure`). ``overwrite`` counts for it too.
    executor : {"dask", "serial"}
        Serial runs in this process.
    precision : {"auto", "float32", "bfloat16"}
        In which the network computes; auto takes bfloat16 where this machine has instructions for it. It changes maps
        a little, so a run is carried on in the precision that it began with.
    foreground : float
        Threshold on the predicted foreground, 0 to 1.
    radius_vox : float, optional
        Expected radius in working voxels, default the model's; steps, reach (3 x) and closing (half) follow from it.
    closing_vox : int, optional
        Radius of the closing that joins end points, in working voxels, 0 to 21; default half the radius.
    min_volume, max_volume : float, optional
        Voxels of level 0; default at least a fortieth of the ball of the expected radius.
    min_foreground : float, optional
        Smallest mean foreground of a cell, 0 (keeps all) to 1; default the model's.
    max_elongation : float, optional
        Largest ratio of longest to shortest principal axis, from 1.
    max_flow_error : float, optional
        Largest mean squared difference between predicted flow and flow to the centre, (voxels per step) squared.
    """

    source: str | Path
    output: str | Path | None = None
    name: str = "cells"
    model: str = "membrane"
    diameter_um: float | None = None
    diameter_vox: float | None = None
    scale_um: tuple[float, float, float] | None = None
    block: Vec3 | None = None
    roi: str | Sequence[tuple[float | None, float | None]] | None = None
    mask: str | Path | None = None
    time: str | int | None = None
    channel: int | str | Sequence[int | str] | None = None
    level: int | None = None
    labels_level: int = 0
    scheduler: str | None = None
    cluster: str = "local"
    cluster_config: str | Path | None = None
    workers: int | str | None = None
    tls: str | Path | None = None
    memory_limit: str | int | None = None
    overwrite: bool = False
    on_error: str = "fail"
    missing_chunks: str = "fill"
    keep_maps: bool = False
    keep_offsets: bool = False
    work_dir: str | Path | None = None
    maps: str | Path | None = None
    start: str = "auto"
    table: str | Path | None = None
    executor: str = "dask"
    precision: str = "auto"
    foreground: float = 0.5
    radius_vox: float | None = None
    closing_vox: int | None = None
    min_volume: float | None = None
    max_volume: float | None = None
    min_foreground: float | None = None
    max_elongation: float | None = None
    max_flow_error: float | None = None

    def check(self) -> None:
        """Refuse values that no image could make right."""
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
        self.machines.check()
        if self.start not in STARTS:
            raise InputError(f"start is {self.start!r}; {', '.join(STARTS)} are known")
        if self.start in ("image", "offsets") and self.maps is not None:
            raise InputError(f"maps are {self.maps}, and the start is {self.start}; leave one of the two out")
        if self.keep_offsets and (self.maps is not None or self.roi is not None or self.mask is not None):
            raise InputError("offsets are kept of whole volumes without given maps; leave --maps, --roi, --mask out")
        if self.closing_vox is not None and not 0 <= self.closing_vox <= LARGEST_CLOSING:
            raise InputError(f"closing is {self.closing_vox}; it must be 0 to {LARGEST_CLOSING} working voxels")
        if self.executor not in ("dask", "serial"):
            raise InputError(f"executor is {self.executor!r}; 'dask' and 'serial' are known")
        for what, said, known in (
            ("on error", self.on_error, ("fail", "skip")),
            ("missing chunks", self.missing_chunks, ("fill", "fail")),
        ):
            if said not in known:
                raise InputError(f"{what} is {said!r}; {known[0]!r} and {known[1]!r} are known")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise InputError(f"precision is {self.precision!r}; 'auto', 'float32' and 'bfloat16' are known")

    @cached_property
    def machines(self) -> Machines:
        """Where it runs; in this process alone, the machine is one worker."""
        workers = 1 if self.executor == "serial" else self.workers
        return Machines(self.scheduler, self.cluster, self.cluster_config, workers, self.tls, self.memory_limit)
