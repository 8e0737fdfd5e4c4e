"""Tries many settings of the later passes on one region: predicted once, then tracked, grouped and filtered in memory.

The labels of a trial are those that ``bigcp3d segment --roi`` writes in the region with the same settings, voxel by
voxel: the boxes around the region are those of `bigcp3d.work.plan.scope`, and the functions those of the passes
(`bigcp3d.pure.in_memory`). Cells inside the region are those of the whole volume; nothing is promised about cells that
its border cuts.
"""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo, open_labels
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.errors import BigCP3DError, BlockError, InputError
from bigcp3d.option import takes
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.grid import spread_labels
from bigcp3d.pure.group.objects import dense_ids, keep_objects
from bigcp3d.pure.in_memory import Limits, Objects, find_objects
from bigcp3d.pure.label.vote import vote_labels, voting_box
from bigcp3d.pure.memory import format_bytes
from bigcp3d.pure.score.metrics import Number, count_overlaps, score_overlaps
from bigcp3d.pure.track.sinks import Sums
from bigcp3d.schedule.planning.make_plan import make_plan
from bigcp3d.schedule.planning.request import SWEPT, Request
from bigcp3d.schedule.running.events import Observer, RunPlanned
from bigcp3d.schedule.running.run_log import RunLog
from bigcp3d.schedule.running.serial import execute_serially
from bigcp3d.schedule.running.start import prepare
from bigcp3d.schedule.running.tasks import object_tasks
from bigcp3d.work.passes.intake import normalise
from bigcp3d.work.plan.memory_and_disk import worker_bytes
from bigcp3d.work.plan.plan import Plan
from bigcp3d.work.run.run import Run
from bigcp3d.work.run.work_dir import ONCE

MOST_TRIALS = 1000

BYTES_PER_VOX = (20, 16)
"""For a predicted voxel (maps, offsets, scratch arrays), and for one of the region (labels, truth, their overlaps)."""


@dataclass(frozen=True, eq=False)
class Trial:
    """What one combination of settings gives in the region.

    Attributes
    ----------
    settings : dict
        Those that were tried, by name of `Request`.
    labels : ndarray of uint32
        Of the region, in voxels of the image's level 0.
    cells : int
        With a voxel in the region.
    removed : dict of str to int
        Objects that each filter took out.
    volumes : ndarray of float, shape (cells,)
        Of whole cells, in voxels of level 0 (from those of the working grid).
    foreground_vox, unassigned_vox : int
        Working voxels of the region and its surroundings that are foreground; that reached no cell.
    scores : dict or None
        With a truth: `bigcp3d.pure.score.metrics` in the region, where pieces of cells at its border count as cells.
    """

    settings: dict[str, float]
    labels: NDArray[np.uint32]
    cells: int
    removed: dict[str, int]
    volumes: NDArray[np.float64]
    foreground_vox: int
    unassigned_vox: int
    scores: dict[str, Number] | None


