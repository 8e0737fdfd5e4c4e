"""The plan: everything that a run is, as frozen data that fits in a page of JSON.

A plan is made once (`bigcp3d.schedule.planning.make_plan`), before any work starts, and handed to every worker. Two
runs with equal `Plan.key` compute the same thing in the same blocks, so one may carry on where the other stopped;
`Plan.differences` names what differs otherwise.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.labels.labels import LabelTarget
from bigcp3d.edge.models.model_files import ModelCard
from bigcp3d.edge.stores.places import is_address
from bigcp3d.edge.stores.read_cache import REMEMBERED_BYTES
from bigcp3d.pure.boxes import BlockGrid, Box, Vec3, vec3
from bigcp3d.pure.grid import Factors, image_box, image_copies
from bigcp3d.pure.group.objects import Filters
from bigcp3d.pure.label.vote import votes, voting_box
from bigcp3d.pure.memory import format_bytes, pass_bytes, worker_bytes
from bigcp3d.pure.predict.normalise import sample_boxes
from bigcp3d.pure.predict.patch_blocks import PatchBlocks
from bigcp3d.pure.predict.patches import PatchGrid
from bigcp3d.work.plan.scope import Scope

AFTER_MAPS = frozenset(
    {
        "times",
        "roi",
        "mask",
        "mask_level",
        "mask_factors",
        "target",
        "work_dir",
        "model",
        "maps",
        "maps_itemsize",
        "label_factors",
        "block",
        "keep_maps",
        "keep_offsets",
        "tracked",
        "tracked_block",
        "on_error",
        "missing",
    }
    | {"foreground", "steps", "reach", "radius", "filters"}
)
"""Settings that the maps of a time point do not depend on, where they were predicted everywhere and nothing was lost.

