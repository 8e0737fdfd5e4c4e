"""Runs a segmentation from start to end, or from where it stopped: plan, objects, labels.

Nothing is written before every check has passed. The image lists the labels only when all of them are written. Until
then the work directory holds what is done, and the same command continues from there.
"""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from bigcp3d.edge.labels.labels import create_labels, finish_labels
from bigcp3d.edge.workdir.records import write_record
from bigcp3d.errors import FullDiskError, InputError
from bigcp3d.option import takes
from bigcp3d.schedule.measure import measure_run
from bigcp3d.schedule.plan_segmentation import plan_and_check
from bigcp3d.schedule.planning.find_image import with_image
from bigcp3d.schedule.planning.make_plan import check_memory
from bigcp3d.schedule.planning.request import Request
from bigcp3d.schedule.running.events import (
    BlockGoesOn,
    ClusterReady,
    LabelsReady,
    Observer,
    RunFinished,
    RunPlanned,
    Summary,
    Warned,
)
from bigcp3d.schedule.running.expected_time import measure_here, measure_on_dask, measured_time, worth_measuring
from bigcp3d.schedule.running.lock import Hold, hold_locks, locks_of
from bigcp3d.schedule.running.run_log import RunLog, block_error
from bigcp3d.schedule.running.serial import Execute, Failures, execute_serially
from bigcp3d.schedule.running.start import (
    Ended,
    check_start,
    clean_up,
    created_here,
    name_run,
    prepare,
    read_ended,
    refuse_labels_of_others,
    warn_of_storage,
    write_ended,
)
from bigcp3d.schedule.running.tasks import Pass, Task, in_order, label_passes, object_passes
from bigcp3d.work.passes.passes import Counts
from bigcp3d.work.plan.memory_and_disk import worker_bytes
from bigcp3d.work.plan.plan import RESULT, Plan
from bigcp3d.work.run.run import Run
from bigcp3d.work.run.run_costs import sum_up_effort
from bigcp3d.work.run.task_costs import read_spent
from bigcp3d.work.run.unreadable_input import LostPiece, read_lost
from bigcp3d.work.run.work_dir import ONCE, WorkDir

Measure = Callable[[], float | None]
"""Gives the seconds for a patch on a worker, or None."""

UINT32_MAX = 2**32 - 1

MANY_IN_A_ROW = 100
"""After so many failures without a success between them, the cause is not in the blocks, and the run ends."""


@takes(Request)
def segment(source: str | Path, *, on_event: Observer | None = None, **arguments: Any) -> Summary:
    """Segment an OME-Zarr image into OME-Zarr labels.

    A file of another format is converted beside it first, once (`bigcp3d.convert`).

    Parameters
    ----------
    **arguments
    on_event : callable, optional
        Receives the events of `bigcp3d.schedule.running.events` during the run.

    Returns
    -------
    Summary

    Raises
    ------
    InputError, ModelError, TargetError
        Before any work starts, if something is wrong with the settings, the image, the model or the place to write to.
        During the run, if the voxels of a small image cannot be read, if a disk is full, or if another run took over.
    BlockError
        If blocks failed. What is done is kept, and the same call continues.

    Examples
    --------
    >>> summary = bigcp3d.segment("tissue.zarr", model="nuclei", diameter_um=14.0, executor="serial")
    >>> summary.labels
    '.../tissue.zarr/labels/cells'
    >>> summary.cells > 10
    True
    """
    begin = clock.perf_counter()
    request = with_image(Request(source, **arguments))
    observe: Observer = on_event or (lambda event: None)
    plan = plan_and_check(request, observe)
    request = replace(request, executor=plan.running.executor)
    observe(RunPlanned(plan))
    for warning in warn_of_storage(plan):
        observe(Warned(warning))
    with hold_locks(locks_of(plan)) as held:
        return _segment(plan, request, observe, held, begin)


def _segment(plan: Plan, request: Request, observe: Observer, held: Hold, begin: float) -> Summary:
    again = request.start == "image"
    resumed = check_start(plan, overwrite=request.overwrite, again=again)  # another run may have ended meanwhile
    plan = name_run(plan, resumed=resumed)
    run, log = Run(plan), RunLog(observe, plan)
    if (ended := read_ended(plan)) is not None:
        return _end(plan, request, ended, log)
    with _executor(plan, run, request, log.observe) as (execute, measure):
        prepare(plan, resumed=resumed, overwrite=request.overwrite)
        if worth_measuring(plan, resumed=resumed) and (patch_seconds := measure()) is not None:
            log.observe(measured_time(plan, patch_seconds))
        try:
            _run_phase(execute, object_passes(plan), log, held)
        except InputError:  # an error in the voxels; with one time point, nothing was computed before it
            if not resumed and len(plan.where.times) == 1:
                clean_up(plan)
            raise
        held.check()
        _create_labels(plan, run, overwrite=request.overwrite)
        _run_phase(execute, label_passes(plan), log, held)
    lost_chunks, lost = read_lost(run.dir, plan)
    summary = log.summary(clock.perf_counter() - begin, lost_chunks, lost)
    held.check()
    refuse_labels_of_others(plan)
    finish_labels(run.target, attributes=_provenance(plan, request, summary, lost))
    ended = Ended(summary, told=False, keep_maps=plan.storage.keep_maps)
    write_ended(plan, ended)  # from here on, others may change the labels
    return _end(plan, request, ended, log)


