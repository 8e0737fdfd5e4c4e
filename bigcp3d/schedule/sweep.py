"""Tries many settings on one region: predicts once per diameter, then tracks, groups and filters in memory.

The labels of a trial equal those that ``bigcp3d segment --roi`` writes in the region with the same settings, voxel by
voxel. Cells inside the region are those of the whole volume. Cells that its border cuts may differ from these.
"""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo, open_labels
from bigcp3d.edge.image.level_geometry import placed
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.edge.labels.edit_log import refuse_half_changed
from bigcp3d.edge.labels.label_plan import is_read_only
from bigcp3d.edge.labels.truth import open_truth
from bigcp3d.edge.stores.places import is_address, place
from bigcp3d.errors import BigCP3DError, BlockError, InputError
from bigcp3d.option import takes
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.memory import format_bytes
from bigcp3d.schedule.complete_request import complete_request
from bigcp3d.schedule.planning.find_image import with_known_image
from bigcp3d.schedule.planning.make_plan import make_plan
from bigcp3d.schedule.planning.request import AS_IS, SWEPT, Request
from bigcp3d.schedule.running.events import Observer, RunPlanned
from bigcp3d.schedule.running.run_log import RunLog
from bigcp3d.schedule.running.serial import execute_serially
from bigcp3d.schedule.running.start import prepare
from bigcp3d.schedule.running.tasks import MAP_PASSES, in_order, object_passes
from bigcp3d.schedule.sweep_trial import RegionObjects, Trial, limits_of
from bigcp3d.work.analyse.evaluate import check_same_image
from bigcp3d.work.analyse.measure import warn_of_unknown
from bigcp3d.work.convert.beside import convert_labels_beside
from bigcp3d.work.passes.normalise_pass import normalise
from bigcp3d.work.plan.memory_and_disk import worker_bytes
from bigcp3d.work.plan.plan import MAPS, Plan
from bigcp3d.work.run.run import Run
from bigcp3d.work.run.work_dir import ONCE

MOST_TRIALS = 1000

BYTES_PER_VOX = (20, 16)
"""For a predicted voxel (maps, offsets, scratch arrays), and for a voxel of the region (labels, truth, overlaps)."""


KnownMaps = dict[str, tuple[NDArray[np.int8], Box]]
"""Maps of a box, by all that they depend on."""


