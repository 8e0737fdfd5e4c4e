"""The plan: all settings of a run as frozen data, a page of JSON.

It is made once, before any work starts (`bigcp3d.schedule.planning.make_plan`), and sent to every worker. Settings on
which the same things depend form a section: the predicted maps depend on the sections `MAPS`, and a run is carried on
only where the sections `RESUMED` are equal. So a new setting counts as soon as it is in a section.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.labels.label_plan import LabelTarget
from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import BlockGrid, Box, Vec3
from bigcp3d.pure.grid import Factors, image_copies
from bigcp3d.pure.group.filters import Filters
from bigcp3d.pure.label.voting_box import votes
from bigcp3d.pure.plural import count
from bigcp3d.pure.predict.patch_blocks import PatchBlocks
from bigcp3d.pure.predict.patches import PatchGrid
from bigcp3d.pure.prepare.steps import Step
from bigcp3d.pure.track.radius import expected_diameter
from bigcp3d.work.plan.id_ranges import IdRanges
from bigcp3d.work.plan.scope import Scope

PLAN_FILE = "plan.json"

MAPS = ("source", "sampling", "prediction", "version")
"""Sections that decide the maps of a time point, where all of it is predicted and no chunk was lost."""

ASKED_OF_MAPS = ("diameter", "scale", "model", "channel", "level", "prepare", "precision")
"""Settings of `Asked` from which these sections follow."""

RESULT = ("source", "sampling", "prediction", "given", "where", "tracking", "grouping", "filters", "output")
"""Sections that decide the labels."""

RESUMED = (*RESULT, "execution", "version")
"""Sections that decide the labels and how the work is cut into tasks: equal where a run is carried on."""


class Section(BaseModel):
    """A part of a plan, or of what a run writes about itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Source(Section):
    """The image, the level that is read, and the channels, in the order in which the network takes them.

    The intensity of the first channel is measured. The image has no ``label_names`` here, since a run changes them.
    """

    image: ImageInfo
    level: int
    channels: tuple[int, ...]


class Sampling(Section):
    """The working grid: voxels of the image's level per working voxel, and its shape in working voxels."""

    factors: Factors
    shape: Vec3


class Prediction(Section):
    """How maps are predicted, and what flow means; ``model_hash`` (sha256) and ``card`` are None for given maps.

    ``prepare`` are the filters that the image goes through before the network; sizes are in voxels of its level.
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
    prepare: tuple[Step, ...] = ()


class Given(Section):
    """Maps that need not be predicted: where they are (None: predict), and bytes of a stored value."""

    maps: str | None = None
    itemsize: int = 1


class Where(Section):
    """Time points, the region in voxels of the label image (None: all), and a mask, above 0 where cells may be.

    ``mask_factors`` are voxels of the mask's ``mask_level`` per working voxel.
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
    """The block, and whether missing chunks of the image are filled ("fill") or refused ("fail").

    No label depends on the block, but finished tasks do.
    """

    block: Vec3
    missing_chunks: str = "fill"


class Running(Section):
    """How the tasks run; may change when a run is carried on.

    ``executor`` is "serial" (in one process) or "dask". ``threads`` patches go through the network at a time in one
    task. ``workers`` is the largest number of processes, None where it is not known.
    """

    executor: Literal["serial", "dask"] = "dask"
    threads: int = 1
    workers: int | None = None


class Storage(Section):
    """Where intermediate results and the network's file are, whether maps are kept, and what unreadable input does.

    ``on_error`` is "fail" or "skip" (`bigcp3d.work.run.unreadable_input`). It may change when a run is carried on.
    """

    work_dir: str
    model: str | None
    keep_maps: bool = False
    on_error: str = "fail"


class Asked(Section):
    """What the user said: the command line, and the settings that were given, by name and with their units.

    ``arguments`` are those that decide the labels, exactly as Python takes them.
    """

    command: str = "from Python"
    settings: dict[str, Any] = {}
    arguments: dict[str, Any] = {}

    def differences(self, then: Asked) -> dict[str, str]:
        """By name, the settings that were asked for differently: "diameter 6 um then, 9 um now"."""
        names = {**then.settings, **self.settings}
        pairs = {name: (then.settings.get(name), self.settings.get(name)) for name in names}
        words = {name: ["not given" if one is None else str(one) for one in pair] for name, pair in pairs.items()}
        return {name: "{} {} then, {} now".format(name, *words[name]) for name, (a, b) in pairs.items() if a != b}


