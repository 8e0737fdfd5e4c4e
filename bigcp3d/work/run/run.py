"""A run as one worker sees it: the plan, the work directory, the log, and the network in memory.

Invariant: a task writes whole shards and whole files of its own block, and then its record. So where there is a record,
all that the task wrote is there. Without one the task runs again, and writes the same bytes. Intermediate files and
records lie in a folder of this run alone. Labels do not, so a task looks whether the run is still the one that works
here before it writes them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore

from bigcp3d.edge.image.given_maps import open_maps, read_maps
from bigcp3d.edge.labels.label_plan import LabelTarget
from bigcp3d.edge.stores.atomic_files import sync_file
from bigcp3d.edge.stores.zarr_write import open_to_write
from bigcp3d.edge.workdir.records import claim_record
from bigcp3d.edge.workdir.tables import read_table
from bigcp3d.errors import InputError, ModelError, TargetError
from bigcp3d.pure.boxes import BlockGrid, Box, Vec3, vec3
from bigcp3d.version import __version__
from bigcp3d.work.plan.plan import Plan
from bigcp3d.work.plan.task_inputs import Inputs
from bigcp3d.work.run.task_log import TaskLog
from bigcp3d.work.run.work_dir import ALL_SHARDS, ONCE, WorkDir

if TYPE_CHECKING:
    import torch


class Run:
    """What a worker holds of a run; made once per worker."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.dir = WorkDir.of(plan)
        self.log = TaskLog(self.dir.logs)
        self.done: set[tuple[str, int, Vec3]] = set()
        """Tasks whose records were seen, some of them; a record never goes."""
        self.array = lru_cache(maxsize=8)(self._open_array)
        self.go_on: Callable[[str, int, float], None] = lambda name, voxels, share: None
        """Hears of a pass, the voxels of the block that it works on, and the share of it that is done."""

    @cached_property
    def inputs(self) -> Inputs:
        """Which blocks each task reads."""
        return Inputs(self.plan)

    @cached_property
    def network(self) -> torch.nn.Module:
        """The network on this worker's device, in the plan's precision, loaded on first use and kept."""
        import torch

        from bigcp3d.edge.models.model_families import load_network, model_hash
        from bigcp3d.pure.predict.run_network import fix_arithmetic, to_precision

        model, planned = self.plan.storage.model, self.plan.prediction.model_hash
        if model is None:
            raise ValueError("this run takes its maps from a store and has no model")
        if model_hash(model) != planned:
            raise ModelError(
                f"{model}: this file differs from the one with which the run was planned (sha256 {planned}); copy that "
                "file to every worker, or start again"
            )
        fix_arithmetic()
        network, card = load_network(model, "cuda" if torch.cuda.is_available() else "cpu")
        planned_card = self.plan.prediction.card
        if planned_card is None or card != planned_card.model_copy(update={"channels": card.channels}):
            raise ModelError(
                f"{model}: on this worker, the description of this model differs from that with which the run was "
                "planned; install the same versions of bigcp3d and of the model's packages on every worker"
            )
        return to_precision(network, self.plan.prediction.precision)

    def check_version(self) -> None:
        """Refuse to work for a run that another version of bigcp3d has planned."""
        if self.plan.version != __version__:
            raise InputError(
                f"bigcp3d {self.plan.version} planned this run, but a worker has bigcp3d {__version__}; install the "
                "same version on every worker"
            )

    def claim_device(self) -> None:
        """Refuse to predict on another kind of device than the one on which the run began: the last bits differ."""
        device = next(self.network.parameters()).device.type
        first = claim_record(self.dir.records(), "device", ONCE, {"device": device})["device"]
        if first != device:
            raise ModelError(
                f"a worker would predict on {device}, but this run began on {first}, whose results differ slightly; "
                'let only workers of one kind predict (dask worker --resources "GPU=1"), or start again'
            )

    @cached_property
    def processor(self) -> str:
        """The kind of processor or GPU that predicts on this worker."""
        from bigcp3d.pure.predict.run_network import processor_kind

        return processor_kind(self.device)

    @cached_property
    def batch(self) -> int:
        """Patches that go through the network together on this worker."""
        from bigcp3d.pure.predict.batch_check import largest_batch, safe_batch

        patch = self.plan.prediction.patch
        return safe_batch(self.network, patch, largest_batch(self.device, patch), len(self.plan.source.channels))

    @property
    def device(self) -> str:
        """Kind of device that this worker computes on: that of its network, or "cpu" where it has loaded none."""
        network: torch.nn.Module | None = self.__dict__.get("network")
        return "cpu" if network is None else next(network.parameters()).device.type

    @cached_property
    def target(self) -> LabelTarget:
        """Where the labels go, with the dtype that the number of objects needs."""
        record = self.dir.read_once("create")
        if record is None:
            raise RuntimeError(f"the labels of {self.dir.root} have not been created yet")
        return self.target_as(record["dtype"])

    def target_as(self, dtype: str) -> LabelTarget:
        """Where the labels go, with a given dtype."""
        return dataclasses.replace(self.plan.output.target, dtype=dtype)

    def check_place(self) -> None:
        """Refuse to write labels after this run was discarded or has ended: others may write them now."""
        if self.dir.run_now() != self.dir.run:
            raise TargetError(f"{self.dir.root}: this task belongs to a run that was discarded or has ended")

    def keeps(self, kind: str) -> bool:
        """Whether intermediates stay after the last task that reads them."""
        return kind == "maps" and self.plan.storage.keep_maps

    def _open_array(self, name: str, time: int) -> zarr.Array[Any]:
        """The zarr array ``maps`` or ``offsets``."""
        if name == "maps" and self.plan.given.maps is not None:
            return open_maps(self.plan.given.maps, self.plan.shape, self.plan.source.image.times, time)
        return open_to_write(self.dir.array(name, time), 3, keep_empty=True)

    def read(self, name: str, time: int, box: Box) -> NDArray[np.int8]:
        """A box of ``maps`` or ``offsets``, all channels; given maps may have another dtype in their store.

        zarr reads a shard that is gone as fill, so that is an error: a `FileNotFoundError`, or an `InputError` for kept
        maps. The check comes after reading, since the shard may be removed meanwhile.
        """
        array = self.array(name, time)
        given = name == "maps" and not self.plan.predicts
        try:
            values = read_maps(array, time, box) if given else np.asarray(array[(slice(None), *box.slices())], np.int8)
        except ValueError:  # zarr 3.4 refuses a shard without any bytes itself
            if _missing_shard(array, box) is None:
                raise
        if (path := _missing_shard(array, box)) is None:
            return values
        if given:
            raise InputError(f"{path}: this part of the kept maps is missing; predict again (--from image)")
        raise self._is_gone(path)

    def _is_gone(self, path: Path) -> FileNotFoundError:
        return FileNotFoundError(
            f"{path} is gone. bigcp3d removes it only after the last task that reads it. Run the same command "
            f"again. If the error returns, the disk has lost this file or a record: remove {self.dir.root} and start "
            "again"
        )

    def read_table(self, kind: str, time: int, index: Vec3) -> dict[str, NDArray[Any]]:
        """One block's table (`WorkDir.table`)."""
        try:
            return read_table(self.dir.table(kind, time, index))
        except FileNotFoundError:
            raise self._is_gone(self.dir.table(kind, time, index)) from None

    def write(self, name: str, time: int, box: Box, values: NDArray[np.int8]) -> None:
        """Write a block's core, one whole shard, so that it survives a power cut."""
        self.array(name, time)[(slice(None), *box.slices())] = values
        block = self.plan.intermediate_grid(name).block
        sync_file(self.dir.intermediate(name, time, vec3(a // b for a, b in zip(box.start, block, strict=True))))


def _missing_shard(array: zarr.Array[Any], box: Box) -> Path | None:
    """A shard that should be there. bigcp3d also writes shards of nothing but fill; other tools need not."""
    if not array.attrs.get(ALL_SHARDS) or not isinstance(array.store, LocalStore):
        return None
    folder = array.store.root / array.store_path.path
    for index in BlockGrid(vec3(array.shape[1:]), vec3((array.shards or array.chunks)[1:])).touching(box):
        path: Path = folder / array.metadata.encode_chunk_key((0, *index))
        if not path.exists() or path.stat().st_size == 0:
            return path
    return None
