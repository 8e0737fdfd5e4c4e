"""The plan: all settings of a run as frozen data, a page of JSON.

It is made once, before any work starts (`bigcp3d.schedule.planning.make_plan`), and sent to every worker. Its sections
are cut by what depends on them: `MAPS` decides the predicted maps, and `RESUMED` has to be equal for a run to be
carried on. So a new setting counts as soon as it stands in a section.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.labels.label_plan import LabelTarget
from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import BlockGrid, Box, Vec3
from bigcp3d.pure.grid import Factors, image_copies
from bigcp3d.pure.group.objects import Filters
from bigcp3d.pure.label.vote import votes
from bigcp3d.pure.predict.patch_blocks import PatchBlocks
from bigcp3d.pure.predict.patches import PatchGrid
from bigcp3d.work.plan.scope import Scope

PLAN_FILE = "plan.json"

MAPS = ("source", "sampling", "prediction", "version")
"""Sections that decide the maps of a time point, where all of it is predicted and no chunk was lost."""

RESULT = ("source", "sampling", "prediction", "given", "where", "tracking", "grouping", "filters", "output")
"""Sections that decide the labels."""

RESUMED = (*RESULT, "execution", "version")
"""Sections that decide the labels and how the work is cut into tasks: equal where a run is carried on."""


class Section(BaseModel):
    """Settings on which the same things depend."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Source(Section):
    """What is read: the image, its pyramid level, and its channels in the order in which the network takes them.

    The first channel's intensity is measured. The image's ``label_names`` are left out, since a run changes them.
    """

    image: ImageInfo
    level: int
    channels: tuple[int, ...]


class Sampling(Section):
    """The working grid: voxels of the image's level per working voxel, and its shape in working voxels."""

    factors: Factors
    shape: Vec3


class Prediction(Section):
    """How maps are predicted: the network's file and card, patches, percentiles, precision, and what flow means.

    ``model_hash`` (the sha256 of the file) and ``card`` are None where a user gave the maps.
    """

    model_hash: str | None
    card: ModelCard | None
    patch: Vec3
    margin: int
    low_percentile: float
    high_percentile: float
    clip: tuple[float, float]
    precision: str
    representation: str
    scale_vox: float


class Given(Section):
    """Maps that take the place of ``predict``: where they are (None: predict), and bytes of a stored value."""

    maps: str | None = None
    itemsize: int = 1


class Where(Section):
    """Time points, the region in voxels of the label image (None: all), and a mask.

    Cells may be where the mask's ``mask_level`` is above 0; ``mask_factors`` are its voxels per working voxel.
    """

    times: tuple[int, ...]
    roi: Box | None = None
    mask: ImageInfo | None = None
    mask_level: int = 0
    mask_factors: Factors = (1.0, 1.0, 1.0)


class Tracking(Section):
    """Threshold on the stored foreground (1 to 127), steps, and the longest path in working voxels."""

    foreground: int
    steps: int
    reach: int


class Grouping(Section):
    """Radius of the closing that joins end points, in working voxels."""

    closing_vox: int


class Output(Section):
    """The labels, and their voxels per working voxel."""

    target: LabelTarget
    label_factors: Factors


class Execution(Section):
    """How the work is cut into blocks, and whether missing chunks of the image are filled ("fill") or refused ("fail").

    No label depends on it, but tasks that are done do.
    """

    block: Vec3
    missing_chunks: str = "fill"


class Storage(Section):
    """Where intermediate results and the network's file lie, whether maps stay, what becomes of unreadable input.

    ``on_error`` is "fail" or "skip" (`bigcp3d.work.run.unreadable_input`). A run may be carried on with another one.
    """

    work_dir: str
    model: str | None
    keep_maps: bool = False
    on_error: str = "fail"


class Asked(Section):
    """What the user said: the command line, and the settings that were given, by name and with their units."""

    command: str = "from Python"
    settings: dict[str, Any] = {}

    def differences(self, then: Asked) -> list[str]:
        """Settings that were asked for otherwise, as "diameter 6 um then, 9 um now"."""
        return [
            f"{name} {_plain(then.settings.get(name))} then, {_plain(self.settings.get(name))} now"
            for name in {**then.settings, **self.settings}
            if then.settings.get(name) != self.settings.get(name)
        ]