@dataclass(frozen=True)
class Sweep:
    """What is tried: the plans, in the order of the combinations, and the one that predicts for all."""

    request: Request
    settings: tuple[dict[str, float], ...]
    plans: tuple[Plan, ...]
    widest: int
    truth: ImageInfo | None

    @property
    def plan(self) -> Plan:
        """The plan that needs maps in the largest box."""
        return self.plans[self.widest]

    @property
    def region(self) -> Box:
        """Where labels are wanted, in voxels of level 0."""
        return self.plan.scope.wanted

    @property
    def time(self) -> int:
        """The time point."""
        return self.plan.where.times[0]

    def run(
        self, *, on_event: Observer | None = None, scratch: str | Path | None = None, threads: int = 1
    ) -> Iterator[Trial]:
        """Predict, then try one combination after the other.

        Parameters
        ----------
        on_event : callable, optional
            Receives the events of the prediction.
        scratch : str or Path, optional
            An existing folder for the maps of the region, which are removed in the end. Default: the system's.
        threads : int
            For the later passes.

        Yields
        ------
        Trial
            In the order of `settings`.

        Raises
        ------
        BlockError, InputError
            Prediction failed.
        """
        maps, mapped = self._read_maps(on_event or (lambda event: None), scratch)
        image = None if self.truth is None else read_box(self.truth, 0, self.region, time=self._truth_time())
        key = None
        for settings, plan in zip(self.settings, self.plans, strict=True):
            limits = Limits(
                plan.tracking.foreground, plan.tracking.steps, plan.tracking.reach, plan.grouping.closing_vox
            )
            if limits != key:
                key, squares, won = limits, None, None
                objects = find_objects(
                    maps, mapped, plan.scope.tracked, plan.shape, limits, copies=plan.label_copies, threads=threads
                )
            if plan.checks_flow and squares is None:
                squares = objects.squares(plan.prediction.representation, plan.prediction.scale_vox)
            if plan.votes and won is None:
                won = _vote(plan, objects)
            yield _try(plan, settings, objects, squares if plan.checks_flow else None, won, image)

    def _truth_time(self) -> int:
        return self.time if self.truth is not None and self.truth.times > 1 else 0

    def _read_maps(self, observe: Observer, scratch: str | Path | None) -> tuple[NDArray[np.int8], Box]:
        """The maps of the widest box: kept ones, given ones, or predicted now."""
        plan, mapped = self.plan, self.plan.scope.mapped
        if plan.given.maps is not None:
            observe(RunPlanned(plan))
            if plan.reuses_maps:
                normalise(Run(plan), self.time, ONCE)  # which refuses maps of other voxels
            return Run(plan).read("maps", self.time, mapped), mapped
        with tempfile.TemporaryDirectory(prefix="bigcp3d-sweep-", dir=scratch) as folder:
            plan = plan.model_copy(update={"storage": plan.storage.model_copy(update={"work_dir": folder})})
            run, log = Run(plan), RunLog(observe, plan)
            observe(RunPlanned(plan))
            prepare(plan, resumed=False, overwrite=False)
            tasks = [task for task in object_tasks(plan) if task.key[0] in ("normalise", "predict", "merge")]
            log.start(tasks)
            failures = execute_serially(run, tasks, log.add, log.fail)
            for error in failures.values():
                if isinstance(error, BigCP3DError):
                    raise error
                raise BlockError(f"the region could not be predicted ({type(error).__name__}: {error})") from error
            return run.read("maps", self.time, mapped), mapped


@takes(Request)
def plan_sweep(
    source: str | Path, values: Mapping[str, Sequence[float]], *, truth: str | None = None, **arguments: Any
) -> Sweep:
    """Plan a sweep: all combinations of values, each checked before anything is predicted.

    Parameters
    ----------
    values : mapping
        Values to try, by name (``foreground``, ``radius_vox`` or a filter). Combinations come in the order of
        `bigcp3d.schedule.planning.request.SWEPT`, the last name varying fastest.
    truth : str, optional
        Labels of the image with the truth.
    **arguments

    Raises
    ------
    InputError, ModelError
        Unknown names, no values, too many combinations, values that cannot be, or a region too large for the memory.

    Examples
    --------
    >>> sweep = bigcp3d.plan_sweep("tissue.zarr", {"foreground": [0.4, 0.6]}, roi=":,0:32,0:32", model="nuclei")
    >>> [trial.settings for trial in sweep.run()]
    [{'foreground': 0.4}, {'foreground': 0.6}]
    """
    unknown = [name for name in values if name not in SWEPT]
    empty = [name for name, tried in values.items() if not len(tried)]
    if unknown or empty:
        raise InputError(f"cannot try {', '.join(unknown + empty)}; give values of some of {', '.join(SWEPT)}")
    values = {name: values[name] for name in SWEPT if name in values}  # what is found again and again changes least
    combined = list(itertools.product(*values.values()))
    if len(combined) > MOST_TRIALS:
        raise InputError(f"{len(combined)} combinations were asked for; {MOST_TRIALS} are allowed: give fewer values")
    base = Request(source, **{"time": 0, **arguments, "executor": "serial", "keep_maps": False})
    refused = {"mask": base.mask, "labels_level": base.labels_level, "on_error": base.on_error == "skip"}
    for name, asked in refused.items():
        if asked:
            raise InputError(f"a sweep takes no {name}; leave it out, and give a region (--roi)")
    settings = [dict(zip(values, combination, strict=True)) for combination in combined]
    later = replace(base, start="auto" if base.maps else "image")  # who predicts, or from what, is decided once
    plans = [make_plan(replace(later, **one)) for one in settings]  # type: ignore[arg-type]
    widest = max(range(len(plans)), key=lambda number: plans[number].scope.mapped.size)
    plans[widest] = make_plan(replace(base, **settings[widest]))  # type: ignore[arg-type]
    sweep = Sweep(base, tuple(settings), tuple(plans), widest, _open_truth(plans[widest], truth))
    _check(sweep)
    return sweep


