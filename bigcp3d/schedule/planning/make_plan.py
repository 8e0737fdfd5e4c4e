"""Planning: from what a user asks to a frozen `Plan`, with every check that needs no voxels.

Nothing is written here. What cannot work is refused with what was found, what is allowed, and the cure.
"""

from __future__ import annotations

import math
from typing import Any

import zarr

from bigcp3d.edge.image.given_maps import default_min_foreground, open_maps
from bigcp3d.edge.image.image import open_image
from bigcp3d.edge.labels.label_plan import CHUNK
from bigcp3d.edge.labels.labels import plan_labels
from bigcp3d.edge.models.model_files import ModelCard, model_hash
from bigcp3d.edge.stores.places import is_address, place, refuse_address
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Vec3, vec3
from bigcp3d.pure.grid import Factors
from bigcp3d.pure.group.objects import Filters
from bigcp3d.pure.memory import format_bytes, worker_bytes
from bigcp3d.pure.predict.patches import choose_patch
from bigcp3d.pure.track.radius import closing_radius, path_reach, path_steps, smallest_volume
from bigcp3d.pure.track.tracking import MAX_REACH
from bigcp3d.schedule.planning.channels import choose_channels
from bigcp3d.schedule.planning.find_kept_maps import default_work_dir, reuse_kept
from bigcp3d.schedule.planning.grids import choose_grids
from bigcp3d.schedule.planning.region import find_region, find_times, open_mask
from bigcp3d.schedule.planning.request import Request
from bigcp3d.work.plan.plan import Plan
from bigcp3d.work.run.kept_maps import read_kept

LARGEST_BLOCK = 512
SMALLEST_BLOCK = 64


def make_plan(request: Request) -> Plan:
    """Plan a run.

    Raises
    ------
    InputError, ModelError, TargetError
        For whatever can be known to fail before voxels are read. An existing target is not checked here, since
        resuming depends on it (`bigcp3d.schedule.segment`).
    """
    from bigcp3d import __version__

    request.check()
    refuse_address(request.work_dir, "--work-dir", "on a cluster, a folder of a file system that all workers share")
    image = open_image(request.source)
    card, channels = choose_channels(image, request)
    grids = choose_grids(image, request, card)
    shape = grids.shape
    maps = None if request.maps is None else str(place(request.maps)) if is_address(request.maps) else str(request.maps)
    stored = None if maps is None else [open_maps(maps, shape, image.times, time) for time in range(image.times)]
    radius = request.radius_vox or card.diameter_vox / 2
    reach = path_reach(radius)
    if reach > MAX_REACH:
        raise InputError(
            f"radius is {radius:g} working voxels, so paths of {reach}; paths are stored in int8, so the radius may "
            f"be {MAX_REACH / 3:.0f} at most: give --diameter, which chooses a coarser working grid"
        )
    volume_factor = math.prod(grids.image_factors)
    filters = Filters(
        min_volume_vox=smallest_volume(radius) if request.min_volume is None else request.min_volume / volume_factor,
        max_volume_vox=None if request.max_volume is None else request.max_volume / volume_factor,
        min_foreground=_min_foreground(request, card, stored) or None,
        max_elongation=request.max_elongation,
        max_flow_error=request.max_flow_error,
    )

    roi = grids.to_labels(find_region(request.roi, image, request.scale_um), image)
    times = find_times(request.time, image)
    mask, mask_level, mask_factors = (
        (None, 0, (1.0, 1.0, 1.0)) if request.mask is None else open_mask(request.mask, image, grids.image_factors)
    )
    precision = "float32" if maps else _precision(request, card)

    def plan_with(block: Vec3) -> Plan:
        shard = _label_block(block, grids.label_factors)
        target = plan_labels(image, request.output, request.name, shard=shard, level=grids.labels_level)
        return Plan(
            image=image,
            level=grids.level,
            channels=channels,
            times=times,
            roi=roi,
            mask=mask,
            mask_level=mask_level,
            mask_factors=mask_factors,
            target=target,
            work_dir=str(request.work_dir or default_work_dir(target.group, target.name)),
            model=None if maps else str(request.model),
            model_hash=None if maps else model_hash(request.model),
            card=None if maps else card,
            maps=maps,
            maps_itemsize=1 if stored is None else max(array.dtype.itemsize for array in stored),
            factors=grids.factors,
            label_factors=grids.label_factors,
            shape=shape,
            block=block,
            patch=choose_patch(shape, card.patch, card.margin, card.stride),
            margin=card.margin,
            low_percentile=card.low_percentile,
            high_percentile=card.high_percentile,
            clip=card.clip,
            precision=precision,
            foreground=max(1, round(request.foreground * 127)),
            steps=path_steps(radius),
            reach=reach,
            radius=closing_radius(radius) if request.closing_vox is None else request.closing_vox,
            representation=card.representation,
            scale_vox=card.scale_vox,
            filters=filters,
            keep_maps=request.keep_maps or request.keep_offsets,
            keep_offsets=request.keep_offsets,
            on_error=request.on_error,
            missing=request.missing_chunks,
            version=__version__,
        )

    if request.block is not None:
        plan = plan_with(vec3(min(b, s) for b, s in zip(request.block, shape, strict=True)))
    else:
        plan = _choose_block(plan_with, shape, request)
    if maps is not None:
        _refuse_partial(maps, plan)
    return reuse_kept(plan, request)


