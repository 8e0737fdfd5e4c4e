"""Where the levels of an image lie, how many voxels of one make a voxel of another, and which is fine enough."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import numpy as np

from bigcp3d.edge.image.image_info import ImageInfo, Level
from bigcp3d.edge.image.metadata import own_part
from bigcp3d.edge.image.open_node import read_attributes
from bigcp3d.edge.image.transforms import Float3, float3
from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.grid import Factors

log = logging.getLogger(__name__)

ROUNDING = 1e-3
"""A level counts as no coarser than the working grid if it is so to this share of a voxel."""


def level_ratio(image: ImageInfo, level: int) -> Factors:
    """Level-0 voxels per voxel of a level: from the scales where both are known, else from the shapes."""
    base, here = image.levels[0], image.levels[level]
    if base.scale_um is not None and here.scale_um is not None:
        ratio = tuple(h / b for b, h in zip(base.scale_um, here.scale_um, strict=True))
    else:
        ratio = tuple(b / h for b, h in zip(base.shape, here.shape, strict=True))
    return ratio  # type: ignore[return-value]


def nearest_level(image: ImageInfo, image_factors: Factors) -> int:
    """The coarsest level that is no coarser than the working grid on any axis, and covers the volume of level 0.

    ``image_factors`` are voxels of level 0 per working voxel.
    """
    best = 0
    for number, level in enumerate(image.levels):
        ratio = level_ratio(image, number)
        fine = all(f / r >= 1 - ROUNDING for f, r in zip(image_factors, ratio, strict=True))
        if (
            fine
            and _covers(image.levels[0], level, ratio)
            and math.prod(level.shape) < math.prod(image.levels[best].shape)
        ):
            best = number
    return best


def _covers(first: Level, level: Level, factors: Factors) -> bool:
    """Whether a level, enlarged by these factors, is as large as the first to a voxel of its own."""
    sides = zip(first.shape, level.shape, factors, strict=True)
    return all(abs(n - m * r) <= 1.01 * max(r, 1) for n, m, r in sides)


def place_level(path: str, shape: Vec3, first: Level, factors: Float3) -> Level:
    """A level whose voxels are windows of ``factors`` voxels of the first."""
    if first.scale_um is None:
        return Level(path, shape, None, (0.0, 0.0, 0.0))
    scale = float3(s * f for s, f in zip(first.scale_um, factors, strict=True))
    shift = float3(t + (g - s) / 2 for t, g, s in zip(first.translation_um, scale, first.scale_um, strict=True))
    return Level(path, shape, scale, shift)


def cumulated_factors(image: ImageInfo) -> list[Float3]:
    """Voxels of level 0 per voxel of each level."""
    first = image.levels[0]
    factors = []
    for level in image.levels:
        guess = float3(_ratio(n, m) for n, m in zip(first.shape, level.shape, strict=True))
        if first.scale_um and level.scale_um:
            stated = float3(b / a for a, b in zip(first.scale_um, level.scale_um, strict=True))
            if _covers(first, level, stated):
                guess = stated
            else:
                log.warning(
                    "%s: level %s states %s voxels of level 0 per voxel, its shape says %s; labels follow the shape",
                    *(image.path, level.path, stated, guess),
                )
        factors.append(guess)
    return factors


def _ratio(fine: int, coarse: int) -> float:
    """The whole factor that turns one length into the other, rounded down or up; their ratio where there is none."""
    whole = max(1, int(np.rint(fine / coarse)))
    return float(whole) if coarse in (fine // whole, -(-fine // whole)) else fine / coarse


def placed(info: ImageInfo, scale_um: Float3 | None = None) -> ImageInfo:
    """The image with a scale and a translation for all levels, which a viewer needs.

    ``scale_um`` stands for what the store says of level 0. Where it says nothing a voxel is a micrometre, and coarser
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
    """Labels of ours with the voxel size that the user gave (``--scale``) when they were made, where one was given.

    Their metadata follow the image's, so that viewers lay one over the other; measurements follow the user.
    """
    scale = own_part(read_attributes(labels.path)).get("scale_um")
    return placed(labels, float3(scale)) if isinstance(scale, list) and len(scale) == 3 else labels
