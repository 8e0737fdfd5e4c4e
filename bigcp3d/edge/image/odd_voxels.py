"""Recognises voxel sizes that are probably wrong: in the wrong order, or in another unit. The limits are generous."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.pure.boxes import Float3

UNEQUAL = 1.25
"""Ratio of x to y from which the order may be wrong. Pixels of microscopes are squares."""

FLAT = 2.0
"""Ratio of x to z from which the order may be wrong. Planes of microscopes are rarely closer than the pixels."""

LONG_UM = 50.0
"""Side from which the unit may be wrong: such voxels are larger than most cells."""

log = logging.getLogger(__name__)


def odd_voxels(scale_um: Float3) -> Iterator[str]:
    """What is strange about a voxel size, each with its cure, in one sentence."""
    z, y, x = scale_um
    size = f"voxels of {z:.4g} x {y:.4g} x {x:.4g} um"
    cure = "check the scale, or give --scale Z Y X (micrometres)"
    if max(x, y) / min(x, y) >= UNEQUAL:
        yield f"{size}: x voxels are {x / y:.3g} times y voxels, which is rare; the order is Z Y X: {cure}"
    elif min(x, y) / z >= FLAT:
        yield f"{size}: z voxels are {z / x:.3g} times x voxels, which is rare; the order is Z Y X: {cure}"
    if max(scale_um) > LONG_UM:
        yield f"{size} are larger than most cells; if the numbers are nanometres, the unit is wrong: {cure}"


def has_no_unit(image: ImageInfo) -> bool:
    """Whether an image states a voxel size without a unit, so that it is taken as micrometres."""
    return image.levels[0].scale_um is not None and None in image.units


def warn_of_odd_voxels(image: ImageInfo, scale_um: Float3 | None) -> None:
    """Warn of a voxel size that is probably wrong: ``scale_um``, if the user gave it, or that of the image."""
    scale = scale_um or image.levels[0].scale_um
    for text in () if scale is None else odd_voxels(scale):
        log.warning("%s: %s", image.path, text)
