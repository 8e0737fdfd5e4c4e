"""Describes a plan in words, as ``bigcp3d segment --dry-run`` prints it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bigcp3d.edge.image.odd_voxels import has_no_unit
from bigcp3d.edge.image.preparation import describe_steps
from bigcp3d.face.progress.way_and_time import describe_time, describe_way
from bigcp3d.pure.memory import format_bytes
from bigcp3d.pure.plural import count
from bigcp3d.pure.prepare.steps import margin_of
from bigcp3d.pure.track.units import UNIT
from bigcp3d.schedule.running.expected_time import expect_from_plan
from bigcp3d.work.plan.memory_and_disk import disk_bytes, most_files, task_bytes, worker_bytes
from bigcp3d.work.plan.plan import Plan

MANY_FILES = 100_000
"""Shares of the disks of clusters often allow a million files."""


def describe_plan(plan: Plan) -> str:
    """Describe a plan in words, a line for each subject: what is read, the model, blocks, memory and disk.

    Parameters
    ----------
    plan : Plan
        From `bigcp3d.plan_segmentation`.

    Returns
    -------
    text : str
    """
    return "\n".join(f"{name:<11}{text}" for name, text in (*_input(plan), *_work(plan), *_costs(plan)))


def _input(plan: Plan) -> Iterator[tuple[str, str]]:
    image, card, given, where = plan.source.image, plan.prediction.card, plan.given.maps, plan.where
    channels = ", ".join(map(str, plan.source.channels))
    yield (
        "image",
        f"{image.path} (OME-Zarr {image.version}), level {plan.source.level}, channel {channels}, "
        f"{count(len(where.times), 'time point')}, {format_size(plan.image_shape)} voxels of {image.dtype}",
    )
    if has_no_unit(image) and "scale_um" not in plan.asked.arguments:
        yield "voxels", f"{format_size(image.levels[0].scale_um or ())} um, because the store states no unit"
    margin = format_size(margin_of(plan.prediction.prepare, plan.image_shape))
    kept = f", its maps kept in {given}" if plan.reuses_maps else ""
    cells = f" ({plan.prediction.representation}, cells of {card.diameter_vox:g} voxels)" if card else ""
    if steps := plan.prediction.prepare:
        yield "prepare", f"{describe_steps(steps, plan.image_shape)}; reads {margin} voxels more around a block"
    yield "model", f"{plan.storage.model or f'none: maps from {given}'}{kept}{cells}"
    if plan.guess is not None:
        yield "estimated", str(plan.guess)
    if where.roi is not None:
        ends = zip(where.roi.start, where.roi.stop, strict=True)
        yield "region", f"{','.join(f'{a}:{b}' for a, b in ends)} (voxels z, y, x of the label image)"
    if where.mask is not None:
        size = format_size(where.mask.levels[where.mask_level].shape)
        yield "mask", f"{where.mask.path}, level {where.mask_level} ({size} voxels)"


def _work(plan: Plan) -> Iterator[tuple[str, str]]:
    grid, tracked, tracking, closing = plan.grid, plan.scope.tracked, plan.tracking, plan.grouping.closing_vox
    factors, margin = ", ".join(f"{f:.3g}" for f in plan.sampling.factors), plan.prediction.margin
    yield "grid", f"{format_size(plan.shape)} working voxels, {factors} image voxels per working voxel (z, y, x)"
    blocks = f"{len(grid.touching(tracked))} of {format_size(grid.block)} ({format_size(grid.counts)})"
    yield "blocks", f"{blocks}, {tracked.size / 1e6:.1f} Mvoxel"
    yield "halos", f"predict {margin}, track {tracking.reach}, cluster {tracking.reach + 2 * closing}"
    yield (
        "patches",
        f"{len(plan.patches.cores)} of {format_size(plan.prediction.patch)}, overlapping by {2 * margin}, "
        f"in {plan.prediction.precision}; {format_size(plan.patch_blocks.per_block)} a task, each computed once",
    )
    yield (
        "tracking",
        f"{tracking.steps} steps, reach {tracking.reach}, closing radius {closing}, "
        f"foreground at {tracking.foreground / UNIT:.2f}",
    )


def _costs(plan: Plan) -> Iterator[tuple[str, str]]:
    target = plan.output.target
    tasks = ", ".join(f"{name} {format_bytes(number)}" for name, number in task_bytes(plan).items())
    yield "memory", f"{format_bytes(worker_bytes(plan))} per worker; tasks need {tasks}"
    disk = ", ".join(f"{name} {format_bytes(number)}" for name, number in disk_bytes(plan).items())
    files = f"; {most_files(plan):,} files" if most_files(plan) >= MANY_FILES else ""
    yield "disk", f"at most {disk}{files}"
    stored = f"shards of {format_size(target.shard)}, chunks of {format_size(target.chunk)}"
    stored = f"{count(len(target.levels), 'level')}, {stored}"
    yield "runs", describe_way(plan)
    yield "time", describe_time(plan, expect_from_plan(plan))
    yield "labels", f"{target.path}, {target.dtype}, {stored}"
    yield "work", plan.storage.work_dir


def format_size(sides: Iterable[float]) -> str:
    """The sides of a box: ``64 x 64 x 32``."""
    return " x ".join(f"{side:.6g}" if isinstance(side, float) else str(side) for side in sides)
