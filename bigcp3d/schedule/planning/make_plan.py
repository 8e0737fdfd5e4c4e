"""Makes the frozen `Plan` from the user's request, with every check that needs no voxels. Writes nothing."""

from __future__ import annotations

import dataclasses
import math

from bigcp3d.edge.image.given_maps import check_place_of_maps, default_min_foreground, open_maps
from bigcp3d.edge.image.image import ImageInfo, open_image
from bigcp3d.edge.image.level_geometry import placed
from bigcp3d.edge.image.metadata import is_labels
from bigcp3d.edge.image.open_node import read_attributes
from bigcp3d.edge.image.preparation import steps_of, warn_of_idle_steps
from bigcp3d.edge.labels.label_plan import CHUNK, plan_labels
from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.edge.models.model_families import model_hash
from bigcp3d.edge.stores.places import is_address, place, refuse_address
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Vec3, vec3
from bigcp3d.pure.group.filters import Filters
from bigcp3d.pure.memory import format_bytes
from bigcp3d.pure.plural import count
from bigcp3d.pure.predict.patches import choose_patch
from bigcp3d.pure.track.radius import closing_radius, path_reach, path_steps, smallest_volume
from bigcp3d.pure.track.units import MAX_REACH, UNIT
from bigcp3d.schedule.clusters.this_machine import precision_here
from bigcp3d.schedule.planning.asked import what_was_asked
from bigcp3d.schedule.planning.channels import choose_channels
from bigcp3d.schedule.planning.choose_executor import choose_executor, plan_running
from bigcp3d.schedule.planning.find_kept_maps import reuse_kept
from bigcp3d.schedule.planning.grids import Grids, choose_grids
from bigcp3d.schedule.planning.region import find_region, find_times, hash_mask, open_mask
from bigcp3d.schedule.planning.request import Request
from bigcp3d.version import __version__
from bigcp3d.work.plan.memory_and_disk import task_bytes, worker_bytes
from bigcp3d.work.plan.plan import Plan
from bigcp3d.work.plan.sections import (
    Execution,
    Given,
    Grouping,
    Guess,
    Output,
    Prediction,
    Sampling,
    Source,
    Storage,
    Tracking,
    Where,
)
from bigcp3d.work.run.kept_maps import kept_of
from bigcp3d.work.run.work_dir import default_work_dir

LARGEST_BLOCK = 512
SMALLEST_BLOCK = 64


def make_plan(request: Request, guess: Guess | None = None) -> Plan:
    """Plan a run. Raises an error for all that must fail and can be seen without voxels.

    ``request`` names a model, and no diameter means the image as it is. ``guess`` says what was estimated to complete
    it (`bigcp3d.schedule.complete_request`).

    An existing target is checked later (`bigcp3d.schedule.running.start`), because it may be that of an unfinished run.
    """
    request.check()
    refuse_address(request.work_dir, "--work-dir", "on a cluster, a folder of a file system that all workers share")
    image = open_image(request.source)
    refuse_labels(image)
    card, channels = choose_channels(image, request)
    grids = choose_grids(image, request, card)
    given, min_foreground = _given_maps(request, grids, image)
    radius = request.radius_vox or card.diameter_vox / 2
    block = vec3(map(min, request.block or (LARGEST_BLOCK,) * 3, grids.shape))
    output = _output(request, image, grids, block)
    plan = Plan(
        source=Source(image=dataclasses.replace(image, label_names=()), level=grids.level, channels=channels),
        sampling=Sampling(factors=grids.factors, shape=grids.shape),
        prediction=_prediction(request, image, card, grids),
        given=given,
        where=_where(request, image, grids),
        tracking=_tracking(request, radius),
        grouping=Grouping(closing_vox=closing_radius(radius) if request.closing_vox is None else request.closing_vox),
        filters=_filters(request, grids, radius, card.min_foreground if min_foreground is None else min_foreground),
        output=output,
        execution=Execution(block=block, missing_chunks=request.missing_chunks),
        storage=Storage(
            work_dir=str(request.work_dir or default_work_dir(output.target.group, output.target.name)),
            model=None if given.maps else str(request.model),
            keep_maps=request.keep_maps and given.maps is None,
            on_error=request.on_error,
        ),
        asked=what_was_asked(request),
        guess=guess,
        version=__version__,
    )
    request = choose_executor(plan, request)
    if request.block is None:
        plan = _choose_block(plan, request, image, grids)
    _refuse_partial(plan)
    return plan_running(reuse_kept(plan, request), request)


def refuse_labels(image: ImageInfo) -> None:
    """Raise an `InputError` for labels in place of an image."""
    if is_labels(read_attributes(image.path)):
        owner = image.path.rpartition("/labels/")[0]
        raise InputError(f"{image.path}: these are labels, not an image; give the image{f', {owner}' if owner else ''}")


def _given_maps(request: Request, grids: Grids, image: ImageInfo) -> tuple[Given, float | None]:
    """Maps that the user gave, and the default filter on the mean foreground that is stored with them."""
    if request.maps is None:
        return Given(), None
    maps = str(place(request.maps)) if is_address(request.maps) else str(request.maps)
    stored = [open_maps(maps, grids.shape, image.times, time) for time in range(image.times)]
    check_place_of_maps(maps, placed(image, request.scale_um), grids.image_factors)
    return Given(maps=maps, itemsize=max(array.dtype.itemsize for array in stored)), default_min_foreground(stored[0])


