"""Warns where a 3D model sees one or two planes, in the image or on the working grid: it finds little there."""

from __future__ import annotations

import logging

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.plural import count
from bigcp3d.work.plan.plan import Plan

FEW = 2
"""Planes that are too few for a network that looks at all three axes."""

OTHERWISE = "For planes, use a 2D model such as Cellpose's: --model cellpose:cpsam, or Cellpose itself"

log = logging.getLogger(__name__)


def has_few_planes(shape: Vec3) -> bool:
    """Whether a volume is so thin on one of its axes."""
    return min(shape) <= FEW


def warn_of_few_planes(image: ImageInfo, model: str | None) -> None:
    """Warn of an image of one or two planes, if the model is one of ours, or none was chosen yet."""
    if has_few_planes(image.levels[0].shape) and not (model or "").startswith("cellpose:"):
        log.warning(
            "%s: the image has only %s on axis %s. The model is 3D and knows cells that reach over many planes, so it "
            "may find few cells here or none. %s",
            *(image.path, _planes(image.levels[0].shape), _axis(image.levels[0].shape), OTHERWISE),
        )


def warn_of_few_working_planes(plan: Plan) -> None:
    """The same of the working grid, where the image itself has more planes."""
    card, image = plan.prediction.card, plan.source.image
    thin = has_few_planes(plan.shape) and not has_few_planes(image.levels[0].shape)
    if thin and card is not None and card.is_own:
        log.warning(
            "%s: after resampling, the image has only %s on axis %s. The model is 3D, so it may find few cells or "
            "none. Check --diameter and --scale: %s voxels (z, y, x) become %s. %s",
            *(image.path, _planes(plan.shape), _axis(plan.shape), image.levels[0].shape, plan.shape, OTHERWISE),
        )


def _planes(shape: Vec3) -> str:
    return count(min(shape), "plane")


def _axis(shape: Vec3) -> str:
    return "zyx"[shape.index(min(shape))]
