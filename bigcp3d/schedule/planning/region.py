"""Reads the region of interest, the time points and the mask that a user gives."""

from __future__ import annotations

import hashlib
import logging
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bigcp3d.edge.image.image import ImageInfo, open_image
from bigcp3d.edge.image.level_geometry import covers, placed, ratio_of
from bigcp3d.edge.image.same_grid import check_same_start
from bigcp3d.edge.image.voxels import check_time, read_box
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box, Float3, float3, vec3
from bigcp3d.pure.grid import Factors
from bigcp3d.pure.predict.normalise import sample_boxes

Ends = Sequence[tuple[float | None, float | None]]

log = logging.getLogger(__name__)

ROI_FORM = "write Z0:Z1,Y0:Y1,X0:X1 in voxels of level 0, such as 0:64,100:228,:, or with um at the end for micrometres"


def find_region(roi: str | Ends | None, image: ImageInfo, scale_um: Float3 | None = None) -> Box | None:
    """A region of interest as a box of voxels of level 0; None if it is the whole image.

    Ends are half open and may be left out. Micrometres include the image's translation, and a voxel belongs to the
    region if its centre does. Ends beyond the image are cut, with a warning. ``scale_um`` replaces the image's voxel
    size.
    """
    if roi is None:
        return None
    ends, micrometres = _parse(roi) if isinstance(roi, str) else (list(roi), False)
    if len(ends) != 3 or any(len(pair) != 2 for pair in ends):
        raise InputError(f"the region {roi!r} was given; {ROI_FORM}")
    level = (image if scale_um is None else placed(image, scale_um)).levels[0]
    if micrometres and level.scale_um is None:
        raise InputError(
            f"{image.path} does not say its voxel size, which a region in micrometres needs; give --scale, or --roi in "
            "voxels"
        )
    start, stop, beyond = [], [], []
    slack = 1 if micrometres else 0  # micrometres are rounded up to voxels
    for axis, (low, high) in enumerate(ends):
        size = level.shape[axis]
        if micrometres and level.scale_um is not None:
            scale, origin = level.scale_um[axis], level.translation_um[axis]
            low, high = (None if end is None else math.ceil((end - origin) / scale) for end in (low, high))
        start.append(0 if low is None else max(0, int(low)))
        stop.append(size if high is None else min(size, int(high)))
        low, high = 0 if low is None else low, size if high is None else high
        if min(low, size - high) < -slack:
            beyond.append(f"{'zyx'[axis]} {low:g}:{high:g}")
    box = Box(vec3(start), vec3(stop))
    if box.empty:
        raise InputError(
            f"{image.path}: the region {roi!r} holds no voxel of the volume, which has {level.shape} (z, y, x); "
            f"{ROI_FORM}"
        )
    if beyond:
        cut = ",".join(f"{a}:{b}" for a, b in zip(box.start, box.stop, strict=True))
        log.warning(
            "%s: the region reaches beyond the volume of %s voxels (z, y, x), at %s; it is cut to %s (--roi)",
            *(image.path, level.shape, ", ".join(beyond), cut),
        )
    return None if box == Box.of_shape(level.shape) else box


def _parse(text: str) -> tuple[list[tuple[float | None, float | None]], bool]:
    """Ends along z, y and x, and whether they are in micrometres."""
    match = re.fullmatch(r"\s*(.*?)\s*(um|µm)?\s*", text)
    body, unit = match.groups() if match else ("", None)
    number = r"[+-]?\d+(?:\.\d+)?" if unit else r"\d+"
    ends: list[tuple[float | None, float | None]] = []
    for part in body.split(","):
        found = re.fullmatch(rf"\s*({number})?\s*:\s*({number})?\s*", part)
        if found is None:
            raise InputError(f"the region {text!r} was given; {ROI_FORM}")
        low, high = (None if end is None else float(end) for end in found.groups())
        ends.append((low, high))
    return ends, unit is not None


def find_times(times: str | int | None, image: ImageInfo) -> tuple[int, ...]:
    """Time points: all, one ("5"), or a half-open range ("3:10")."""
    if times is None:
        return tuple(range(image.times))
    found = re.fullmatch(r"\s*(\d+)?\s*(:)?\s*(\d+)?\s*", str(times))
    form = f"use 0 to {image.times - 1}: 5, 3:10 (3 to 9), 3: or :10"
    if found is None or (found[2] is None and (found[1] is None or found[3] is not None)):
        raise InputError(f"{image.path}: time points {times!r} were given; {form}")
    if found[2] is None:
        return (check_time(image, int(found[1])),)
    chosen = range(image.times)[int(found[1]) if found[1] else None : int(found[3]) if found[3] else None]
    if not chosen:
        raise InputError(f"{image.path}: --time {times!r} holds no time point; {form}")
    return tuple(chosen)


def open_mask(path: str | Path, image: ImageInfo, label_factors: Factors) -> tuple[ImageInfo, int, Factors]:
    """A mask, its level to read, and voxels of that level per working voxel.

    The level is the coarsest whose voxels are not larger than a working voxel, else the finest.
    """
    mask = open_image(path)
    if mask.channels != 1:
        raise InputError(f"{mask.path}: this mask has {mask.channels} channels; give a mask of one channel")
    if mask.times not in (1, image.times):
        raise InputError(
            f"{mask.path}: this mask has {mask.times} time points, and the image {image.times}; give a mask of 1 or "
            f"{image.times}"
        )
    check_same_start(mask, image)
    base = image.levels[0]
    choices: list[Factors] = []
    for level in mask.levels:
        ratio = ratio_of(base, level)
        if not covers(base, level, ratio):
            covered = tuple(round(m * r, 1) for m, r in zip(level.shape, ratio, strict=True))
            raise InputError(
                f"{mask.path}: this mask covers {covered} voxels (z, y, x), but the "
                f"image has {base.shape}; the two must cover the same volume: cut or pad the mask, or correct its "
                f"scale (the mask's voxels are {level.scale_um} um, the image's {base.scale_um})"
            )
        choices.append(float3(f / r for f, r in zip(label_factors, ratio, strict=True)))
    fine = [number for number, factors in enumerate(choices) if min(factors) >= 1 - 1e-9]
    number = max(fine, default=0)
    return mask, number, choices[number]


def hash_mask(mask: ImageInfo, level: int, times: tuple[int, ...]) -> str:
    """The sha256 of a sample of a mask's voxels, at the first and the last of the time points."""
    whole = hashlib.sha256()
    for time in dict.fromkeys((times[0], times[-1])) if mask.times > 1 else (0,):
        for box in sample_boxes(mask.levels[level].shape):
            whole.update(np.ascontiguousarray(read_box(mask, level, box, time=time) > 0).tobytes())
    return whole.hexdigest()
