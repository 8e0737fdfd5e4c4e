"""How the levels of an image lie over each other, and which of them is fine enough; metadata only."""

from __future__ import annotations

import math

from bigcp3d.edge.info import ImageInfo
from bigcp3d.pure.grid import Factors

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

    Parameters
    ----------
    image : ImageInfo
    image_factors : tuple of float
        Voxels of level 0 per working voxel.
    """
    best = 0
    for number, level in enumerate(image.levels):
        ratio = level_ratio(image, number)
        sides = zip(level.shape, ratio, image.levels[0].shape, strict=True)
        covers = all(abs(n * r - m) <= 1.01 * max(r, 1) for n, r, m in sides)
        fine = all(f / r >= 1 - ROUNDING for f, r in zip(image_factors, ratio, strict=True))
        if covers and fine and math.prod(level.shape) < math.prod(image.levels[best].shape):
            best = number
    return best
