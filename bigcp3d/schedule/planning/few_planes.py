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
        _warn(image.path, image.levels[0].shape, "the image has", OTHERWISE)


def warn_of_few_working_planes(plan: Plan) -> None:
    """The same of the working grid, where the image itself has more planes."""
    card, image = plan.prediction.card, plan.source.image
    thin = has_few_planes(plan.shape) and not has_few_planes(image.levels[0].shape)
    if thin and card is not None and card.is_own:
        resampled = f"Check --diameter and --scale: {image.levels[0].shape} voxels (z, y, x) become {plan.shape}"
        _warn(image.path, plan.shape, "after resampling, the image has", f"{resampled}. {OTHERWISE}")


def _warn(path: str, shape: Vec3, words: str, cure: str) -> None:
    log.warning(
        "%s: %s only %s on axis %s. The model is 3D and knows cells that reach over many planes, so it may find few "
        "cells here or none. %s",
        *(path, words, count(min(shape), "plane"), "zyx"[shape.index(min(shape))], cure),
    )
