"""The steps of a preparation as plain data: a filter's name, its size in voxels, and how far it sees.

Invariant: a prepared voxel depends on the voxels within the margin of the steps around it, and on nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from bigcp3d.pure.boxes import Float3, Vec3, vec3

BACKGROUND, CLAHE, CONTRAST, GAUSSIAN, MEDIAN = "background", "clahe", "contrast", "gaussian", "median"

FILTERS = {
    BACKGROUND: "subtracts all that is wider than SIZE",
    CLAHE: "contrast-limited adaptive histogram equalisation in tiles of SIZE",
    CONTRAST: "subtracts the mean of a window of SIZE, and divides by the standard deviation in it",
    GAUSSIAN: "blurs; SIZE is sigma",
    MEDIAN: "median in a window of SIZE, which takes away single bright voxels",
}
"""What each filter does."""

TRUNCATE = 4.0
"""A Gaussian ends after so many sigmas, as in scipy."""


SMOOTHED = 16
"""A background is that of a blurred image; sigma is this part of its size."""


@dataclass(frozen=True)
class Step:
    """One filter and its size (z, y, x) in voxels of the level that is read."""

    name: str
    size: Float3

    def radius(self, shape: Vec3) -> Vec3:
        """Voxels on each side of a voxel that one window of the filter covers, in a volume of ``shape``.

        A window that is wider than the volume is cut. For a tile: its side, at most that of the volume.
        """
        if self.name == CLAHE:
            return vec3(max(side // max(1, round(side / size)), 1) for side, size in zip(shape, self.size, strict=True))
        radii = (TRUNCATE * s + 0.5 if self.name == GAUSSIAN else s / 2 for s in self.size)
        return vec3(min(math.floor(r), side - 1) for r, side in zip(radii, shape, strict=True))

    def blur_radius(self, shape: Vec3) -> Vec3:
        """Radius of the blur that comes before the minimum of a background."""
        return vec3(
            min(math.floor(TRUNCATE * s / SMOOTHED), side - 1) for s, side in zip(self.size, shape, strict=True)
        )

    def margin(self, shape: Vec3) -> Vec3:
        """Voxels around a box on which its prepared voxels depend."""
        radius = self.radius(shape)
        if self.name == BACKGROUND:  # a blur, a minimum, a maximum
            return vec3(2 * r + b for r, b in zip(radius, self.blur_radius(shape), strict=True))
        if self.name == CLAHE:  # a voxel lies between the centres of two tiles, which may be a voxel longer than others
            return vec3(3 * (r + 1) // 2 + 1 for r in radius)
        return radius

    @property
    def bytes_per_vox(self) -> int:
        """Memory of the filter at its peak per voxel that it reads: the image as read, its input and its result too."""
        return 76 if self.name == CONTRAST else 32

    def changes(self, shape: Vec3) -> bool:
        """Whether its window is larger than one voxel."""
        return any(self.radius(shape))


def margin_of(steps: Iterable[Step], shape: Vec3) -> Vec3:
    """Voxels (z, y, x) around a box that must be read for its prepared voxels."""
    margins = [step.margin(shape) for step in steps]
    return vec3(sum(one[axis] for one in margins) for axis in range(3))
