"""Understands ``--prepare "background:30um gaussian:1um"``, and finds the filters' sizes in voxels of a level."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.image.level_geometry import level_ratio
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Float3, float3
from bigcp3d.pure.prepare.steps import CLAHE, FILTERS, Step

NOTHING = "none"
"""A preparation that changes nothing, such as the first of a sweep."""

TILE_VOX = 64.0
"""Side of the tiles of CLAHE where none is given, in voxels of level 0 along its finest axis."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Filter:
    """A filter that a user asked for; ``size`` is in micrometres where ``in_um``, else in voxels of level 0.

    Voxels are counted along the finest axis of the image.
    """

    name: str
    size: float
    in_um: bool


def parse_preparation(text: str | None) -> tuple[Filter, ...]:
    """The filters of a text, in their order; an `InputError` with all names where a word is wrong."""
    words = (text or NOTHING).split()
    return () if words == [NOTHING] else tuple(map(_parse_word, words))


def _parse_word(word: str) -> Filter:
    found = re.fullmatch(r"([a-z]+)(?::(\d+(?:\.\d*)?|\.\d+)(um|µm|px)?)?", word)
    name = word.partition(":")[0] if found is None else found[1]
    if name not in FILTERS:
        raise InputError(
            f"prepare: there is no filter {name!r}; use one or more of {', '.join(FILTERS)}, each with a size, such "
            'as "background:30um gaussian:1um", or none'
        )
    if found is None or (found[2] is None and name != CLAHE) or (found[2] and not float(found[2]) > 0):
        raise InputError(
            f"prepare: {word!r} has no size above 0; write {name}:30um or {name}:30 for micrometres, {name}:3px for "
            "voxels of level 0"
        )
    if found[2] is None:
        return Filter(name, TILE_VOX, in_um=False)
    return Filter(name, float(found[2]), in_um=found[3] != "px")


def steps_of(text: str | None, image: ImageInfo, level: int, scale_um: Float3 | None = None) -> tuple[Step, ...]:
    """The steps of a preparation on a level; sizes are equal in space on all levels.

    ``scale_um`` is that of level 0, where the image has none or a wrong one. Raises an `InputError` where the text is
    wrong, or gives micrometres and the voxel size is not known.
    """
    filters = parse_preparation(text)
    scale = scale_um or image.levels[0].scale_um
    if scale is None and any(each.in_um for each in filters):
        raise InputError(
            f"{image.path} (OME-Zarr {image.version}) does not say its voxel size, which --prepare in micrometres "
            "needs; add --scale Z Y X (micrometres per voxel of level 0), or give sizes in voxels, such as 3px"
        )
    scale = scale or (1.0, 1.0, 1.0)
    steps = []
    for each in filters:
        um = each.size if each.in_um else each.size * min(scale)
        voxels = zip(scale, level_ratio(image, level), strict=True)
        steps.append(Step(each.name, float3(float(f"{um / (s * r):.6g}") for s, r in voxels)))
    return tuple(steps)


def warn_of_idle_steps(steps: tuple[Step, ...], image: ImageInfo, level: int) -> None:
    """Warn of filters whose window is a single voxel."""
    for step in steps:
        if not step.changes(image.levels[level].shape):
            log.warning(
                "prepare: %s changes nothing, because its window is only one voxel of level %d (%.2g voxels were "
                "given); give a larger size",
                *(step.name, level, max(step.size)),
            )


def describe_steps(steps: tuple[Step, ...], shape: tuple[int, int, int]) -> str:
    """``background of 17 x 38 x 38 voxels, gaussian of 0.57 x 1.2 x 1.2 voxels``; cut to the volume where wider."""
    words = []
    for step in steps:
        sides = (min(size, side) for size, side in zip(step.size, shape, strict=True))
        words.append(f"{step.name} of {' x '.join(f'{side:.3g}' for side in sides)} voxels")
    return ", ".join(words)
