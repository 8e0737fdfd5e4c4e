"""The layout of a work directory: where it is by default, where each file is, and how the arrays are made.

::

    plan.json                    the plan; a run with another plan does not start here
    run-<name>/                  all that the tasks of this run write; the plan says the name
      records/, t0/records/      one file for each task that is done, for the run and for each time point
      t0/maps                    zarr int8 (4, z, y, x), one shard for each block of patches
      t0/parts/<block>/          sums of patches from other blocks, for this block; removed once merged
      t0/offsets                 zarr int8 (3, z, y, x), one shard for each block
      t0/sinks/, components/     one table for each block
      t0/flow_errors/            npy: what each block counted for each object, by range and first voxel
      t0/faces/, stitched/, left/  tables of the blocks of a large run: components on the faces; the object of each
                                 component; components that no neighbour knows whole
      t0/whole/                  npy: sums of the objects that a block wrote, by range and first voxel
      t0/sums.npy                sums of the objects that `join` has joined, by range and first voxel
      t0/bases.npy, joined.npy, centre.npy         the components that `join` has seen: how many in earlier blocks,
                                 first voxel and centre of the object of each
      t0/gathered/               npy: which lines of blocks have objects in which ranges of first voxels
      t0/objects.table, objects.1.table, ...       the table of the cells that were kept, by range
      t0/first/, whole_cells/, cut_cells/          npy: their first voxels and sorted sizes, by range
      t0/id_bases/               npy: for each plane of each range, what makes a row of first/ an id
      t0/failures/               tasks that failed
    logs/                        one file for each worker
    ended/                       a record: the labels are finished, and the rest may be removed
    finished, kept/, t0/maps     this run has finished, and others may use its maps

Tasks of a run that was discarded may still run on a cluster. They write into the folder of their own run, where no
other run looks. So no run takes their files and records for its own.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from secrets import choice
from string import ascii_lowercase, digits
from typing import Any

import zarr
from zarr.codecs import ZstdCodec

from bigcp3d.edge.image.given_maps import MIN_FOREGROUND
from bigcp3d.edge.stores.passing_errors import is_passing
from bigcp3d.edge.stores.places import Place, place
from bigcp3d.edge.workdir.records import read_record
from bigcp3d.edge.workdir.tables import SUFFIX
from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.track.units import UNASSIGNED
from bigcp3d.work.plan.plan import PLAN_FILE, Plan

ARRAYS = ("maps", "offsets")
"""Intermediates that are shards of an array; the others are tables."""

OBJECTS = f"objects{SUFFIX}"
"""The table of the cells that were kept; of more than one range, the first."""

ALL_SHARDS = "all_shards_are_written"
"""Attribute of arrays in which also shards of nothing but fill are written."""

RUN = re.compile("run-([a-z][0-9]){4}")
"""Names of the folders of runs. A folder of a user, such as run-20261125 or run-baseline, does not look like one."""

ONCE: Vec3 = (0, 0, 0)
"""Index of a pass that runs once."""


def home_of_runs(group: str | Place) -> Path:
    """Folder of the work directories of a store: beside it, or in the current directory for an address or archive."""
    store = place(group)
    if isinstance(store, Path):
        return store.parent / f"{store.name.removesuffix('.zarr')}.bigcp3d"
    address = str(store).rpartition("://")[2].strip("/").removesuffix(".zarr")
    return Path.cwd() / f"{re.sub(r'[^A-Za-z0-9._-]', '-', address)}.bigcp3d"


def default_work_dir(group: str | Place, name: str) -> Path:
    """Default work directory of a run whose labels go into a store."""
    return home_of_runs(group) / name


def new_run() -> str:
    """A name for the folder of a run, which no other run has."""
    return "run-" + "".join(choice(ascii_lowercase) + choice(digits) for _ in range(4))


class WorkDir:
    """Paths in a work directory, and in the folder of a run: of the one that the plan there names, or of ``run``."""

    def __init__(self, root: str | Path, run: str = "") -> None:
        self.root = Path(root)
        self.plan = self.root / PLAN_FILE
        self.run = run or self.run_now()
        self.own = self.root / self.run
        self.logs = self.root / "logs"
        self.finished = self.root / "finished"

    @classmethod
    def of(cls, plan: Plan) -> WorkDir:
        """The work directory of a plan."""
        return cls(plan.storage.work_dir, plan.storage.run)

    def run_now(self) -> str:
        """The folder that the plan in the work directory names now; empty where there is none."""
        try:
            return str(json.loads(self.plan.read_bytes())["storage"]["run"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            if is_passing(error):
                raise
            return ""

    def folder(self, time: int) -> Path:
        """Folder of a time point."""
        return self.own / f"t{time}"

    def records(self, time: int | None = None) -> Path:
        """Folder of the records of a time point, or of those of the whole run."""
        return (self.own if time is None else self.folder(time)) / "records"

    def read_once(self, name: str, time: int | None = None) -> dict[str, Any] | None:
        """The record of something that is done once, for a time point or the whole run; None where it is not done."""
        return read_record(self.records(time), name, ONCE)

    def failures(self, time: int) -> Path:
        """Folder of the failed tasks, for `bigcp3d.schedule.running.status`."""
        return self.folder(time) / "failures"

    def vector(self, name: str, time: int) -> Path:
        """File of rows of a whole time point: ``sums``, ``bases``, ``joined`` or ``centre``."""
        return self.folder(time) / f"{name}.npy"

    def objects(self, time: int, part: int = 0) -> Path:
        """Table of the cells of one range that were kept."""
        return self.folder(time) / (f"objects.{part}{SUFFIX}" if part else OBJECTS)

    def all_objects(self, time: int) -> list[Path]:
        """The tables that are there of the cells that were kept; in the order of ids if there is one."""
        parts = itertools.takewhile(Path.exists, (self.objects(time, part) for part in itertools.count()))
        return list(parts)

    def rows(self, kind: str, time: int, name: Vec3 | int | str) -> Path:
        """File of rows of a block, of a range, or of a pass."""
        return self.folder(time) / kind / f"{_name(name) if isinstance(name, tuple) else name}.npy"

    def array(self, name: str, time: int) -> Path:
        """The array ``maps`` or ``offsets``."""
        return self.folder(time) / name

    def kept_maps(self, time: int) -> Path:
        """Where the maps are after the run, if it keeps them."""
        return self.root / f"t{time}" / "maps"

    def table(self, kind: str, time: int, index: Vec3) -> Path:
        """File of one block's table: sinks, components and others."""
        return self.folder(time) / kind / f"{_name(index)}{SUFFIX}"

    def intermediate(self, kind: str, time: int, index: Vec3) -> Path:
        """File of one block's maps, offsets, sinks or components."""
        if kind in ARRAYS:
            return self.array(kind, time).joinpath("c", "0", *map(str, index))
        return self.table(kind, time, index)

    def parts(self, time: int, taker: Vec3) -> Path:
        """Folder of the sums for one block of patches."""
        return self.folder(time) / "parts" / _name(taker)

    def part(self, time: int, giver: Vec3, taker: Vec3) -> Path:
        """File of the sums that one block of patches has for another, or for itself, until they are merged."""
        return self.parts(time, taker) / f"{_name(giver)}{SUFFIX}"

    def create_arrays(self, plan: Plan) -> None:
        """Make the empty arrays of all time points, unless they are there."""
        card = plan.prediction.card
        said = {MIN_FOREGROUND: card.min_foreground if card else 0.0}
        for time in plan.where.times:
            if plan.predicts:
                self._create("maps", time, 4, plan, fill=0, said=said)
            self._create("offsets", time, 3, plan, fill=UNASSIGNED, said={})

    def _create(self, name: str, time: int, channels: int, plan: Plan, *, fill: int, said: dict[str, float]) -> None:
        path, block = self.array(name, time), plan.intermediate_grid(name).block
        if not (path / "zarr.json").exists():
            zarr.create_array(
                path,
                shape=(channels, *plan.shape),
                shards=(channels, *block),
                chunks=(channels, *map(inner_side, block)),
                dtype="int8",
                fill_value=fill,
                compressors=ZstdCodec(level=1),
                dimension_names=("channel", "z", "y", "x"),
                attributes={ALL_SHARDS: True, **said},
                zarr_format=3,
            )


def find_work_dirs(home: Path) -> Iterator[WorkDir]:
    """Work directories in a folder, by name."""
    for path in sorted(home.glob(f"*/{PLAN_FILE}")):
        yield WorkDir(path.parent)


def inner_side(side: int) -> int:
    """Side of a chunk inside a shard: the largest divisor up to 64, or the whole side if that is below 24."""
    best = max(d for d in range(1, min(side, 64) + 1) if side % d == 0)
    return best if best >= 24 else side


def _name(index: Vec3) -> str:
    return ".".join(map(str, index))
