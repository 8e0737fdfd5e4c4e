"""Planning: from what a user asks to a frozen `Plan`, with every check that needs no voxels.

Nothing is written here. What cannot work is refused with what was found, what is allowed, and the cure.
"""

from __future__ import annotations

import math
from typing import Any

import zarr

from bigcp3d.edge.image import ImageInfo, check_level, open_image
from bigcp3d.edge.label_plan import CHUNK
from bigcp3d.edge.labels import plan_labels
from bigcp3d.edge.maps import default_min_foreground, open_maps
from bigcp3d.edge.models import ModelCard, model_hash
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Vec3, vec3
from bigcp3d.pure.grid import Factors, working_shape
from bigcp3d.pure.memory import in_words, worker_bytes
from bigcp3d.pure.objects import Filters
from bigcp3d.pure.patches import choose_patch
from bigcp3d.pure.radius import closing_radius, path_reach, path_steps, smallest_volume
from bigcp3d.pure.tracking import MAX_REACH
from bigcp3d.schedule.channels import choose_channels
from bigcp3d.schedule.kept import default_work_dir, reuse_maps
from bigcp3d.schedule.request import Request
from bigcp3d.schedule.where import find_region, find_times, open_mask
from bigcp3d.work.plan import Plan

LARGEST_BLOCK = 512
SMALLEST_BLOCK = 64
FACTOR_RANGE = (1 / 16, 16.0)


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
    image = open_image(request.source)
    check_level(image, request.level)
    card, channels = choose_channels(image, request)
    factors = _factors(image, request, card)
    shape = working_shape(image.levels[request.level].shape, factors)
    ratio = _level_ratio(image, request.level)
    label_factors: Factors = tuple(f * r for f, r in zip(factors, ratio, strict=True))  # type: ignore[assignment]
    maps = None if request.maps is None else str(request.maps)
    stored = None if maps is None else [open_maps(maps, shape, image.times, time) for time in range(image.times)]
    radius = request.radius_vox or card.diameter_vox / 2
    reach = path_reach(radius)
    if reach > MAX_REACH:
        raise InputError(
            f"radius is {radius:g} working voxels, so paths of {reach}; paths are stored in int8, so the radius may "
            f"be {MAX_REACH / 3:.0f} at most: give --diameter, which chooses a coarser working grid"
        )
    volume_factor = math.prod(label_factors)
    filters = Filters(
        min_volume_vox=smallest_volume(radius) if request.min_volume is None else request.min_volume / volume_factor,
        max_volume_vox=None if request.max_volume is None else request.max_volume / volume_factor,
        min_foreground=_min_foreground(request, card, stored) or None,
        max_elongation=request.max_elongation,
        max_flow_error=request.max_flow_error,
    )

    roi, times = find_region(request.roi, image), find_times(request.time, image)
    mask, mask_level, mask_factors = (
        (None, 0, (1.0, 1.0, 1.0)) if request.mask is None else open_mask(request.mask, image, label_factors)
    )
    precision = "float32" if maps else _precision(request, card)

    def plan_with(block: Vec3) -> Plan:
        target = plan_labels(image, request.output, request.name, shard=_label_block(block, label_factors))
        return Plan(
            image=image,
            level=request.level,
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
            factors=factors,
            label_factors=label_factors,
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
            radius=closing_radius(radius),
            representation=card.representation,
            scale_vox=card.scale_vox,
            filters=filters,
            keep_maps=request.keep_maps,
            version=__version__,
        )

    if request.block is not None:
        plan = plan_with(vec3(min(b, s) for b, s in zip(request.block, shape, strict=True)))
    else:
        plan = _choose_block(plan_with, shape, request)
    return reuse_maps(plan, request)


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

    from bigcp3d.pure.predict import fast_precision

    return fast_precision("cuda" if torch.cuda.is_available() else "cpu")


def _label_block(block: Vec3, factors: Factors) -> Vec3:
    """A block of the label image that covers about a block of the working grid; whole chunks of 64 where it has any."""
    sides = [max(1, round(b * f)) for b, f in zip(block, factors, strict=True)]
    return vec3(CHUNK * round(side / CHUNK) if 4 * side >= 3 * CHUNK else side for side in sides)


def _factors(image: ImageInfo, request: Request, card: ModelCard) -> Factors:
    """Image voxels per working voxel, so that a cell of the given diameter has the model's diameter."""
    if request.diameter_um is None:
        return (1.0, 1.0, 1.0)
    scale = _scale(image, request)
    working_um = request.diameter_um / card.diameter_vox
    factors = tuple(working_um / s for s in scale)
    for axis, factor in zip("zyx", factors, strict=True):
        if not FACTOR_RANGE[0] <= factor <= FACTOR_RANGE[1]:
            raise InputError(
                f"diameter {request.diameter_um:g} um at {scale} um per voxel (z, y, x) asks for {factor:.3g} image "
                f"voxels per working voxel on axis {axis}; {FACTOR_RANGE[0]:g} to {FACTOR_RANGE[1]:g} are allowed: "
                "check --diameter and --scale, both in micrometres"
            )
    return factors  # type: ignore[return-value]


def _scale(image: ImageInfo, request: Request) -> tuple[float, float, float]:
    """Micrometres per voxel at the level that is read."""
    if request.scale_um is not None:
        ratio = _level_ratio(image, request.level)
        return tuple(s / r for s, r in zip(request.scale_um, ratio, strict=True))  # type: ignore[return-value]
    scale = image.levels[request.level].scale_um
    if scale is None:
        raise InputError(
            f"{image.path} (OME-Zarr {image.version}) does not say how large its voxels are, so --diameter in "
            "micrometres means nothing; add --scale Z Y X (micrometres per voxel of level 0), or leave --diameter out"
        )
    return scale


def _level_ratio(image: ImageInfo, level: int) -> Factors:
    """Level-0 voxels per voxel of a level: from the scales where both are known, else from the shapes."""
    base, here = image.levels[0], image.levels[level]
    if base.scale_um is not None and here.scale_um is not None:
        ratio = tuple(h / b for b, h in zip(base.scale_um, here.scale_um, strict=True))
    else:
        ratio = tuple(b / h for b, h in zip(base.shape, here.shape, strict=True))
    return ratio  # type: ignore[return-value]


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
            f"a worker of {in_words(limit_bytes)} and {threads} thread(s) is too small for blocks of "
            f"{plan.block}: pass {worst} needs {in_words(_needed_bytes(plan, threads))}; give a smaller --block, fewer "
            "threads or --workers, or a larger --memory-limit (memory in the file of --cluster-config)"
        )


def fits_memory(plan: Plan, limit_bytes: int, threads: int) -> bool:
    """Whether a worker can run so many tasks at once."""
    return _needed_bytes(plan, threads) <= limit_bytes


def _needed_bytes(plan: Plan, threads: int) -> int:
    base = worker_bytes({"idle": 0})
    return base + threads * (worker_bytes(plan.memory()) - base)