The model counts by its hash and card.
"""

BLOCK_PASSES = ("predict", "merge", "track", "cluster", "check", "vote", "label", "pyramid")


READ_IMAGE = ("normalise", "predict", "track")
"""Passes that read the image; from an object store they keep a little of it (`bigcp3d.edge.stores.read_cache`)."""


class Plan(BaseModel):
    """A run, frozen.

    Attributes
    ----------
    image, level, channels, times
        What is read: the image, its pyramid level, the channels in the order in which the network takes them (the
        first one's intensity is measured), and the time points.
    roi : Box or None
        Where labels are wanted, in voxels of the label image; None: everywhere.
    mask, mask_level, mask_factors
        Where cells may be: a store whose voxels above 0 take part, its level, and voxels of that per working voxel.
    target, work_dir
        Where labels and intermediate arrays go.
    model, model_hash, card
        The network: name or path, sha256 of the file, metadata. None where a user gave ``maps``.
    maps : str or None
        A store of maps on the working grid (`bigcp3d.edge.image.given_maps`) that takes the place of ``predict``. With
        a ``model`` they are those that it predicted (`reuses_maps`).
    maps_itemsize : int
        Bytes of a stored value of ``maps``, 1 for int8.
    factors, label_factors : tuple of float
        Voxels of the image's level, and of the label image, per working voxel.
    shape, block : tuple of int
        The working grid and its blocks, in voxels.
    patch, margin, low_percentile, high_percentile, clip
        Prediction; from the model, and the patch from the volume's shape as well.
    precision : "float32" or "bfloat16"
        In which the network computes.
    foreground : int
        Threshold on the stored foreground, 1 to 127.
    steps, reach, radius : int
        Tracking steps, largest path, closing radius, in working voxels.
    representation, scale_vox
        What flow means, for the flow error.
    filters : Filters
        Which objects are kept.
    keep_maps : bool
        Whether the maps stay, rather than go when no pass needs them.
    keep_offsets : bool
        Whether what tracking finds stays, in a place of its own.
    tracked, tracked_block : str and tuple of int, or None
        A work directory whose offsets and sinks take the place of ``track``, and their blocks.
    on_error : "fail" or "skip"
        What becomes of input that cannot be read (`bigcp3d.work.run.unreadable_input`).
    missing : "fill" or "fail"
        Whether chunks that the store lacks are the fill value, or input that cannot be read.
    version : str
        bigcp3d's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    image: ImageInfo
    level: int
    channels: tuple[int, ...]
    times: tuple[int, ...]
    roi: Box | None = None
    mask: ImageInfo | None = None
    mask_level: int = 0
    mask_factors: Factors = (1.0, 1.0, 1.0)
    target: LabelTarget
    work_dir: str
    model: str | None
    model_hash: str | None
    card: ModelCard | None
    maps: str | None
    maps_itemsize: int = 1
    factors: Factors
    label_factors: Factors
    shape: Vec3
    block: Vec3
    patch: Vec3
    margin: int
    low_percentile: float
    high_percentile: float
    clip: tuple[float, float]
    precision: str
    foreground: int
    steps: int
    reach: int
    radius: int
    representation: str
    scale_vox: float
    filters: Filters
    keep_maps: bool
    keep_offsets: bool = False
    tracked: str | None = None
    tracked_block: Vec3 | None = None
    on_error: str = "fail"
    missing: str = "fill"
    version: str

    @property
    def grid(self) -> BlockGrid:
        """Blocks of the working grid."""
        return BlockGrid(self.shape, self.block)

    @property
    def patches(self) -> PatchGrid:
        """Patches of the network."""
        return PatchGrid(self.shape, self.patch, self.margin)

    @property
    def patch_blocks(self) -> PatchBlocks:
        """Blocks of the maps: whole patches, each of which is computed once."""
        return PatchBlocks.near(self.patches, self.block)

    @cached_property
    def scope(self) -> Scope:
        """Which voxels each pass has to get right."""
        wanted = Box.of_shape(self.target.levels[0].shape) if self.roi is None else self.roi
        return Scope.of(wanted, self.label_factors, self.shape, reach=self.reach, radius=self.radius)

    @property
    def image_shape(self) -> Vec3:
        """Shape of the level that is read."""
        return self.image.levels[self.level].shape

    def intermediate_grid(self, kind: str) -> BlockGrid:
        """Blocks of ``maps``, ``offsets``, ``sinks`` or ``components``; each is one file."""
        if kind in ("offsets", "sinks") and self.tracked_block is not None:
            return BlockGrid(self.shape, self.tracked_block)
        return self.patch_blocks.grid if kind == "maps" else self.grid

    def label_grid(self, level: int) -> BlockGrid:
        """Blocks of one level of the label image; each is one shard."""
        return BlockGrid(self.target.levels[level].shape, self.target.shard)

    def label_copies(self, box: Box) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """By axis, how many wanted voxels of the label image take their label from each voxel of a working box."""
        wanted = self.scope.wanted
        axes = zip(box.start, box.stop, self.label_factors, self.shape, wanted.start, wanted.stop, strict=True)
        z, y, x = (image_copies(*axis) for axis in axes)
        return z, y, x

    @property
    def checks_flow(self) -> bool:
        """Whether the ``check`` pass runs."""
        return self.filters.max_flow_error is not None

    @property
    def votes(self) -> bool:
        """Whether voxels of the label image hold several working voxels, so that the ``vote`` pass runs."""
        return votes(self.label_factors)

    @property
    def joins_first(self) -> bool:
        """Whether passes need whole objects before they are resolved."""
        return self.checks_flow or self.votes

    @property
    def keeps_maps(self) -> bool:
        """Whether the maps that it predicts are to stay."""
        return self.keep_maps and self.maps is None

    @property
    def reuses_maps(self) -> bool:
        """Whether its maps are those that an earlier run predicted for it, rather than any that a user gave."""
        return self.maps is not None and self.model is not None

    def maps_settings(self) -> dict[str, Any]:
        """All that decides the predicted maps of a time point: the settings, but for what only later passes read.

        What is not known to come later counts, so a new setting can never be forgotten here.
        """
        settings = self.model_dump(mode="json", exclude=set(AFTER_MAPS))
        del settings["image"]["label_names"]
        return settings

    def offsets_settings(self) -> dict[str, Any]:
        """All that decides offsets and sinks of a whole volume, beside the blocks in which they are stored."""
        later = {name: getattr(self, name) for name in ("foreground", "steps", "reach")}
        seen = {"label_factors": list(self.label_factors), "label_shape": list(self.target.levels[0].shape)}
        return {**self.maps_settings(), **later, **seen}

    @property
    def keeps_offsets(self) -> bool:
        """Whether offsets and sinks that it finds are to stay."""
        return self.keep_offsets and self.tracked is None

    def result_settings(self) -> dict[str, Any]:
        """All that decides the result or how it is cut into tasks; not which labels the image has meanwhile."""
        settings = self.model_dump(mode="json", exclude={"keep_maps", "work_dir", "model", "on_error"})
        del settings["image"]["label_names"]
        return settings

    @property
    def key(self) -> str:
        """Sha256 of `result_settings`."""
        return hashlib.sha256(json.dumps(self.result_settings(), sort_keys=True).encode()).hexdigest()

    def differences(self, other: Plan) -> list[str]:
        """Settings in which two plans differ, as "name: theirs, ours" lines."""
        return name_differences(other.result_settings(), self.result_settings())

    def memory(self) -> dict[str, int]:
        """Peak bytes of one task of each pass, beyond an idle worker."""
        core = self.grid.core(_inner(self.grid))
        blocks = self.patch_blocks
        most = _inner(blocks.grid)
        layers = [self.patches.read_box(layer) for layer in blocks.layers(most)]
        reads = [image_box(layer, self.factors, self.image_shape) for layer in layers]
        label_core = self.label_grid(0).core((0, 0, 0))
        sample = sum(box.size for box in sample_boxes(self.image_shape))
        remembered = REMEMBERED_BYTES if is_address(self.image.path) else 0
        passes = pass_bytes(
            block=core.shape,
            read_vox=max(read.size for read in reads),
            layer_vox=max(layer.size for layer in layers),
            extent_vox=blocks.extent(most).size,
            map_vox=blocks.grid.core(most).size,
            shell_vox=sum(box.size for box in blocks.shell(most)),
            hand_over=blocks.hand_over,
            patch=self.patch,
            features=self.card.features if self.card else 0,
            architecture=self.card.architecture if self.card else "eschweiler",
            itemsize=_itemsize(self.image.dtype),
            reach=self.reach,
            radius=self.radius,
            label_block=label_core.shape,
            label_working=voting_box(label_core, self.label_factors, self.shape).shape,
            votes=self.votes,
            label_itemsize=8 if self.votes else _itemsize(self.target.dtype),
            sample_vox=sample,
            network=self.maps is None,
            maps_itemsize=self.maps_itemsize,
            channels=len(self.channels),
        )
        return {name: need + (remembered if name in READ_IMAGE else 0) for name, need in passes.items()}

    def worker_bytes(self) -> int:
        """Peak bytes of a worker that runs one task at a time."""
        return worker_bytes(self.memory())

    def disk_bytes(self) -> dict[str, int]:
        """Upper bounds of what is written, uncompressed; typical volumes compress three to ten times."""
        scope, grid = self.scope, self.label_grid(0)
        voxels, mapped = (box.size * len(self.times) for box in (scope.tracked, scope.mapped))
        share = sum(grid.core(index).size for index in grid.touching(scope.wanted)) / Box.of_shape(grid.shape).size
        labels = sum(Box.of_shape(level.shape).size for level in self.target.levels) * len(self.times)
        blocks = self.patch_blocks
        inner = _inner(blocks.grid)
        final, extent = blocks.inner(inner).size, blocks.extent(inner).size
        waiting = min(2 * math.prod(blocks.grid.counts[1:]), len(blocks.grid))  # two layers, in raster order
        return {
            "maps": 0 if self.maps else 4 * mapped,
            "parts": waiting * (4 * final + 16 * (extent - final)) if blocks.hand_over and not self.maps else 0,
            "offsets": 0 if self.tracked else 3 * voxels,
            "labels": math.ceil(labels * share) * _itemsize(self.target.dtype),
        }

    def describe(self) -> str:
        """The plan for people: what ``--dry-run`` prints."""
        grid, memory, disk = self.grid, self.memory(), self.disk_bytes()
        size, blocks = self.scope.tracked.size, len(grid.touching(self.scope.tracked))
        lines = [
            f"image      {self.image.path} (OME-Zarr {self.image.version}), level {self.level}, "
            f"channel {', '.join(map(str, self.channels))}, {len(self.times)} time point(s), "
            f"{_by(self.image_shape)} voxels of {self.image.dtype}",
            f"model      {self.model or 'none: maps from ' + str(self.maps)}"
            + (f", its maps kept in {self.maps}" if self.reuses_maps else "")
            + (f", tracked in {self.tracked}" if self.tracked else "")
            + (f" ({self.representation}, cells of {self.card.diameter_vox:g} voxels)" if self.card else ""),
            *self._describe_where(),
            f"grid       {_by(self.shape)} working voxels, {', '.join(f'{f:.3g}' for f in self.factors)} "
            "image voxels per working voxel (z, y, x)",
            f"blocks     {blocks} of {_by(self.block)} ({_by(grid.counts)}), {size / 1e6:.1f} Mvoxel",
            f"halos      predict {self.margin}, track {self.reach}, cluster {self.reach + 2 * self.radius}",
            f"patches    {len(self.patches.cores)} of {_by(self.patch)}, overlapping by {2 * self.margin}, "
            f"in {self.precision}; {_by(self.patch_blocks.per_block)} a task, each computed once",
            f"tracking   {self.steps} steps, reach {self.reach}, closing radius {self.radius}, "
            f"foreground at {self.foreground / 127:.2f}",
            f"memory     {format_bytes(self.worker_bytes())} per worker; tasks need "
            + ", ".join(f"{name} {format_bytes(number)}" for name, number in memory.items()),
            "disk       at most " + ", ".join(f"{name} {format_bytes(number)}" for name, number in disk.items()),
            f"labels     {self.target.path}, {self.target.dtype}, "
            f"{len(self.target.levels)} level(s), shards of {_by(self.target.shard)}, "
            f"chunks of {_by(self.target.chunk)}",
            f"work       {self.work_dir}",
        ]
        return "\n".join(lines)

    def _describe_where(self) -> list[str]:
        """Lines on the region of interest and the mask, if there are any."""
        lines = []
        if self.roi is not None:
            ends = zip(self.roi.start, self.roi.stop, strict=True)
            lines.append(f"region     {','.join(f'{a}:{b}' for a, b in ends)} (voxels z, y, x of the label image)")
        if self.mask is not None:
            size = _by(self.mask.levels[self.mask_level].shape)
            lines.append(f"mask       {self.mask.path}, level {self.mask_level} ({size} voxels)")
        return lines


def name_differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Settings that differ, as "name: then, now"; inside a group of settings, those of the group."""
    found = []
    for name in {**then, **now}:
        old, new = then.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += [f"{name}.{line}" for line in name_differences(old, new)]
        elif old != new:
            found.append(f"{name}: {old} then, {new} now")
    return found


def _inner(grid: BlockGrid) -> Vec3:
    """A block that is never a cut one, and an inner one where there is any."""
    return vec3((n - 1) // 2 for n in grid.counts)


def _itemsize(dtype: str) -> int:
    return int(np.dtype(dtype).itemsize)


def _by(shape: Vec3) -> str:
    return " x ".join(str(s) for s in shape)
