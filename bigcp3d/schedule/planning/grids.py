"""The grids of a run: the level of the pyramid that is read, the working grid, and the level of the labels.

All three follow from the image's metadata and the user's request. None depends on blocks. ::

    level 0  ............  --roi, --min-volume and positions are counted in its voxels
    level L  . . . . . .   read: the coarsest that is no coarser than the working grid on any axis
    working  .  .  .  .    where a cell has the model's diameter; or nearly, if it then keeps the voxels of level L
    labels   ............  level 0, or --labels-level
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.image.level_geometry import check_factors, level_ratio, nearest_level
from bigcp3d.edge.image.same_grid import differing_sizes
from bigcp3d.edge.image.voxels import check_level
from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box, Vec3, float3
from bigcp3d.pure.grid import Factors, working_shape
from bigcp3d.schedule.planning.request import AS_IS, Request

NEARLY_AS_IS = (0.95, 1.2)
"""Voxels of the level that is read per working voxel, lowest and highest, that are taken as 1. With a factor of 1.04 to
1.11, resampling would lose 0.005 to 0.02 mean Dice. With 0.97, it would gain 0.003, and with 0.88 it gains 0.01."""

FEW_VOXELS = 5.0
"""A user is warned of cells that are fewer voxels wide (mean of the axes)."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Grids:
    """Levels that are read and labelled, the working grid's shape, and voxels of a level per working voxel.

    ``factors`` count voxels of the level that is read, ``image_factors`` of level 0, ``label_factors`` of the labels.
    """

    level: int
    labels_level: int
    factors: Factors
    image_factors: Factors
    label_factors: Factors
    shape: Vec3

    def to_labels(self, roi: Box | None, image: ImageInfo) -> Box | None:
        """The voxels of the labels that touch a region in voxels of level 0."""
        if roi is None or self.labels_level == 0:
            return roi
        ratio = level_ratio(image, self.labels_level)
        return roi.scaled(float3(1 / r for r in ratio)).clip(image.levels[self.labels_level].shape)


def choose_grids(image: ImageInfo, request: Request, card: ModelCard) -> Grids:
    """Choose the grids from metadata. Raises an `InputError` if a diameter or scale must be wrong."""
    check_level(image, request.labels_level)
    base = _base_factors(image, request, card)
    if request.level is not None:
        level = check_level(image, request.level)
        if base is None:
            base = level_ratio(image, level)
    else:
        level = 0 if base is None else nearest_level(image, base)
    asked: Factors = base or (1.0, 1.0, 1.0)
    _warn_of_small_cells(asked, card)
    ratio = level_ratio(image, level)
    image_factors = _use_voxels_as_they_are(asked, ratio)
    factors = _per_voxel(image_factors, ratio)
    check_factors(image, factors, level)
    return Grids(
        level=level,
        labels_level=request.labels_level,
        factors=factors,
        image_factors=image_factors,
        label_factors=_per_voxel(image_factors, level_ratio(image, request.labels_level)),
        shape=working_shape(image.levels[level].shape, factors),
    )


def _use_voxels_as_they_are(image_factors: Factors, ratio: Factors) -> Factors:
    """The factors, all scaled by one number so that one of them is 1 per voxel of the level that is read.

    That is the factor nearest to 1. If it is not in `NEARLY_AS_IS`, the factors stay. ``ratio`` is that of the level.
    """
    nearest = min((f / r for f, r in zip(image_factors, ratio, strict=True)), key=lambda f: abs(math.log(f)))
    if not NEARLY_AS_IS[0] <= nearest <= NEARLY_AS_IS[1]:
        return image_factors
    return float3(f / nearest for f in image_factors)


def _per_voxel(image_factors: Factors, ratio: Factors) -> Factors:
    """Factors counted in the voxels of a level; those of 1 are freed from rounding errors."""
    factors = tuple(f / r for f, r in zip(image_factors, ratio, strict=True))
    return float3(1.0 if abs(f - 1) < 1e-9 else f for f in factors)


def _base_factors(image: ImageInfo, request: Request, card: ModelCard) -> Factors | None:
    """Level-0 voxels per working voxel, at which a cell has the model's diameter; None for the image as it is.

    A diameter in voxels counts along the finest axis. The other axes follow from the scale, or have equal voxels.
    """
    if request.diameter_um == AS_IS or not request.has_diameter:
        return None
    stated = image.levels[0].scale_um
    scale = request.scale_um or stated
    if scale and stated and any(differing_sizes(scale, stated)):
        words = [", ".join(f"{size:.4g}" for size in sizes) for sizes in (stated, scale)]
        log.warning("%s states voxels of %s um (z, y, x), but --scale takes them for %s um", image.path, *words)
    if request.diameter_vox is not None:
        if scale is None:
            log.warning(
                "%s does not say its voxel size, so voxels are taken as cubes; if they are not, give --scale",
                image.path,
            )
        scale = scale or (1.0, 1.0, 1.0)
        diameter = request.diameter_vox * min(scale)
    elif scale is None:
        raise InputError(
            f"{image.path} (OME-Zarr {image.version}) does not say its voxel size, which --diameter in micrometres "
            "needs; add --scale Z Y X (micrometres per voxel of level 0), or give --diameter-voxels"
        )
    else:
        diameter = float(request.diameter_um or 0.0)
    return float3(diameter / card.diameter_vox / s for s in scale)


def _warn_of_small_cells(factors: Factors, card: ModelCard) -> None:
    """Warn if the cells would have so few voxels that their diameter is more likely wrong."""
    diameter = card.diameter_vox * math.cbrt(math.prod(factors))
    if diameter < FEW_VOXELS:
        log.warning(
            "with this --diameter, a cell is about %.2g voxels wide, and is resampled to %.0f times as many voxels; "
            "check --diameter and --scale, both in micrometres",
            diameter,
            1 / math.prod(factors),
        )