class Plan(Section):
    """A run."""

    source: Source
    sampling: Sampling
    prediction: Prediction
    given: Given
    where: Where
    tracking: Tracking
    grouping: Grouping
    filters: Filters
    output: Output
    execution: Execution
    storage: Storage
    asked: Asked
    version: str

    @property
    def shape(self) -> Vec3:
        """Of the working grid."""
        return self.sampling.shape

    @property
    def grid(self) -> BlockGrid:
        """Blocks of the working grid."""
        return BlockGrid(self.shape, self.execution.block)

    @property
    def patches(self) -> PatchGrid:
        """Patches of the network."""
        return PatchGrid(self.shape, self.prediction.patch, self.prediction.margin)

    @property
    def patch_blocks(self) -> PatchBlocks:
        """Blocks of the maps: whole patches, each of which is computed once."""
        return PatchBlocks.near(self.patches, self.execution.block)

    @cached_property
    def scope(self) -> Scope:
        """Which voxels each pass has to get right."""
        labels, roi = self.output.target.levels[0], self.where.roi
        wanted = Box.of_shape(labels.shape) if roi is None else roi
        reach, closing = self.tracking.reach, self.grouping.closing_vox
        return Scope.of(wanted, self.output.label_factors, self.shape, reach=reach, closing=closing)

    @property
    def image_shape(self) -> Vec3:
        """Shape of the level that is read."""
        return self.source.image.levels[self.source.level].shape

    def intermediate_grid(self, kind: str) -> BlockGrid:
        """Blocks of ``maps``, ``offsets``, ``sinks`` or ``components``; each is one file."""
        return self.patch_blocks.grid if kind == "maps" else self.grid

    def label_grid(self, level: int) -> BlockGrid:
        """Blocks of one level of the label image; each is one shard."""
        return BlockGrid(self.output.target.levels[level].shape, self.output.target.shard)

    def label_copies(self, box: Box) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """By axis, how many wanted voxels of the label image take their label from each voxel of a working box."""
        wanted = self.scope.wanted
        axes = zip(box.start, box.stop, self.output.label_factors, self.shape, wanted.start, wanted.stop, strict=True)
        z, y, x = (image_copies(*axis) for axis in axes)
        return z, y, x

    @property
    def predicts(self) -> bool:
        """Whether the ``predict`` pass runs."""
        return self.given.maps is None

    @property
    def reuses_maps(self) -> bool:
        """Whether its maps are those that an earlier run predicted for it, rather than any that a user gave."""
        return self.given.maps is not None and self.prediction.card is not None

    @property
    def checks_flow(self) -> bool:
        """Whether the ``check`` pass runs."""
        return self.filters.max_flow_error is not None

    @property
    def votes(self) -> bool:
        """Whether voxels of the label image hold several working voxels, so that the ``vote`` pass runs."""
        return votes(self.output.label_factors)

    @property
    def joins_first(self) -> bool:
        """Whether passes need whole objects before they are resolved."""
        return self.checks_flow or self.votes

    def sections(self, names: Iterable[str]) -> dict[str, Any]:
        """Some sections as JSON knows them."""
        return self.model_dump(mode="json", include=set(names))

    @property
    def key(self) -> str:
        """Sha256 of the sections `RESUMED`."""
        return hashlib.sha256(json.dumps(self.sections(RESUMED), sort_keys=True).encode()).hexdigest()

    def differences(self, then: Plan) -> list[str]:
        """Why a run with the plan ``then`` is not carried on: what was asked for otherwise, else what derives from it.

        Empty where the keys are equal.
        """
        derived = name_differences(then.sections(RESUMED), self.sections(RESUMED))
        return (self.asked.differences(then.asked) or derived) if derived else []


def read_plan(work_dir: str | Path) -> Plan:
    """The plan in a work directory.

    Raises
    ------
    InputError
        Where there is none that this version of bigcp3d understands; the message says what to do.
    """
    path = Path(work_dir) / PLAN_FILE
    try:
        return Plan.model_validate_json(path.read_bytes())
    except ValidationError as error:
        try:
            found = json.loads(path.read_bytes())["version"]
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"{path}: the plan is damaged; remove the directory, or give --overwrite to discard it"
            ) from error
        raise InputError(
            f"{path}: the plan was written by another version of bigcp3d ({found}); finish that run with it, or remove "
            "the directory, or give --overwrite to discard it"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: the plan cannot be read ({error.strerror}); check the path") from error


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


def _plain(setting: Any) -> str:
    return "not given" if setting is None else str(setting)
