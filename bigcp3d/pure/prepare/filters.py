"""The filters of a preparation, on lazy Dask arrays: those of dask-image, which are scipy's with overlapping chunks.

Each gives a voxel from its neighbourhood by the same arithmetic in the same order, wherever the array begins. Filters
with running sums, such as scipy's ``uniform_filter``, do not, so none is used. Beyond the volume's border the image is
reflected.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bigcp3d.pure.boxes import Box, Vec3, float3
from bigcp3d.pure.prepare.equalise import equalise
from bigcp3d.pure.prepare.steps import BACKGROUND, CLAHE, CONTRAST, GAUSSIAN, SMOOTHED, Step

if TYPE_CHECKING:
    from dask.array import Array

FAINT = 0.02
"""Added to a local deviation, as a share of the image's range: what varies less than this is not made brighter."""


def apply_steps(image: Array, box: Box, shape: Vec3, steps: Sequence[Step]) -> Array:
    """Apply filters to ``image``, float32, which covers ``box`` of a volume of ``shape``; lazy.

    Voxels within the margin of the steps of a face of the box that is not the volume's are not final.
    """
    for step in steps:
        image = _apply(image, box, shape, step)
    return image


def _apply(image: Array, box: Box, shape: Vec3, step: Step) -> Any:
    from dask_image.ndfilters import maximum_filter, median_filter, minimum_filter

    if step.name == CLAHE:
        where = {"box": box, "shape": shape, "tile": step.radius(shape)}
        return image.rechunk(-1).map_blocks(equalise, **where, dtype=np.float32, meta=image._meta)
    radius = step.radius(shape)
    if step.name == GAUSSIAN:
        return _blur(image, step.size, radius)
    if step.name == CONTRAST:
        wide = image.astype(np.float64)
        sigma = float3(s / 4 for s in step.size)
        mean = _blur(wide, sigma, radius)
        square = _blur(wide * wide, sigma, radius) - mean * mean
        return ((wide - mean) / (np.sqrt(np.maximum(square, 0)) + FAINT)).astype(np.float32)
    window = tuple(2 * r + 1 for r in radius)
    if step.name == BACKGROUND:  # without the blur, noise would make every minimum as dark as the darkest voxel
        smooth = _blur(image, float3(s / SMOOTHED for s in step.size), step.blur_radius(shape))
        return image - maximum_filter(minimum_filter(smooth, size=window), size=window)
    return median_filter(image, size=window)


def _blur(image: Array, sigma: tuple[float, float, float], radius: Vec3) -> Any:
    """Gaussians that end at a radius, one axis after the other."""
    from dask_image.ndfilters import gaussian_filter

    for axis, (s, r) in enumerate(zip(sigma, radius, strict=True)):
        if r:  # a quarter less, so that neither scipy nor dask-image rounds it to another radius
            image = gaussian_filter(image, [s if a == axis else 0.0 for a in range(3)], truncate=(r - 0.25) / s)
    return image