@dataclass(frozen=True)
class Sweep:
    """The combinations to try, and a plan for each.

    ``groups`` are the numbers of the trials that share maps. The first number of a group is the plan that predicts for
    the group: the one that needs the largest box.
    """

    request: Request
    settings: tuple[dict[str, float | str], ...]
    plans: tuple[Plan, ...]
    groups: tuple[tuple[int, ...], ...]
    truth: ImageInfo | None

    @property
    def plan(self) -> Plan:
        """The first plan that predicts. Image, region and time point are the same in all."""
        return self.plans[self.groups[0][0]]

    @property
    def region(self) -> Box:
        """The region to label, in voxels of level 0."""
        return self.plan.scope.wanted

    @property
    def time(self) -> int:
        """The time point."""
        return self.plan.where.times[0]

    def run(
        self,
        *,
        on_event: Observer | None = None,
        scratch: str | Path | None = None,
        threads: int = 1,
        known: KnownMaps | None = None,
    ) -> Iterator[Trial]:
        """Predict, then try one combination after the other. Each diameter is predicted once.

        Parameters
        ----------
        on_event : callable, optional
            Receives the events of the prediction.
        scratch : str or Path, optional
            An existing folder for the maps of the region, which are removed at the end. Default: that of the system.
        threads : int
            Threads that track and group.
        known : dict, optional
            Maps of earlier sweeps. What they hold is not predicted again; what is predicted is put there.

        Yields
        ------
        Trial
            In the order of ``settings``.

        Raises
        ------
        BlockError, InputError
            If the prediction failed.
        """
        truth = None
        if self.truth is not None:
            truth = read_box(self.truth, 0, self.region, time=self.time if self.truth.times > 1 else 0)
            warn_of_unknown(self.truth.path, int(np.count_nonzero(truth < 0)))
        for group in self.groups:
            yield from self._try_group(group, on_event or (lambda event: None), scratch, threads, truth, known)

    def _try_group(
        self,
        group: Sequence[int],
        observe: Observer,
        scratch: str | Path | None,
        threads: int,
        truth: NDArray[Any] | None,
        known: KnownMaps | None,
    ) -> Iterator[Trial]:
        """The trials that share maps, in the order of their numbers."""
        first = self.plans[group[0]]
        key = json.dumps([first.sections(MAPS), self.time])
        found = None if known is None else known.get(key)
        if found is None or found[1].intersect(first.scope.mapped) != first.scope.mapped:
            found = self._read_maps(first, observe, scratch)
        maps, mapped = found
        if known is not None:
            known[key] = maps, mapped
        for _, alike in itertools.groupby(sorted(group), key=lambda number: limits_of(self.plans[number])):
            numbers = list(alike)
            objects = RegionObjects(self.plans[numbers[0]], maps, mapped, threads)
            for number in numbers:
                yield objects.try_filters(self.plans[number], self.settings[number], truth)

    def _read_maps(self, plan: Plan, observe: Observer, scratch: str | Path | None) -> tuple[NDArray[np.int8], Box]:
        """The maps that a plan needs, and their box. They were kept or given, or are predicted now."""
        mapped = plan.scope.mapped
        if plan.given.maps is not None:
            observe(RunPlanned(plan))
            if plan.reuses_maps:
                normalise(Run(plan), self.time, ONCE)  # refuses maps of an image that was changed since
            return Run(plan).read("maps", self.time, mapped), mapped
        with tempfile.TemporaryDirectory(prefix="bigcp3d-sweep-", dir=scratch) as folder:
            plan = plan.model_copy(update={"storage": plan.storage.model_copy(update={"work_dir": folder})})
            run, log = Run(plan), RunLog(observe, plan)
            observe(RunPlanned(plan))
            prepare(plan, resumed=False, overwrite=False)
            until_maps = [[each for each in passes if each.name in MAP_PASSES] for passes in object_passes(plan)]
            log.start(until_maps)
            failures = execute_serially(run, in_order(until_maps), log.add, log.fail)
            for error in failures.values():
                if isinstance(error, BigCP3DError):
                    raise error
                raise BlockError(f"the region could not be predicted ({type(error).__name__}: {error})") from error
            return run.read("maps", self.time, mapped), mapped


@takes(Request)
def plan_sweep(
    source: str | Path,
    values: Mapping[str, Sequence[float | str]],
    *,
    truth: str | Path | None = None,
    truth_name: str = "truth",
    on_event: Observer | None = None,
    **arguments: Any,
) -> Sweep:
    """Plan a sweep over all combinations of values. Each is checked before anything is predicted.

    Parameters
    ----------
    values : mapping
        Values to try, by name (``prepare``, ``diameter_um``, ``foreground``, ``radius_vox``, ``closing_vox`` or a
        filter). Combinations come in the order of `bigcp3d.schedule.planning.request.SWEPT`; the last name varies
        fastest.
    truth : str or Path, optional
        Name of the labels of the image that hold the truth. Or another image or labels group with the truth.
    truth_name : str, default "truth"
        Name of the labels in the other image.
    **arguments
    on_event : callable, optional
        Receives what is estimated, where the diameter or the model is left open.

    Raises
    ------
    InputError, ModelError
        For unknown names, no values, too many combinations, wrong values, a truth of another grid, or a region that is
        too large for the memory.

    Examples
    --------
    >>> values = {"foreground": [0.4, 0.6]}
    >>> sweep = bigcp3d.plan_sweep("tissue.zarr", values, roi=":,0:32,0:32", model="nuclei", diameter_um=14.0)
    >>> [trial.settings for trial in sweep.run()]
    [{'foreground': 0.4}, {'foreground': 0.6}]
    """
    settings = _combine(values)
    base = Request(source, **{"time": 0, **arguments, "executor": "serial", "keep_maps": False})
    base = with_known_image(base)
    refused = {"mask": base.mask, "labels_level": base.labels_level, "on_error": base.on_error == "skip"}
    for name, asked in refused.items():
        if asked:
            raise InputError(f"a sweep takes no {name}; leave it out, and give a region (--roi)")
    if base.output is None and is_read_only(base.source):
        base = replace(base, output=f"{place(base.source).name}-cells.zarr")  # planned, and never written
    swept = {"diameter_um", "diameter_vox"} & set(values)

    def check_early(sketch: Plan) -> None:
        for one in settings:
            replace(base, **{"diameter_um": None, **one}).check()  # type: ignore[arg-type]
        _refuse_times(sketch)
        _open_truth(base, sketch, truth, truth_name)

    base = complete_request(replace(base, diameter_um=AS_IS) if swept else base, on_event, check_early)[0]
    base = replace(base, diameter_um=None) if "diameter_vox" in swept else base
    later = replace(base, start="auto" if base.maps else "image")  # of a group, one plan predicts or finds kept maps
    plans = [make_plan(replace(later, **one)) for one in settings]  # type: ignore[arg-type]
    groups = _group_by_maps(plans)
    for first, *_ in groups:
        plans[first] = make_plan(replace(base, **settings[first]))  # type: ignore[arg-type]
    sweep = Sweep(base, tuple(settings), tuple(plans), groups, _open_truth(base, plans[0], truth, truth_name))
    _check(sweep)
    return sweep


