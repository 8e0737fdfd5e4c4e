"""Reads the voxels that a report shows: planes through the middle, and cells cut in three directions.

No picture grows with the volume. A plane is read at the finest level at which it fits; where even the coarsest is too
large, its middle is shown. A cell is read with its surroundings at the finest level at which those are small.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.pure.boxes import Box, vec3

PLANE_SIDE = 900
"""Most voxels along a side of a plane."""

CROP_SIDE = 128
"""Most voxels along a side of the surroundings of a cell."""

AXES = "zyx"


@dataclass(frozen=True, eq=False)
class View:
    """One plane: a ``box`` of a level, one voxel thick along ``axis``.

    ``pixel`` is height and width of a pixel in ``unit``: "µm", or "voxels" where the store states no voxel size.
    """

    axis: int
    time: int
    level: int
    box: Box
    grey: NDArray[np.generic] | None
    labels: NDArray[np.integer]
    pixel: tuple[float, float]
    unit: str

    @property
    def name(self) -> str:
        """Which plane: ``z = 24``, and its level where it is not the finest."""
        where = f"{AXES[self.axis]} = {self.box.start[self.axis]}"
        return where + (f" of level {self.level}" if self.level else "")

    @property
    def size(self) -> tuple[float, float]:
        """Height and width in ``unit``."""
        return self.labels.shape[0] * self.pixel[0], self.labels.shape[1] * self.pixel[1]


@dataclass(frozen=True)
class Source:
    """Labels and their image.

    ``levels`` holds, for each level of the labels, the image's level of the same shape. ``wanted`` is the box of level
    0 that was segmented.
    """

    labels: ImageInfo
    image: ImageInfo | None
    levels: tuple[int | None, ...]
    channel: int
    wanted: Box

    @classmethod
    def of(cls, labels: ImageInfo, image: ImageInfo | None, channel: int = 0, wanted: Box | None = None) -> Source:
        """Match levels by their shapes."""
        shapes = [level.shape for level in image.levels] if image is not None else []
        levels = tuple(shapes.index(level.shape) if level.shape in shapes else None for level in labels.levels)
        return cls(labels, image, levels, channel, wanted or Box.of_shape(labels.levels[0].shape))

    def at(self, level: int, box: Box) -> Box:
        """A box of level 0 at another level; at least a voxel, inside the volume."""
        fine, coarse = self.labels.levels[0].shape, self.labels.levels[level].shape
        ratio = [c / f for f, c in zip(fine, coarse, strict=True)]
        start = [min(int(a * r), c - 1) for a, r, c in zip(box.start, ratio, coarse, strict=True)]
        stop = [max(min(math.ceil(b * r), c), a + 1) for a, b, r, c in zip(start, box.stop, ratio, coarse, strict=True)]
        return Box(vec3(start), vec3(stop))

    def read(self, level: int, box: Box, time: int) -> tuple[NDArray[np.generic] | None, NDArray[np.integer]]:
        """Image and labels of a box."""
        matching, grey = self.levels[level], None
        if self.image is not None and matching is not None:
            grey = read_box(self.image, matching, box, channel=self.channel, time=min(time, self.image.times - 1))
        return grey, read_box(self.labels, level, box, time=time)

    def voxel(self, level: int) -> tuple[tuple[float, ...], str]:
        """Size of a voxel and its unit; where none is stated, a voxel of level 0 is 1."""
        info = self.labels.levels[level]
        if info.scale_um is not None:
            return info.scale_um, "µm"
        fine = self.labels.levels[0].shape
        return tuple(f / c for f, c in zip(fine, info.shape, strict=True)), "voxels"

    def view(
        self, axis: int, time: int, level: int, box: Box, grey: NDArray[np.generic] | None, labels: NDArray[np.integer]
    ) -> View:
        """One plane of what was read."""
        voxel, unit = self.voxel(level)
        down, right = (other for other in range(3) if other != axis)
        flat = None if grey is None else grey.squeeze(axis)
        return View(axis, time, level, box, flat, labels.squeeze(axis), (voxel[down], voxel[right]), unit)


def middle_planes(source: Source, time: int) -> Iterator[View]:
    """Planes across z, y and x through the middle of what was labelled."""
    for axis in range(3):
        level, box = _fitting(source, axis)
        yield source.view(axis, time, level, box, *source.read(level, box, time))


def _fitting(source: Source, axis: int) -> tuple[int, Box]:
    """The finest level at which the plane fits; at the coarsest, as much of its middle as fits."""
    for level in range(len(source.labels.levels)):
        whole = source.at(level, source.wanted)
        box = _plane(whole, axis, (whole.start[axis] + whole.stop[axis]) // 2)
        if max(box.shape) <= PLANE_SIDE:
            return level, box
    return level, _inner(box, PLANE_SIDE)


def _inner(box: Box, side: int) -> Box:
    """The middle of a box, no wider than ``side``."""
    start = [a + max(0, b - a - side) // 2 for a, b in zip(box.start, box.stop, strict=True)]
    return Box(vec3(start), vec3(min(b, a + side) for a, b in zip(start, box.stop, strict=True)))


def _plane(box: Box, axis: int, at: int) -> Box:
    """One plane of a box."""
    start, stop = list(box.start), list(box.stop)
    start[axis], stop[axis] = at, at + 1
    return Box(vec3(start), vec3(stop))


def cell_planes(source: Source, label: int, time: int, low: Sequence[int], high: Sequence[int]) -> list[View]:
    """A cell and its surroundings, cut where most of it lies, across z, y and x; its box at level 0 is given."""
    around = [max(4, round(0.35 * (b - a))) for a, b in zip(low, high, strict=True)]
    shape = source.labels.levels[0].shape
    wide = Box(vec3(low), vec3(high)).grow(vec3(around)).clip(shape)
    level = _small_level(source, wide)
    box = source.at(level, wide)
    if max(box.shape) > CROP_SIDE:  # a huge cell, and no level that is coarse enough
        box = _inner(box, CROP_SIDE)
    grey, labels = source.read(level, box, time)
    own = labels == label
    views = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        most = int(np.argmax(np.count_nonzero(own, axis=others)))
        cut = [slice(None)] * 3
        cut[axis] = slice(most, most + 1)
        plane = _plane(box, axis, box.start[axis] + most)
        flat = None if grey is None else grey[tuple(cut)]
        views.append(source.view(axis, time, level, plane, flat, labels[tuple(cut)]))
    return views


def _small_level(source: Source, box: Box) -> int:
    for level in range(len(source.labels.levels)):
        if max(source.at(level, box).shape) <= CROP_SIDE:
            return level
    return len(source.labels.levels) - 1


def contrast(views: Sequence[View]) -> tuple[float, float]:
    """Intensities shown black and white: the 1st and the 99.8th percentile over some views."""
    found = [np.asarray(view.grey, np.float32).ravel() for view in views if view.grey is not None]
    values = np.concatenate(found) if found else np.zeros(1, np.float32)
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, (1, 99.8)))
    return low, high if high > low else low + 1.0


def round_length(width: float) -> float:
    """Length of a scale bar for a picture of some width: 1, 2 or 5 times a power of ten, about a fifth of it."""
    power = 10.0 ** math.floor(math.log10(max(width, 1e-9) / 5))
    return next(step * power for step in (5, 2, 1) if step * power <= width / 5 or step == 1)