def _open_truth(plan: Plan, name: str | None) -> ImageInfo | None:
    """The labels with the truth, which lie on the image's voxels."""
    if name is None:
        return None
    truth, shape = open_labels(plan.source.image.path, name), plan.source.image.levels[0].shape
    if truth.levels[0].shape != shape:
        raise InputError(f"{truth.path}: found labels of {truth.levels[0].shape} voxels for an image of {shape}")
    return truth


def _check(sweep: Sweep) -> None:
    """Refuse several time points, and a region that does not fit in memory."""
    plan = sweep.plan
    if len(plan.where.times) > 1:
        raise InputError(f"{len(plan.where.times)} time points were asked for; a sweep looks at one: give one (--time)")
    per_map, per_label = BYTES_PER_VOX
    needed = worker_bytes(plan) + per_map * plan.scope.mapped.size + per_label * sweep.region.size
    limit = sweep.request.machines.limit_bytes
    if needed > limit:
        raise InputError(
            f"a region of {sweep.region.shape} voxels (z, y, x), with what it sees around it, needs "
            f"{format_bytes(needed)} of memory, and {format_bytes(limit)} are there; give a smaller --roi"
        )


def _number(sums: Sums) -> NDArray[np.int64]:
    """Number of each object, from 1: by first voxels, as a run numbers them."""
    return dense_ids(sums, np.ones(len(sums), bool))


def _vote(plan: Plan, objects: Objects) -> NDArray[np.unsignedinteger[Any]]:
    """Number of the object that wins each voxel of the region, where working voxels are finer; filters come later."""
    seen = voting_box(plan.scope.wanted, plan.output.label_factors, plan.shape)
    numbers = objects.label(seen, _number(objects.components.sums))
    return vote_labels(numbers, seen, plan.scope.wanted, plan.output.label_factors, plan.shape)


def _try(
    plan: Plan,
    settings: dict[str, float],
    objects: Objects,
    squares: NDArray[np.int64] | None,
    won: NDArray[np.unsignedinteger[Any]] | None,
    truth: NDArray[Any] | None,
) -> Trial:
    """Filter what was found, name it, and compare it with the truth."""
    sums, scope = objects.components.sums, plan.scope
    if won is not None:
        voxels = np.bincount(won.ravel(), minlength=len(sums) + 1)
        sums = replace(sums, image_vox=voxels[_number(sums)])
    keep, removed = keep_objects(sums, plan.filters, squares, among=sums.image_vox > 0)
    ids = dense_ids(sums, keep)
    if won is None:
        seen = voting_box(scope.wanted, plan.output.label_factors, plan.shape)
        labels = spread_labels(objects.label(seen, ids), seen, scope.wanted, plan.output.label_factors, plan.shape)
    else:
        table = np.zeros(len(sums) + 1, np.uint32)
        table[_number(sums)] = ids
        labels = table[won]
    volumes = np.asarray(sums.count[keep] * math.prod(plan.output.label_factors), np.float64)
    return Trial(
        settings=settings,
        labels=labels.astype(np.uint32),
        cells=int(keep.sum()),
        removed=removed,
        volumes=volumes,
        foreground_vox=objects.foreground_vox,
        unassigned_vox=objects.foreground_vox - int(sums.count.sum()),
        scores=None if truth is None else score_overlaps(count_overlaps(labels, truth)),
    )