def _combine(values: Mapping[str, Sequence[float | str]]) -> list[dict[str, float | str]]:
    """All combinations of values; refuses unknown names, names without a value, and too many combinations."""
    unknown = [name for name in values if name not in SWEPT]
    empty = [name for name, tried in values.items() if not len(tried)]
    if unknown or empty:
        raise InputError(f"cannot try {', '.join(unknown + empty)}; give values of some of {', '.join(SWEPT)}")
    values = {name: values[name] for name in SWEPT if name in values}
    combined = list(itertools.product(*values.values()))
    if len(combined) > MOST_TRIALS:
        raise InputError(
            f"the values make {len(combined)} combinations; at most {MOST_TRIALS} are allowed: give fewer values"
        )
    return [dict(zip(values, combination, strict=True)) for combination in combined]


def _group_by_maps(plans: Sequence[Plan]) -> tuple[tuple[int, ...], ...]:
    """Numbers of the plans that share maps, the one with the largest box first."""
    groups: dict[str, list[int]] = {}
    for number, plan in enumerate(plans):
        groups.setdefault(json.dumps(plan.sections(MAPS)), []).append(number)
    return tuple(tuple(sorted(group, key=lambda number: -plans[number].scope.mapped.size)) for group in groups.values())


def _open_truth(base: Request, plan: Plan, truth: str | Path | None, name: str) -> ImageInfo | None:
    """The labels with the truth: those of the image with this name, or those of another store. Same grid required."""
    if truth is None:
        return None
    image, scale = plan.source.image, base.scale_um
    try:
        found = open_labels(image.path, str(truth))
    except InputError as error:
        if not (is_address(truth) or os.path.exists(os.path.expanduser(truth))):
            raise InputError(f"{error}; for a truth in another store give the path of that store") from error
        found = open_truth(convert_labels_beside(truth, image.levels[0].scale_um), name)
    refuse_half_changed(found)
    same_times = replace(found, times=image.times) if found.times == 1 else found
    pair = (image, same_times) if scale is None else (placed(image, scale), placed(same_times, scale))
    check_same_image(*pair)  # --scale corrects both
    return found


def _refuse_times(plan: Plan) -> None:
    if (times := len(plan.where.times)) > 1:
        raise InputError(f"a sweep takes one time point, but there are {times}; give one with --time")


def _check(sweep: Sweep) -> None:
    """Refuse several time points, and a region that does not fit in memory."""
    _refuse_times(sweep.plan)
    per_map, per_label = BYTES_PER_VOX
    needed = max(
        worker_bytes(plan) + per_map * plan.scope.mapped.size + per_label * sweep.region.size
        for plan in (sweep.plans[first] for first, *_ in sweep.groups)
    )
    limit = sweep.request.machines.limit_bytes
    if needed > limit:
        raise InputError(
            f"a region of {sweep.region.shape} voxels (z, y, x) and its surroundings need {format_bytes(needed)} of "
            f"memory, but the limit is {format_bytes(limit)}; give a smaller --roi"
        )
