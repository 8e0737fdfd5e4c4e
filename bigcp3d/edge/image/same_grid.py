"""Decides whether two arrays may be paired voxel by voxel, from their voxel sizes and where their first voxels lie.

::

    voxel sizes differ by more than 1 %                    refused
    first voxels lie more than half a voxel apart          refused
    only one states a voxel size, a unit or a place        taken, with a warning
    labels that belong to the image differ from it         taken, with a warning

Half a voxel is allowed because writers differ by as much in where they put the first voxel of a coarser level.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.image.level_geometry import placed
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Float3, Vec3, float3

SCALE_TOLERANCE = 0.01
"""Relative difference of voxel sizes that counts as rounding."""

HALF = 0.505
"""Voxels by which two first voxels may lie apart: a half, and rounding."""

PAIRED = "bigcp3d pairs their voxels one by one, beginning with the first of each"
"""What is done with two arrays whose places do not agree."""

ORIGIN = (0.0, 0.0, 0.0)

log = logging.getLogger(__name__)


def check_same_grid(one: ImageInfo, other: ImageInfo, *, belong: bool = False, taken: str = PAIRED) -> None:
    """Refuse two images or labels whose finest levels lie on different grids; warn of what is taken.

    Their shapes are compared elsewhere. Where the two ``belong`` together, as labels in the image's own store do, a
    difference is a mistake of the metadata, and only warned of. ``taken`` says in the warning what is done then.
    """
    first, second = one.levels[0].scale_um, other.levels[0].scale_um
    if first is None or second is None:
        _tell_missing_size(one, other)
        return
    stated = [bool(a and b) for a, b in zip(one.units, other.units, strict=True)]
    differ = differing_sizes(first, second)
    if any(differ):
        text = f"{one.path} has voxels of {_numbers(first)} um (z, y, x), but {other.path} has {_numbers(second)}"
        if not belong and any(a and b for a, b in zip(differ, stated, strict=True)):
            raise InputError(
                f"{text}, more than {SCALE_TOLERANCE:.0%} apart; give two files with the same voxel size, or "
                "correct the wrong scale"
            )
        unit = "" if all(stated) else ", and one states no unit"
        log.warning("%s%s; %s. If this is wrong, correct the scale", text, unit, taken)
    else:
        check_same_start(one, other, belong=belong, taken=taken)


def differing_sizes(first: Float3, second: Float3) -> list[bool]:
    """For each axis, whether two voxel sizes differ by more than rounding."""
    return [abs(a - b) > SCALE_TOLERANCE * max(a, b) for a, b in zip(first, second, strict=True)]


def check_same_start(one: ImageInfo, other: ImageInfo, *, belong: bool = False, taken: str = PAIRED) -> None:
    """The same for two volumes whose voxels may be of different sizes: only where they begin is compared."""
    starts = [info.levels[0].translation_um for info in (one, other)]
    sizes = [info.levels[0].scale_um for info in (one, other)]
    if sizes[0] is None or sizes[1] is None:
        _tell_missing_size(one, other)
        return
    apart = zip(*starts, *sizes, strict=True)
    if all(abs(a - b) <= HALF * max(s, t) for a, b, s, t in apart):
        return
    text = (
        f"{one.path} begins at {_numbers(starts[0])} um (z, y, x), but {other.path} at {_numbers(starts[1])} (their "
        "translations)"
    )
    if belong or ORIGIN in starts or not all((*one.units, *other.units)):
        log.warning("%s; %s. If this is wrong, correct the translation", text, taken)
        return
    raise InputError(
        f"{text}, more than half a voxel away; give two files of the same place, or correct the wrong translation"
    )


def _tell_missing_size(*infos: ImageInfo) -> None:
    """Warn where one of two states a voxel size and the other does not."""
    lacks, states = sorted(infos, key=lambda info: info.levels[0].scale_um is not None)
    if states.levels[0].scale_um is not None:
        log.warning(
            "%s does not state its voxel size; it is taken to cover the volume of %s, which has voxels of %s um",
            *(lacks.path, states.path, _numbers(states.levels[0].scale_um)),
        )


def at_level(info: ImageInfo, level: int) -> ImageInfo:
    """An image as if it had this one level only."""
    return replace(info, levels=(info.levels[level],))


def find_level(shape: Vec3, image: ImageInfo) -> int | None:
    """The level of an image that has a shape, or None."""
    return next((number for number, level in enumerate(image.levels) if level.shape == shape), None)


def with_place_of(info: ImageInfo, other: ImageInfo) -> ImageInfo:
    """An image with the voxel size and the place that another states for a level of the same shape, if it has one."""
    number = find_level(info.levels[0].shape, other)
    level = None if number is None else other.levels[number]
    if level is None or level.scale_um is None:
        return info
    moved = replace(info.levels[0], translation_um=ORIGIN)
    scaled = placed(replace(info, levels=(moved, *info.levels[1:])), level.scale_um)
    shift = level.translation_um
    levels = (
        replace(each, translation_um=float3(a + b for a, b in zip(each.translation_um, shift, strict=True)))
        for each in scaled.levels
    )
    return replace(scaled, levels=tuple(levels))


def _numbers(values: Float3) -> str:
    """Three numbers as text: enough digits to tell them apart, no rounding errors."""
    return "(" + ", ".join(f"{value:.6g}" for value in float3(values)) + ")"
