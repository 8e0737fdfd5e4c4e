"""Reads the voxels that a report shows: planes through the middle, and three slices of each cell.

No picture grows with the volume. A plane, or a cell with its surroundings, is read at the finest level at which it is
small enough. Where even the coarsest level is too large, only the middle is shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.face.pictures.plane_drawing import find_contrast, plane_of
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
class Shown:
    """Labels and their image.

    ``wanted`` is the box of level 0 that is shown.
    """

    labels: ImageInfo
    image: ImageInfo | None
    channel: int
    wanted: Box

    @property
    def levels(self) -> tuple[int | None, ...]:
        """For each level of the labels the image's level of the same shape, if there is one."""
        shapes = [level.shape for level in self.image.levels] if self.image is not None else []
        return tuple(shapes.index(level.shape) if level.shape in shapes else None for level in self.labels.levels)

    def at(self, level: int, box: Box) -> Box:
        """A box of level 0 at another level; at least a voxel, inside the volume."""
        fine, coarse = self.labels.levels[0].shape, self.labels.levels[level].shape
        ratio = [c / f for f, c in zip(fine, coarse, strict=True)]
        start = [min(int(a * r), c - 1) for a, r, c in zip(box.start, ratio, coarse, strict=True)]
        stop = [max(min(math.ceil(b * r), c), a + 1) for a, b, r, c in zip(start, box.stop, ratio, coarse, strict=True)]
        return Box(vec3(start), vec3(stop))

    def fine(self, level: int, voxel: Sequence[int]) -> tuple[int, ...]:
        """The voxel of level 0 at the middle of a voxel of another level."""
        fine, coarse = self.labels.levels[0].shape, self.labels.levels[level].shape
        return tuple((2 * v + 1) * f // (2 * c) for v, f, c in zip(voxel, fine, coarse, strict=True))

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


def middle_planes(source: Shown, time: int) -> Iterator[View]:
    """Planes across z, y and x through the middle of what was labelled."""
    for axis in range(3):
        level, box = _fit(source, source.wanted, PLANE_SIDE, axis)
        yield source.view(axis, time, level, box, *source.read(level, box, time))


def _fit(source: Shown, wanted: Box, side: int, axis: int | None = None) -> tuple[int, Box]:
    """The finest level at which a box of level 0 is at most ``side`` voxels wide, and the box there.

    With ``axis`` only its middle plane has to fit. Where it fits at no level, the middle of it at the coarsest level.
    """
    for level in range(len(source.labels.levels)):
        box = source.at(level, wanted)
        box = box if axis is None else plane_of(box, axis)
        if max(box.shape) <= side:
            return level, box
    start = [a + max(0, b - a - side) // 2 for a, b in zip(box.start, box.stop, strict=True)]
    return level, Box(vec3(start), vec3(min(b, a + side) for a, b in zip(start, box.stop, strict=True)))


def cell_planes(
    source: Shown, label: int, time: int, low: Sequence[int], high: Sequence[int]
) -> tuple[list[View], tuple[int, ...]]:
    """Three slices of a cell and its surroundings, across z, y and x, where it is largest; and a voxel inside it.

    ``low`` and ``high`` are its bounding box at level 0, and the voxel is one of level 0.
    """
    around = [max(4, round(0.35 * (b - a))) for a, b in zip(low, high, strict=True)]
    wide = Box(vec3(low), vec3(high)).grow(vec3(around)).clip(source.labels.levels[0].shape)
    level, box = _fit(source, wide, CROP_SIDE)
    grey, labels = source.read(level, box, time)
    own = labels == label
    views = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        most = int(np.argmax(np.count_nonzero(own, axis=others)))
        plane = plane_of(box, axis, box.start[axis] + most)
        inside = plane.slices(box.start)
        flat = None if grey is None else grey[inside]
        views.append(source.view(axis, time, level, plane, flat, labels[inside]))
    return views, source.fine(level, _most_central(own, box))


def _most_central(own: NDArray[np.bool_], box: Box) -> tuple[int, ...]:
    """The voxel of a cell that is nearest to the middle of its voxels, at the level of ``box``."""
    voxels = np.argwhere(own)
    if not len(voxels):  # at a coarse level, a small cell may have no voxel
        return tuple((a + b) // 2 for a, b in zip(box.start, box.stop, strict=True))
    nearest = voxels[np.square(voxels - voxels.mean(axis=0)).sum(axis=1).argmin()]
    return tuple((nearest + box.start).tolist())


def contrast_of(views: Sequence[View]) -> tuple[float, float]:
    """The intensities that are shown black and white in some views."""
    return find_contrast([view.grey for view in views if view.grey is not None])


def round_length(width: float) -> float:
    """Length of a scale bar for a picture of some width: 1, 2 or 5 times a power of ten, about a fifth of it."""
    power = 10.0 ** math.floor(math.log10(max(width, 1e-9) / 5))
    return next(step * power for step in (5, 2, 1) if step * power <= width / 5 or step == 1)
