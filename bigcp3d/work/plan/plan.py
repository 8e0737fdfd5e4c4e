"""The plan: all settings of a run as frozen data, a page of JSON.

It is made once, before any work starts (`bigcp3d.schedule.planning.make_plan`), and sent to every worker. Settings on
which the same things depend form a section: the predicted maps depend on the sections `MAPS`, and a run is carried on
only where the sections `RESUMED` are equal. So a new setting counts as soon as it is in a section.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import BlockGrid, Box, Vec3
from bigcp3d.pure.group.filters import Filters
from bigcp3d.pure.label.deciding_box import halo, resamples
from bigcp3d.pure.predict.patch_blocks import PatchBlocks
from bigcp3d.pure.predict.patches import PatchGrid
from bigcp3d.pure.track.radius import expected_diameter
from bigcp3d.work.plan.id_ranges import IdRanges
from bigcp3d.work.plan.name_differences import name_differences
from bigcp3d.work.plan.scope import Scope
from bigcp3d.work.plan.sections import (
    Asked,
    Execution,
    Given,
    Grouping,
    Guess,
    Output,
    Prediction,
    Running,
    Sampling,
    Section,
    Source,
    Storage,
    Tracking,
    Where,
)

PLAN_FILE = "plan.json"

MAPS = ("source", "sampling", "prediction", "version")
"""Sections that decide the maps of a time point, where all of it is predicted and no chunk was lost."""

ASKED_OF_MAPS = ("diameter", "scale", "model", "channel", "level", "prepare", "precision")
"""Settings of `Asked` from which these sections follow."""

RESULT = ("source", "sampling", "prediction", "given", "where", "tracking", "grouping", "filters", "output")
"""Sections that decide the labels."""

RESUMED = (*RESULT, "execution", "version")
"""Sections that decide the labels and how the work is cut into tasks: equal where a run is carried on."""


class Plan(Section):
    """All that decides a run: image, model, settings, blocks and memory."""

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
    def voxels(self) -> int:
        """Voxels that get labels, over all time points."""
        return self.scope.wanted.size * len(self.where.times)

    @property
    def image_shape(self) -> Vec3:
        """Shape of the level that is read."""
        return self.source.image.levels[self.source.level].shape

    def intermediate_grid(self, kind: str) -> BlockGrid:
        """Blocks of ``maps``, ``offsets``, ``sinks`` or ``components``; each is one file."""
        return self.patch_blocks.grid if kind == "maps" else self.grid

    def label_grid(self, level: int) -> BlockGrid:
        """Blocks of one level of the label image; each is one shard."""
        return self.output.target.grid(level)

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
    def resamples(self) -> bool:
        """Whether the voxels of the labels are not those of the working grid."""
        return resamples(self.output.label_factors)

    @property
    def looking_halo(self) -> int:
        """Voxels around a block whose maps decide which voxels of the label image take its labels."""
        return halo(self.output.label_factors)

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
    def voxel(self) -> tuple[float, float, float]:
        """Size of a working voxel, in an unknown unit: its proportions.

        With a diameter it is a cube, whatever the store says.
        """
        if self.sampling.factors != (1.0, 1.0, 1.0):
            return (1.0, 1.0, 1.0)
        z, y, x = self.output.target.levels[0].scale_um or (1.0, 1.0, 1.0)
        a, b, c = self.output.label_factors
        return (z * a, y * b, x * c)

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
