"""Scale factors between the levels of an image, the level to read for a working grid, and missing voxel sizes."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import numpy as np

from bigcp3d.edge.image.image import ImageInfo, Level
from bigcp3d.edge.image.metadata import own_part
from bigcp3d.edge.image.open_node import read_attributes
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Float3, Vec3, float3
from bigcp3d.pure.grid import Factors

log = logging.getLogger(__name__)

FACTOR_RANGE = (1 / 16, 16.0)
"""Voxels of the level that is read, per working voxel: other factors come from a wrong diameter or scale."""

ROUNDING = 1e-3
"""Tolerance, as a share of a voxel, when a level is compared with the working grid."""


def level_ratio(image: ImageInfo, level: int) -> Factors:
    """Level-0 voxels per voxel of a level (`ratio_of`).

    What is read follows this; labels follow `cumulated_factors`, which corrects scales and rounds.
    """
    return ratio_of(image.levels[0], image.levels[level])


def ratio_of(first: Level, level: Level) -> Float3:
    """Voxels of a level per voxel of another: from the scales where both are known, else lengths by lengths."""
    return stated_ratio(first, level) or float3(b / h for b, h in zip(first.shape, level.shape, strict=True))


def stated_ratio(first: Level, level: Level) -> Float3 | None:
    """Voxels of the first level per voxel of another, by their scales; None where one is unknown."""
    if first.scale_um is None or level.scale_um is None:
        return None
    return float3(b / a for a, b in zip(first.scale_um, level.scale_um, strict=True))


def nearest_level(image: ImageInfo, image_factors: Factors) -> int:
    """The coarsest level that is no coarser than the working grid on any axis, and covers the volume of level 0.

    ``image_factors`` are voxels of level 0 per working voxel.
    """
    usable = [0]
    for number, level in enumerate(image.levels):
        ratio = level_ratio(image, number)
        fine = all(f / r >= 1 - ROUNDING for f, r in zip(image_factors, ratio, strict=True))
        if fine and covers(image.levels[0], level, ratio):
            usable.append(number)
    return min(usable, key=lambda number: math.prod(image.levels[number].shape))


def check_factors(image: ImageInfo, factors: Factors, level: int) -> None:
    """Refuse factors (voxels of a level per working voxel) that can only come from a wrong diameter or scale."""
    for axis, factor in zip("zyx", factors, strict=True):
        if not FACTOR_RANGE[0] <= factor <= FACTOR_RANGE[1]:
            raise InputError(
                f"{image.path}: with this diameter, one voxel of the resampled image would cover {factor:.3g} voxels "
                f"of level {level} on axis {axis}; allowed are {FACTOR_RANGE[0]:g} to {FACTOR_RANGE[1]:g}. The scale "
                f"of level 0 is {image.levels[0].scale_um} um (z, y, x): check the diameter and the scale, both in "
                "micrometres"
            )


def covers(first: Level, level: Level, factors: Factors) -> bool:
    """Whether a level, enlarged by these factors, has the size of the first, to within one of its own voxels."""
    sides = zip(first.shape, level.shape, factors, strict=True)
    return all(abs(n - m * r) <= 1.01 * max(r, 1) for n, m, r in sides)


def place_level(path: str, shape: Vec3, first: Level, factors: Float3) -> Level:
    """A level of which each voxel stands for a window of ``factors`` voxels of the first level."""
    if first.scale_um is None:
        return Level(path, shape, None, (0.0, 0.0, 0.0))
    scale = float3(s * f for s, f in zip(first.scale_um, factors, strict=True))
    shift = float3(t + (g - s) / 2 for t, g, s in zip(first.translation_um, scale, first.scale_um, strict=True))
    return Level(path, shape, scale, shift)


def cumulated_factors(image: ImageInfo) -> list[Float3]:
    """Voxels of level 0 per voxel of each level: from the scales where they fit the shapes, else from the shapes."""
    first = image.levels[0]
    factors = []
    for level in image.levels:
        guess = float3(_ratio(n, m) for n, m in zip(first.shape, level.shape, strict=True))
        stated = stated_ratio(first, level)
        if stated is not None and not covers(first, level, stated):
            log.warning(
                "%s: by its scale, one voxel of level %s covers %s voxels of level 0 (z, y, x), but by its shape %s; "
                "the labels follow the shape",
                *(image.path, level.path, stated, guess),
            )
            stated = None
        factors.append(stated or guess)
    return factors


def _ratio(fine: int, coarse: int) -> float:
    """The whole number by which one length was divided, rounding down or up; the plain ratio where there is none."""
    whole = max(1, int(np.rint(fine / coarse)))
    return float(whole) if coarse in (fine // whole, -(-fine // whole)) else fine / coarse


def placed(info: ImageInfo, scale_um: Float3 | None = None) -> ImageInfo:
    """The image with a scale and a translation for all levels, which a viewer needs.

    ``scale_um`` replaces the scale of level 0. Where neither is known a voxel counts as a micrometre, and the coarser
    levels follow from their shapes.
    """
    first = info.levels[0]
    if scale_um is None and all(level.scale_um for level in info.levels):
        return info
    own = first.scale_um or (1.0, 1.0, 1.0)
    scale = scale_um or own
    shift = float3(t * new / old for t, new, old in zip(first.translation_um, scale, own, strict=True))
    start = Level(first.path, first.shape, scale, shift)
    factors = cumulated_factors(info)
    levels = [place_level(a.path, a.shape, start, f) for a, f in zip(info.levels, factors, strict=True)]
    return replace(info, levels=tuple(levels))


def with_told_scale(labels: ImageInfo) -> ImageInfo:
    """Labels that bigcp3d made, with the voxel size that the user gave with ``--scale``, if any.

    Their metadata repeat the image's scale, so that viewers overlay both; measurements use the user's.
    """
    scale = own_part(read_attributes(labels.path)).get("scale_um")
    return placed(labels, float3(scale)) if isinstance(scale, list) and len(scale) == 3 else labels
