"""Which working voxels decide the labels of an image box, and the other way round (`bigcp3d.pure.label.look_ahead`)."""

from __future__ import annotations

import math

from bigcp3d.pure.boxes import Box, Vec3, vec3
from bigcp3d.pure.grid import Factors, working_box

AHEAD = 3
"""Steps of the flow, and so working voxels on each axis, at most, between an image voxel and the voxel whose label it
takes. With 1 step, cells that touch are told apart less well; with more than 4, small cells lose voxels."""


def resamples(factors: Factors) -> bool:
    """Whether the image's voxels are not those of the working grid."""
    return factors != (1.0, 1.0, 1.0)


def deciding_box(box: Box, factors: Factors, shape: Vec3) -> Box:
    """The box of the working grid (of ``shape``) whose maps and labels decide those of an image box."""
    taken = working_box(box, factors, shape)
    if not resamples(factors) or taken.empty:
        return taken
    return taken.grow(vec3(max(AHEAD, interpolated(f)) for f in factors)).clip(shape)


def taking_box(core: Box, factors: Factors) -> Box:
    """A box that holds all image voxels that may take the label of a voxel of ``core``, a box of the working grid."""
    return core.grow(AHEAD).scaled(factors) if resamples(factors) else core


def halo(factors: Factors) -> int:
    """Voxels around a box of the working grid whose maps decide which image voxels take a label from the box."""
    return AHEAD + 1 + 2 * max(map(interpolated, factors)) if resamples(factors) else 0


def interpolated(factor: float) -> int:
    """Working voxels on each side of the nearest one between which is interpolated, on one axis."""
    return math.ceil(max(1.0, 1 / factor))
