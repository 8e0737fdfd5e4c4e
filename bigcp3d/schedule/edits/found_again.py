"""Finds cells again with other settings in a small region: to split a cell, or to add one that was missed.

It is a sweep of one region (`bigcp3d.schedule.sweep`) with the settings of the labels. Kept maps make it quick; without
them the region is predicted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.labels.image_and_labels import source_image
from bigcp3d.edge.labels.label_plan import LabelTarget
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box, Vec3, vec3
from bigcp3d.pure.track.units import UNIT
from bigcp3d.schedule.planning.make_plan import make_plan
from bigcp3d.schedule.planning.recorded_settings import find_settings
from bigcp3d.schedule.planning.request import Request
from bigcp3d.schedule.sweep import plan_sweep
from bigcp3d.work.plan.plan import Plan

LOWER = (0.8, 0.6, 0.4, 0.2)
"""Shares of the labels' foreground threshold at which a missed cell is looked for."""

FILTERS = ("min_volume", "max_volume", "min_foreground", "max_elongation", "max_flow_error")


class _Region:
    """A region of the image of some labels, and the labels' own settings without filters."""

    def __init__(self, labels: ImageInfo, target: LabelTarget, image: str | Path | None, box: Box, time: int) -> None:
        found = source_image(labels, image)
        if found is None or found.levels[0].shape != labels.levels[0].shape:
            raise InputError(
                f"{labels.path}: this needs the image of these labels, in their shape, but there is none; give "
                "--image. Or do without it: split takes --parts or --seed, add takes an array of labels"
            )
        settings = find_settings(found, target, {}).arguments
        self.arguments: dict[str, Any] = {name: value for name, value in settings.items() if name not in FILTERS}
        self.arguments |= {"min_volume": 0, "min_foreground": 0.0, "roi": tuple(zip(box.start, box.stop, strict=True))}
        self.arguments |= {"time": time, "output": target.group, "name": target.name}
        self.image = found.path

    def plan(self) -> Plan:
        """What a run of the region would do."""
        return make_plan(Request(self.image, **self.arguments))

    def sweep(self, name: str, values: list[float]) -> Iterator[tuple[float, NDArray[np.uint32]]]:
        """Labels of the region for each value of a setting."""
        given = {each: value for each, value in self.arguments.items() if each != name}
        for trial in plan_sweep(self.image, {name: values}, **given).run():
            yield float(trial.settings[name]), trial.labels


def find_parts(
    labels: ImageInfo, target: LabelTarget, image: str | Path | None, box: Box, time: int
) -> Iterator[tuple[float, NDArray[np.uint32]]]:
    """Labels of a box with each smaller closing in turn, the largest first."""
    region = _Region(labels, target, image, box, time)
    closing = region.plan().grouping.closing_vox
    if closing > 0:
        yield from region.sweep("closing_vox", [float(c) for c in range(closing - 1, -1, -1)])


def grow_seed(
    labels: ImageInfo, target: LabelTarget, image: str | Path | None, seed: Vec3, time: int
) -> tuple[NDArray[np.uint8], Vec3]:
    """The cell at a voxel, with the first threshold at which there is one, and where its array begins."""
    shape = labels.levels[0].shape
    if not all(0 <= s < n for s, n in zip(seed, shape, strict=True)):
        raise InputError(
            f"the seed {seed} lies outside of the volume of {shape} voxels (z, y, x); give a voxel inside it"
        )
    at = Box(seed, vec3(s + 1 for s in seed))
    first = _Region(labels, target, image, at, time).plan()
    reach = vec3(max(2, round(first.tracking.reach * f)) for f in first.output.label_factors)
    box = at.grow(reach).clip(shape)
    threshold = first.tracking.foreground / UNIT
    values = [threshold, *(threshold * share for share in LOWER)]
    for _, found in _Region(labels, target, image, box, time).sweep("foreground", values):
        cell = found[vec3(np.subtract(seed, box.start))]
        if cell:
            return (found == cell).astype(np.uint8), box.start
    raise InputError(
        f"no cell was found at {seed}, not even with a foreground threshold of {values[-1]:.2g}; give a "
        "voxel nearer to the cell's centre, or add the cell as an array of labels"
    )
