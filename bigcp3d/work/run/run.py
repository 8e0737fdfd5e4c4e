"""A run as one worker sees it: the plan, the network held in memory, and the work directory.

::

    <work_dir>/plan.json                    the plan; a run with another key refuses to start here
    <work_dir>/t0/maps      zarr int8 (4, z, y, x), one shard a block of patches
    <work_dir>/t0/parts/<block>/            what each block of patches hands to one of them; gone once merged
    <work_dir>/t0/offsets   zarr int8 (3, z, y, x), one shard a block
    <work_dir>/t0/sinks/, components/       one table a block
    <work_dir>/t0/tracked/  offsets and sinks, where they are kept
    <work_dir>/t0/sums.npz                  sums of each object
    <work_dir>/t0/bases, object, centre, ids   zarr: first component of each block, component to object, object to
                                            centre, component to id
    <work_dir>/t0/objects.npz               the table of the cells that were kept
    <work_dir>/t0/records/<pass>/           one record a finished task
    <work_dir>/logs/                        one file a worker
    <work_dir>/kept/                        a record: this run has finished, and its maps may be used by others

Invariant: a task writes whole shards and whole files of its own block, then its record. A record that is there means
that all it stands for is there; without it the task runs again and writes the same bytes.
"""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec
from zarr.storage import LocalStore

from bigcp3d.edge.image.given_maps import MIN_FOREGROUND, open_maps, read_maps
from bigcp3d.edge.labels.labels import LabelTarget
from bigcp3d.edge.stores.atomic_files import sync_file
from bigcp3d.edge.workdir.records import claim_record, read_record
from bigcp3d.edge.workdir.tables import read_table
from bigcp3d.errors import InputError, ModelError
from bigcp3d.pure.boxes import BlockGrid, Box, Vec3, vec3
from bigcp3d.pure.track.tracking import UNASSIGNED
from bigcp3d.work.plan.blocks_read import Inputs
from bigcp3d.work.plan.plan import Plan
from bigcp3d.work.run.task_log import TaskLog

if TYPE_CHECKING:
    import torch

VECTOR_CHUNK = 2**16

ARRAYS = ("maps", "offsets")
"""Intermediates that are shards of an array; the others are tables."""

TRACKED = ("offsets", "sinks")
TRACKED_FOLDER = "tracked"
"""What tracking finds, and where that lies if it is kept: apart, so that another run beside it can track anew."""

ALL_SHARDS = "all_shards_are_written"
"""Attribute of arrays in which shards that hold nothing but fill are written too."""

ONCE: Vec3 = (0, 0, 0)
"""Index of a pass that runs once."""


def inner_side(side: int) -> int:
    """Side of a chunk inside a shard: the largest divisor up to 64, or the whole side where that would be tiny."""
    best = max(d for d in range(1, min(side, 64) + 1) if side % d == 0)
    return best if best >= 24 else side


