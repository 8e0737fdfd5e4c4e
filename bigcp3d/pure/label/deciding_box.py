"""Which working voxels decide the labels of an image box, and the other way round (`bigcp3d.pure.label.look_ahead`)."""

from __future__ import annotations

import math

from bigcp3d.pure.boxes import Box, Vec3, vec3
from bigcp3d.pure.grid import Factors, working_box

AHEAD = 3
"""Steps of the flow, and so working voxels on each axis, at most, between an image voxel and the voxel whose label it
takes. With 1 step, cells that touch are told apart less well; with more than 4, small cells lose voxels."""

END = 2**62
"""Beyond the last voxel of any image."""


def resamples(factors: Factors) -> bool:
    """Whether the image's voxels are not those of the working grid."""
    return factors != (1.0, 1.0, 1.0)


def deciding_box(box: Box, factors: Factors, shape: Vec3) -> Box:
    """The box of the working grid (of ``shape``) whose maps and labels decide those of an image box."""
    taken = working_box(box, factors, shape)
    if not resamples(factors):
        return taken
    by = (max(AHEAD, interpolated(f)) if side else 0 for f, side in zip(factors, taken.shape, strict=True))
    return taken.grow(vec3(by)).clip(shape)


def taking_box(core: Box, factors: Factors, shape: Vec3) -> Box:
    """A box that holds all image voxels that may take the label of a voxel of ``core``, a box of the working grid.

    It may be larger than the image: voxels beyond the working grid (of ``shape``) look at its last voxels.
    """
    box = core.grow(AHEAD).scaled(factors)
    return Box(box.start, vec3(END if b == s else c for b, s, c in zip(core.stop, shape, box.stop, strict=True)))


def halo(factors: Factors) -> int:
    """Voxels around a box of the working grid whose maps decide which image voxels take a label from the box.

    A voxel looks ahead, lies up to half an image voxel beside the working voxel, and is interpolated.
    """
    return AHEAD + 1 + 2 * max(map(interpolated, factors)) if resamples(factors) else 0


def interpolated(factor: float) -> int:
    """Working voxels on each side of the nearest one between which is interpolated, on one axis."""
    return math.ceil(max(1.0, 1 / factor))