def _end(plan: Plan, request: Request, ended: Ended, log: RunLog) -> Summary:
    """Do what is not done yet of that which follows the labels: the table, the report, the removal of files."""
    summary = ended.summary
    if not ended.told:
        summary = replace(summary, table=measure_run(plan, request, summary.cells, log.observe))
        log.observe(LabelsReady(plan, summary))
        write_ended(plan, replace(ended, summary=summary, told=True))
    clean_up(plan, ended)
    log.observe(RunFinished(summary))
    return summary


def _run_phase(execute: Execute, passes: list[list[Pass]], log: RunLog, held: Hold) -> None:
    """Run one phase.

    Raises at its end if a task failed, or at once if the lock was lost, a disk is full, or all tasks seem to fail.
    """
    in_a_row: Failures = {}

    def done(task: Task, counts: Counts) -> None:
        held.check()
        in_a_row.clear()
        log.add(task, counts)

    def failed(task: Task, error: BaseException) -> None:
        if isinstance(error, FullDiskError):
            raise FullDiskError(f"{error}. Finished blocks are kept, and the same command continues from there")
        log.fail(task, error)
        in_a_row[task.key] = error
        if len(in_a_row) == MANY_IN_A_ROW:
            raise block_error(in_a_row, log.plan)

    log.start(passes)
    failures = execute(in_order(passes), done, failed)
    if failures:
        raise block_error(failures, log.plan)


@contextmanager
def _executor(plan: Plan, run: Run, request: Request, observe: Observer) -> Iterator[tuple[Execute, Measure]]:
    """The serial executor, or Dask, and what measures a patch; on Dask the memory of the workers is checked."""
    if request.executor == "serial":
        run.log.open()
        run.go_on = lambda *what: observe(BlockGoesOn(*what))
        try:
            with _threads_of_torch_kept(plan):
                yield partial(execute_serially, run), partial(measure_here, run)
        finally:
            run.log.close()
        return
    from bigcp3d.schedule.clusters.connect import connect
    from bigcp3d.schedule.running.distribute import execute_on_dask, run_on_workers

    gpu_threads = 0 if plan.given.maps else 2 if worker_bytes(plan, threads=2) <= request.machines.limit_bytes else 1
    with connect(request.machines, gpu_threads=gpu_threads, logs=run.dir.logs) as client:
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        for worker in workers:
            if worker["memory_limit"]:
                check_memory(plan, worker["memory_limit"], worker["nthreads"])
        observe(ClusterReady(client.dashboard_link or "", len(workers)))
        with run_on_workers(client, plan, gpus=request.machines.promises_gpus) as (plugin, gpus):
            yield partial(execute_on_dask, client, plugin, gpus), partial(measure_on_dask, client, plugin, gpus)


@contextmanager
def _threads_of_torch_kept(plan: Plan) -> Iterator[None]:
    """Let torch have as many threads after a run in this process as before it."""
    if not plan.predicts:
        yield
        return
    import torch

    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _create_labels(plan: Plan, run: Run, *, overwrite: bool) -> None:
    """Make the label arrays. Their dtype follows from the number of cells."""
    work = run.dir
    if work.read_once("create") is not None:
        return
    resolved = [work.read_once("resolve", time) for time in plan.where.times]
    most = max(record["cells"] for record in resolved if record is not None)
    dtype = "uint32" if most <= UINT32_MAX else "uint64"
    began = created_here(plan)
    made = {"id": (work.read_once("creating") or {"id": uuid4().hex})["id"]}
    write_record(work.records(), "creating", ONCE, {"dtype": dtype, **made})
    create_labels(run.target_as(dtype), overwrite=overwrite or began, attributes={"bigcp3d": made})
    write_record(work.records(), "create", ONCE, {"dtype": dtype, **made})


def _provenance(plan: Plan, request: Request, summary: Summary, lost: Iterable[LostPiece]) -> dict[str, Any]:
    """What the labels' attributes say of how they were made. ``scale_um`` is the given voxel size, at their level."""
    work, sections = WorkDir.of(plan), plan.sections(RESULT)
    filters = sections.pop("filters")
    parameters = {name: value for section in sections.values() for name, value in section.items()}
    beside = ("image", "mask", "card", "model_hash", "target")
    image, mask, card, model_hash, target = (parameters.pop(name) for name in beside)
    ratio = [a / b for a, b in zip(image["levels"][0]["shape"], target["levels"][0]["shape"], strict=True)]
    return {
        "bigcp3d": {
            "id": (work.read_once("create") or {}).get("id"),
            "version": plan.version,
            "made": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "model": card and card["name"],
            "model_sha256": model_hash,
            "model_card": card,
            "source": image["path"],
            "scale_um": request.scale_um and [s * r for s, r in zip(request.scale_um, ratio, strict=True)],
            "mask": mask and mask["path"],
            "estimated": plan.guess and plan.guess.model_dump(mode="json"),
            "asked": {"command": plan.asked.command, **plan.asked.settings},
            "arguments": plan.asked.arguments,
            "parameters": {**parameters, "filters": filters},
            "cells": summary.cells,
            "removed": summary.removed,
            "unassigned_vox": summary.unassigned_vox,
            "foreground_vox": summary.foreground_vox,
            "nonfinite_vox": summary.nonfinite_vox,
            "processors": summary.processors,
            "run": sum_up_effort(read_spent(work, plan.where.times), plan, summary.seconds).model_dump(mode="json"),
            "oddities": summary.oddities,
            "found": summary.found,
            "missing_chunks": summary.missing_chunks,
            "lost": [asdict(piece) for piece in lost],
            "lost_chunks": summary.lost_chunks,
        }
    }