class Run:
    """Paths, arrays and the network of one plan; made once per worker."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.root = Path(plan.work_dir)
        self.log = TaskLog(self.root / "logs")
        self.done: set[tuple[str, int, Vec3]] = set()
        """Tasks whose records were seen; a record never goes."""

    @cached_property
    def inputs(self) -> Inputs:
        """What tasks read of other blocks."""
        return Inputs(self.plan)

    @cached_property
    def network(self) -> torch.nn.Module:
        """The network on this worker's device, in the plan's precision, loaded on first use and kept."""
        import torch

        from bigcp3d.edge.models.model_files import load_network, model_hash
        from bigcp3d.pure.predict.run_network import fix_arithmetic

        if self.plan.model is None:
            raise ValueError("this run takes its maps from a store and has no model")
        if model_hash(self.plan.model) != self.plan.model_hash:
            raise ModelError(
                f"{self.plan.model}: found another file than the one that this run was planned with (sha256 "
                f"{self.plan.model_hash}); allowed is that very file on every worker: copy it there, or start again"
            )
        fix_arithmetic()
        network, _ = load_network(self.plan.model, "cuda" if torch.cuda.is_available() else "cpu")
        return network.to(getattr(torch, self.plan.precision))

    def claim_device(self) -> None:
        """Let all of a run be predicted on one kind of device, since the last bits differ between kinds.

        Raises
        ------
        ModelError
            This worker's network is on another kind than that on which the run began.
        """
        device = next(self.network.parameters()).device.type
        first = claim_record(self.root / "records", "device", ONCE, {"device": device})["device"]
        if first != device:
            raise ModelError(
                f"found a worker that predicts on {device}, but this run began on {first}, and their last bits differ: "
                'let only workers of one kind predict (dask worker --resources "GPU=1"), or start again'
            )

    @cached_property
    def batch(self) -> int:
        """Patches that go through the network together on this worker."""
        from bigcp3d.pure.predict.batch_check import largest_batch, safe_batch

        network, patch = self.network, self.plan.patch
        return safe_batch(network, patch, largest_batch(self.device, patch), len(self.plan.channels))

    @property
    def device(self) -> str:
        """Kind of device that this worker computes on: its network's, or "cpu" where it has not loaded one.

        Only a worker that holds a network has paid for torch, and for a place on a GPU.
        """
        network: torch.nn.Module | None = self.__dict__.get("network")
        return "cpu" if network is None else next(network.parameters()).device.type

    @cached_property
    def target(self) -> LabelTarget:
        """The labels' target, with the dtype that the count of objects asked for."""
        record = read_record(self.root / "records", "create", ONCE)
        if record is None:
            raise RuntimeError(f"the labels of {self.root} have not been created yet")
        return self.target_as(record["dtype"])

    def target_as(self, dtype: str) -> LabelTarget:
        """The labels' target with a given dtype."""
        return dataclasses.replace(self.plan.target, dtype=dtype)

    def folder(self, time: int) -> Path:
        """Where the intermediate arrays of a time point lie."""
        return self.root / f"t{time}"

    def records(self, time: int) -> Path:
        """Where its records lie."""
        return self.folder(time) / "records"

    def home(self, kind: str, time: int) -> Path:
        """Folder of one kind of intermediate: offsets and sinks may be those that another run kept."""
        if kind in TRACKED and self.plan.tracked is not None:
            return Path(self.plan.tracked) / f"t{time}" / TRACKED_FOLDER / kind
        if kind in TRACKED and self.plan.keeps_offsets:
            return self.folder(time) / TRACKED_FOLDER / kind
        return self.folder(time) / kind

    def table(self, kind: str, time: int, index: Vec3) -> Path:
        """File of one block's sinks or components."""
        return self.home(kind, time) / f"{'.'.join(map(str, index))}.npz"

    def intermediate(self, kind: str, time: int, index: Vec3) -> Path:
        """File of one block's maps, offsets, sinks or components."""
        if kind in ARRAYS:
            return self.home(kind, time) / self.array(kind, time).metadata.encode_chunk_key((0, *index))
        return self.table(kind, time, index)

    def keeps(self, kind: str, time: int) -> bool:
        """Whether intermediates stay that nobody reads any more: as asked, or since their loss would not be seen."""
        if (kind == "maps" and self.plan.keeps_maps) or (kind in TRACKED and self.plan.keeps_offsets):
            return True
        return kind in ARRAYS and not self._has_all_shards(kind, time)

    def _has_all_shards(self, name: str, time: int) -> bool:
        """Whether a missing shard is one that was removed; arrays of earlier versions lack those that are all fill."""
        return bool(self.array(name, time).attrs.get(ALL_SHARDS, False))

    def parts(self, time: int, taker: Vec3) -> Path:
        """Folder of what is handed over to one block of patches."""
        return self.folder(time) / "parts" / ".".join(map(str, taker))

    def part(self, time: int, giver: Vec3, taker: Vec3) -> Path:
        """File of what one block of patches hands over to another, or keeps for itself until it is merged."""
        return self.parts(time, taker) / f"{'.'.join(map(str, giver))}.npz"

    @lru_cache(maxsize=8)  # noqa: B019 - a Run lives as long as its worker
    def array(self, name: str, time: int) -> zarr.Array[Any]:
        """The zarr array ``maps`` or ``offsets``, or a vector that `write_vector` wrote."""
        if name == "maps" and self.plan.maps is not None:
            return open_maps(self.plan.maps, self.plan.shape, self.plan.image.times, time)
        config = {"write_empty_chunks": name in ARRAYS}  # which `zarr.open_array` would not take
        return cast("zarr.Array[Any]", zarr.open(self.home(name, time), mode="r+", zarr_format=3, config=config))

    def create_arrays(self, time: int) -> None:
        """Make the empty arrays of a time point, where they are not there yet."""
        blocks = {"maps": self.plan.patch_blocks.grid.block, "offsets": self.plan.block}
        said = {MIN_FOREGROUND: self.plan.card.min_foreground if self.plan.card else 0.0}
        for name, channels, fill in (("maps", 4, 0), ("offsets", 3, UNASSIGNED)):
            if (self.plan.maps if name == "maps" else self.plan.tracked) is not None:
                continue
            path = self.home(name, time)
            if (path / "zarr.json").exists():
                continue
            zarr.create_array(
                path,
                shape=(channels, *self.plan.shape),
                shards=(channels, *blocks[name]),
                chunks=(channels, *(inner_side(side) for side in blocks[name])),
                dtype="int8",
                fill_value=fill,
                compressors=ZstdCodec(level=1),
                dimension_names=("channel", "z", "y", "x"),
                attributes={ALL_SHARDS: True, **(said if name == "maps" else {})},
                zarr_format=3,
            )

    def write_vector(self, name: str, time: int, values: NDArray[Any]) -> None:
        """Write rows that tasks will read in pieces.

        What an earlier try wrote is the same, and is written over chunk by chunk: others may be reading it.
        """
        rows, path = max(len(values), 1), self.folder(time) / name
        shape, chunks = (rows, *values.shape[1:]), (min(rows, VECTOR_CHUNK), *values.shape[1:])
        array: zarr.Array[Any] | None = None
        with suppress(FileNotFoundError):
            array = zarr.open_array(path, mode="r+", zarr_format=3)
        if array is None or (array.shape, array.chunks, array.dtype) != (shape, chunks, values.dtype):
            array = zarr.create_array(
                path, shape=shape, chunks=chunks, dtype=values.dtype, zarr_format=3, overwrite=True
            )
        if len(values):
            array[:] = values

    def read(self, name: str, time: int, box: Box) -> NDArray[np.int8]:
        """A box of ``maps`` or ``offsets``, all channels; given maps may have another dtype in their store.

        Raises
        ------
        FileNotFoundError
            If a shard is gone, which zarr reads as fill. Looked at after reading, as it may go meanwhile.
        """
        if name == "maps" and self.plan.maps is not None:
            values = read_maps(self.array(name, time), time, box)
            if self._has_all_shards(name, time):
                self._check_kept(time, box)
            return values
        values = np.asarray(self.array(name, time)[(slice(None), *box.slices())], np.int8)
        if self._has_all_shards(name, time):
            for index in self.plan.intermediate_grid(name).touching(box):
                path = self.intermediate(name, time, index)
                if not path.exists() or path.stat().st_size == 0:
                    raise self._is_gone(path)
        return values

    def _check_kept(self, time: int, box: Box) -> None:
        """Look that the shards of kept maps are there; any blocks may have made them, of a region perhaps."""
        array = self.array("maps", time)
        if not isinstance(array.store, LocalStore):
            return
        folder = array.store.root / array.store_path.path
        for index in BlockGrid(self.plan.shape, vec3((array.shards or array.chunks)[1:])).touching(box):
            path = folder / array.metadata.encode_chunk_key((0, *index))
            if not path.exists() or path.stat().st_size == 0:
                raise InputError(f"{path}: found no such shard of kept maps; predict anew (--from image)")

    def _is_gone(self, path: Path) -> FileNotFoundError:
        return FileNotFoundError(
            f"{path} is gone, as it goes when all tasks that read it are recorded; run the same command again, and if "
            f"this returns, the disk has lost it or a record: remove {self.root} and start again"
        )

    def read_table(self, kind: str, time: int, index: Vec3) -> dict[str, NDArray[Any]]:
        """One block's sinks, components or flow errors.

        Raises
        ------
        FileNotFoundError, InputError
            If it is gone, or damaged.
        """
        try:
            return read_table(self.table(kind, time, index))
        except FileNotFoundError:
            raise self._is_gone(self.table(kind, time, index)) from None

    def write(self, name: str, time: int, box: Box, values: NDArray[np.int8]) -> None:
        """Write a block's core, one whole shard, so that it survives a power cut."""
        self.array(name, time)[(slice(None), *box.slices())] = values
        block = self.plan.intermediate_grid(name).block
        sync_file(self.intermediate(name, time, vec3(a // b for a, b in zip(box.start, block, strict=True))))