class Guess(Section):
    """The model and the diameter that were estimated because the user did not say them.

    ``question`` is what they follow from: the image, the channels, and what the user did say. A run that asks the same
    takes this answer, without a second estimate. ``diameter`` has three digits and is None where the user gave one: in
    micrometres where ``in_um``, else in voxels. It is the median of ``cells`` cells; 80 % lie from ``low`` to ``high``.
    ``chosen`` says why the model was taken; it is empty where the user named one. ``doubts`` say why the diameter may
    be wrong.
    """

    question: dict[str, Any]
    model: str
    chosen: str
    diameter: float | None
    low: float
    high: float
    cells: int
    in_um: bool
    doubts: tuple[str, ...] = ()

    @property
    def answer(self) -> dict[str, Any]:
        """All but the question, ready for JSON."""
        return self.model_dump(mode="json", exclude={"question"})

    def __str__(self) -> str:
        """``diameter 8.1 um (76 cells, 80 % between 6.9 and 9.3), model nuclei (...)``."""
        unit = "um" if self.in_um else "voxels"
        spread = f"({count(self.cells, 'cell')}, 80 % between {self.low:g} and {self.high:g})"
        diameter = "" if self.diameter is None else f"diameter {self.diameter:g} {unit} {spread}"
        return ", ".join(filter(None, [diameter, self.chosen and f"model {self.model} ({self.chosen})"]))


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
    running: Running = Running()
    storage: Storage
    asked: Asked
    guess: Guess | None = None
    version: str

    @property
    def shape(self) -> Vec3:
        """Shape of the working grid."""
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
        """Boxes that the passes have to fill."""
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
    def prepares(self) -> bool:
        """Whether the image goes through filters before a network of this run sees it."""
        return self.predicts and bool(self.prediction.prepare)

    @property
    def reuses_maps(self) -> bool:
        """Whether the maps are kept maps of an earlier run that this run would predict itself."""
        return self.given.maps is not None and self.prediction.card is not None

    @property
    def checks_flow(self) -> bool:
        """Whether the ``check`` pass runs."""
        return self.filters.max_flow_error is not None

    @property
    def votes(self) -> bool:
        """Whether the ``vote`` pass runs: voxels of the label image hold several working voxels."""
        return votes(self.output.label_factors)

    @property
    def joins_first(self) -> bool:
        """Whether the ``join`` pass runs before passes that need whole objects."""
        return self.checks_flow or self.votes

    @cached_property
    def id_ranges(self) -> IdRanges:
        """Ranges of first voxels in which objects are filtered and numbered; one in most runs."""
        return IdRanges.of(self.scope.tracked, self.shape, expected_diameter(self.tracking.reach))

    @property
    def stitches(self) -> bool:
        """Whether each block joins its objects with its neighbours, since one task should not see all components."""
        return self.id_ranges.number > 1

    def sections(self, names: Iterable[str]) -> dict[str, Any]:
        """Some sections, ready for JSON."""
        return self.model_dump(mode="json", include=set(names))

    @property
    def key(self) -> str:
        """Sha256 of the sections `RESUMED`."""
        return hashlib.sha256(json.dumps(self.sections(RESUMED), sort_keys=True).encode()).hexdigest()

    def differences(self, then: Plan) -> list[str]:
        """Why a run with the plan ``then`` is not carried on; empty where the keys are equal.

        Names what was asked differently, or else the numbers that differ.
        """
        derived = name_differences(then.sections(RESUMED), self.sections(RESUMED))
        return ([*self.asked.differences(then.asked).values()] or derived) if derived else []


def read_plan(work_dir: str | Path) -> Plan:
    """The plan in a work directory; an `InputError` where there is none that this version of bigcp3d understands."""
    path = Path(work_dir) / PLAN_FILE
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: the plan cannot be read ({error.strerror}); check the path") from error
    try:
        return Plan.model_validate_json(text)
    except ValidationError as error:
        cure = "remove the directory, or give --overwrite to discard it"
        try:
            version = json.loads(text)["version"]
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path}: the plan is damaged; {cure}") from error
        raise InputError(
            f"{path}: the plan was written by another version of bigcp3d ({version}); finish the run with that "
            f"version, or {cure}"
        ) from error


def name_differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Settings that differ, as "name: 1 then, 2 now"; of a group of settings, as "group.name: 1 then, 2 now"."""
    found = []
    for name in {**then, **now}:
        old, new = then.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += [f"{name}.{line}" for line in name_differences(old, new)]
        elif old != new:
            found.append(f"{name}: {old} then, {new} now")
    return found