def _tracking(request: Request, radius: float) -> Tracking:
    reach = path_reach(radius)
    if reach > MAX_REACH:
        raise InputError(
            f"radius is {radius:g} working voxels; use at most {MAX_REACH / 3:.0f}, because paths are stored in "
            "int8; to segment larger cells, give --diameter, which shrinks the image first"
        )
    return Tracking(foreground=max(1, round(request.foreground * UNIT)), steps=path_steps(radius), reach=reach)


def _filters(request: Request, grids: Grids, radius: float, min_foreground: float) -> Filters:
    """The filters; requested volumes are in voxels of level 0, those of the filters in working voxels."""
    factor = math.prod(grids.image_factors)
    if request.min_foreground is not None:
        min_foreground = request.min_foreground
    return Filters(
        min_volume_vox=smallest_volume(radius) if request.min_volume is None else request.min_volume / factor,
        max_volume_vox=None if request.max_volume is None else request.max_volume / factor,
        min_foreground=min_foreground or None,
        max_elongation=request.max_elongation,
        max_flow_error=request.max_flow_error,
    )


def _where(request: Request, image: ImageInfo, grids: Grids) -> Where:
    where = Where(
        times=find_times(request.time, image),
        roi=grids.to_labels(find_region(request.roi, image, request.scale_um), image),
    )
    if request.mask is None:
        return where
    mask, level, factors = open_mask(request.mask, image, grids.image_factors)
    voxels = hash_mask(mask, level, where.times)
    mask = dataclasses.replace(mask, label_names=())
    return where.model_copy(update={"mask": mask, "mask_level": level, "mask_factors": factors, "mask_voxels": voxels})


def _prediction(request: Request, image: ImageInfo, card: ModelCard, grids: Grids) -> Prediction:
    predicts = request.maps is None
    steps = steps_of(request.prepare, image, grids.level, request.scale_um)
    warn_of_idle_steps(steps, image, grids.level)
    return Prediction(
        model_hash=model_hash(str(request.model)) if predicts else None,
        card=card if predicts else None,
        patch=choose_patch(grids.shape, card.patch, card.margin, card.stride),
        margin=card.margin,
        low_percentile=card.low_percentile,
        high_percentile=card.high_percentile,
        clip=card.clip,
        precision=choose_precision(request, card) if predicts else "float32",
        representation=card.representation,
        scale_vox=card.scale_vox,
        prepare=steps,
    )


def _output(request: Request, image: ImageInfo, grids: Grids, block: Vec3) -> Output:
    sides = [max(1, round(b * f)) for b, f in zip(block, grids.label_factors, strict=True)]
    # about a block of the working grid; in whole chunks, unless it is smaller than a chunk
    shard = vec3(CHUNK * round(side / CHUNK) if 4 * side >= 3 * CHUNK else side for side in sides)
    target = plan_labels(image, request.output, request.name, shard=shard, level=grids.labels_level)
    return Output(target=target, label_factors=grids.label_factors)


def _choose_block(plan: Plan, request: Request, image: ImageInfo, grids: Grids) -> Plan:
    """Halve the longest side of the block until it fits in memory and there is a block for every worker."""
    while True:
        block = plan.execution.block
        fits = request.scheduler is not None or worker_bytes(plan) <= request.machines.limit_bytes
        longest = max(range(3), key=lambda axis: block[axis])
        blocks = len(plan.grid.touching(plan.scope.tracked))
        if (fits and blocks >= request.machines.size.most) or block[longest] <= SMALLEST_BLOCK:
            return plan
        half = -(-block[longest] // 2)
        block = vec3(half if axis == longest else side for axis, side in enumerate(block))
        execution = plan.execution.model_copy(update={"block": block})
        plan = plan.model_copy(update={"execution": execution, "output": _output(request, image, grids, block)})


def _refuse_partial(plan: Plan) -> None:
    """Refuse maps that a run of a region or a mask kept, if this run needs voxels that they do not hold."""
    kept = kept_of(plan)
    if kept is not None and not kept.holds(plan):
        raise InputError(
            f"{plan.given.maps}: these maps come from a run with --roi or --mask and hold nothing outside it; give the "
            "same --roi and --mask and no larger --radius, or leave --maps out"
        )


def choose_precision(request: Request, card: ModelCard) -> str:
    """The requested precision, else that of the model's card, else bfloat16 if this machine is fast in it."""
    precision = card.precision if request.precision == "auto" else request.precision
    if precision == "int8":
        if card.architecture != "half":
            raise InputError(
                f"--precision int8 was given, but model {request.model} is not of the architecture half; leave out "
                "--precision, or give float32 or bfloat16"
            )
        if request.scheduler is None and request.cluster == "local":
            from bigcp3d.pure.predict.int8_network import check_int8

            check_int8()
    return precision_here() if precision == "auto" else precision


def check_memory(plan: Plan, limit_bytes: int, threads: int = 1) -> None:
    """Raise an `InputError` for a plan whose tasks do not fit into a worker's memory."""
    needed = worker_bytes(plan, threads)
    if needed > limit_bytes:
        passes = task_bytes(plan)
        worst = max(passes, key=lambda name: passes[name])
        raise InputError(
            f"a worker of {format_bytes(limit_bytes)} and {count(threads, 'thread')} is too small for blocks of "
            f"{plan.execution.block}: the pass '{worst}' needs {format_bytes(needed)}, which is "
            f"{format_bytes(needed - limit_bytes)} more; give a smaller --block, fewer threads or --workers, or a "
            "larger --memory-limit (memory in the file of --cluster-config)"
        )
