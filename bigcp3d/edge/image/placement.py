"""An image with every level in its place: for what shows images, which cannot do without a scale.

Where the store states no scale a voxel is a micrometre, and coarser levels follow from their shapes, as labels do.
"""

from __future__ import annotations

from dataclasses import replace

from bigcp3d.edge.image.diagnose import open_node
from bigcp3d.edge.image.image_info import ImageInfo, Level
from bigcp3d.edge.image.levels import cumulated_factors, place_level
from bigcp3d.edge.image.metadata import own_part
from bigcp3d.edge.image.transforms import Float3, float3


def placed(info: ImageInfo, scale_um: Float3 | None = None) -> ImageInfo:
    """The image with a scale and a translation for all levels.

    Parameters
    ----------
    info : ImageInfo
        Of an image, or of labels.
    scale_um : tuple of float, optional
        Micrometres per voxel of level 0 (z, y, x), where the store says none or a wrong one.
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


def as_told(labels: ImageInfo) -> ImageInfo:
    """Labels of ours with the voxel size that the user gave (``--scale``) when they were made, where one was given.

    Their metadata follow the image's, so that viewers lay one over the other; what is measured follows the user.
    """
    scale = own_part(open_node(labels.path).attrs.asdict()).get("scale_um")
    return placed(labels, float3(scale)) if isinstance(scale, list) and len(scale) == 3 else labels