def _choose_block(plan_with, shape: Vec3, request: Request) -> Plan:  # type: ignore[no-untyped-def]
    """The largest block that fits in memory and gives every worker one; halves the longest side until it does."""
    block = vec3(min(s, LARGEST_BLOCK) for s in shape)
    while True:
        plan: Plan = plan_with(block)
        fits = request.scheduler is not None or plan.worker_bytes() <= request.machines.limit_bytes
        longest = max(range(3), key=lambda axis: block[axis])
        blocks = len(plan.grid.touching(plan.scope.tracked))
        if (fits and blocks >= request.machines.size.most) or block[longest] <= SMALLEST_BLOCK:
            return plan
        half = -(-block[longest] // 2)
        block = vec3(half if axis == longest else side for axis, side in enumerate(block))


def _refuse_partial(maps: str, plan: Plan) -> None:
    """Maps that a run of a region or a mask kept are empty elsewhere: all of that would be background."""
    kept = None if is_address(maps) else read_kept(maps)
    if kept is not None and not kept.holds(plan):
        raise InputError(
            f"{maps}: found maps that were kept by a run of a region or a mask, and hold nothing outside it; needed "
            "are those of all that is asked for: give the same --roi and --mask and no larger --radius, or leave "
            "--maps out"
        )


def _min_foreground(request: Request, card: ModelCard, stored: list[zarr.Array[Any]] | None) -> float:
    """As asked, else as the model's card says; for maps, that of the model that predicted them, if it was ours."""
    if request.min_foreground is not None:
        return request.min_foreground
    return card.min_foreground if stored is None else default_min_foreground(stored[0])


def _precision(request: Request, card: ModelCard) -> str:
    """What the network computes in: as asked, else bfloat16 where this machine is fast in it."""
    if request.precision != "auto":
        return request.precision
    if card.architecture == "cellpose":  # made for float32, with sums over a batch norm; Cellpose-SAM is for bfloat16
        return "float32"
    import torch  # takes seconds, and every other check comes first

    from bigcp3d.pure.predict.run_network import fast_precision

    return fast_precision("cuda" if torch.cuda.is_available() else "cpu")


def _label_block(block: Vec3, factors: Factors) -> Vec3:
    """A block of the label image that covers about a block of the working grid; whole chunks of 64 where it has any."""
    sides = [max(1, round(b * f)) for b, f in zip(block, factors, strict=True)]
    return vec3(CHUNK * round(side / CHUNK) if 4 * side >= 3 * CHUNK else side for side in sides)


def check_memory(plan: Plan, limit_bytes: int, threads: int = 1) -> None:
    """Refuse a plan whose tasks do not fit in a worker.

    Raises
    ------
    InputError
        If the worker's limit is below the plan's figure.
    """
    if not fits_memory(plan, limit_bytes, threads):
        passes = plan.memory()
        worst = max(passes, key=lambda name: passes[name])
        raise InputError(
            f"a worker of {format_bytes(limit_bytes)} and {threads} thread(s) is too small for blocks of "
            f"{plan.block}: pass {worst} needs {format_bytes(_needed_bytes(plan, threads))}; give a smaller --block, "
            "fewer threads or --workers, or a larger --memory-limit (memory in the file of --cluster-config)"
        )


def fits_memory(plan: Plan, limit_bytes: int, threads: int) -> bool:
    """Whether a worker can run so many tasks at once."""
    return _needed_bytes(plan, threads) <= limit_bytes


def _needed_bytes(plan: Plan, threads: int) -> int:
    base = worker_bytes({"idle": 0})
    return base + threads * (worker_bytes(plan.memory()) - base)
