"""The settings of a simulated tissue, their ranges, and the geometry that follows from them.

A `Tissue` is frozen, hashable and checked when it is made; every voxel of `bigcp3d.pure.tissue.tissue.render` follows
from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box, Float3, Vec3, float3, vec3
from bigcp3d.pure.choices import Stain
from bigcp3d.pure.tissue.tissue_nearest_cell import REACH

RANGES = {
    "seed": (0, 2**64 - 1),
    "diameter_vox": (4.0, 2000.0),
    "scale": (1e-6, 1e6),
    "blur_vox": (0.0, 10.0),
    "noise": (0.0, 5.0),
    "attenuation": (0.0, 0.99),
    "staining": (0.0, 0.9),
    "uneven": (0.0, 0.9),
    "background": (0.0, 60000.0),
    "signal": (1.0, 60000.0),
    "inside": (0.0, 1.0),
    "empty": (0.0, 1.0),
    "jitter": (0.0, 0.4),
    "irregularity": (0.0, 0.8),
    "spacing": (0.9, 20.0),
    "texture": (0.0, 0.9),
    "rim": (0.0, 1.0),
}
"""Lowest and highest value allowed for each number of a `Tissue`."""


def three(value: float | Sequence[float] | NDArray[np.float64]) -> Float3:
    """The same number for each axis, or the three given."""
    return float3((value,) * 3 if isinstance(value, int | float) else value)


def mean_diameter(diameter_vox: float | Float3, scale: Float3) -> Float3:
    """Diameter per axis in voxels: one number is that of the finest axis, three are taken as they are."""
    if isinstance(diameter_vox, int | float):
        return three([diameter_vox * min(scale) / s for s in scale])
    return three(diameter_vox)


@dataclass(frozen=True)
class Tissue:
    """Everything that decides on the voxels of a simulated tissue. Axes are (z, y, x).

    Parameters
    ----------
    shape : tuple of int
        Voxels of the whole volume.
    diameter_vox : float or tuple of float
        Mean diameter of a cell (membrane) or a nucleus (nuclei) in voxels: one number for the axis with the finest
        ``scale``, from which the others follow, or three.
    stain : "membrane" or "nuclei"
        "membrane": bright walls between cells that fill space; labels are cells. "nuclei": bright nuclei, which have
        the labels.
    seed : int
        Seed of all random numbers.
    scale : tuple of float
        Relative size of a voxel on each axis, such as its micrometres: cells are round in these units.
    blur_vox : float or tuple of float
        Sigma of the point spread function in voxels.
    noise : float
        Standard deviation at full stain, relative to ``signal``.
    attenuation : float
        Fraction of the light that is lost at the deepest plane.
    staining, uneven : float
        Spread of brightness from cell to cell (and wall to wall), and slowly through space, relative.
    background, signal : float
        Camera counts without light, and what full stain adds.
    inside : float
        Light from inside the cells relative to the walls (membrane).
    empty : float
        About the fraction of the volume that lies in connected regions without cells.
    jitter : float
        Largest distance of a cell from its lattice site on each axis, in sites.
    irregularity : float
        Spread of sizes and shapes.
    spacing : float
        Mean distance of neighbouring nuclei in nuclear diameters (nuclei).
    texture, rim : float
        Chromatin's contrast, and the share of the stain at the nucleus's surface (nuclei).

    Raises
    ------
    InputError
        A value outside its range (`RANGES`), or more lattice sites than uint32 labels can name.
    """

    shape: Vec3
    diameter_vox: float | Float3 = 20.0
    stain: str = "membrane"
    seed: int = 0
    scale: Float3 = (1.0, 1.0, 1.0)
    blur_vox: float | Float3 = (1.5, 1.0, 1.0)
    noise: float = 0.1
    attenuation: float = 0.3
    staining: float = 0.3
    uneven: float = 0.4
    background: float = 100.0
    signal: float = 1000.0
    inside: float = 0.08
    empty: float = 0.25
    jitter: float = 0.3
    irregularity: float = 0.4
    spacing: float = 1.3
    texture: float = 0.5
    rim: float = 0.0

    def __post_init__(self) -> None:
        if self.stain not in get_args(Stain):
            raise InputError(f"stain is {self.stain!r}; use 'membrane' or 'nuclei'")
        if len(self.shape) != 3 or not all(isinstance(n, int | np.integer) and n > 0 for n in self.shape):
            raise InputError(f"shape is {self.shape}; give three positive whole numbers (z, y, x)")
        for field in fields(self):
            if field.name in RANGES:
                self._check(field.name)
        sites = math.prod(self.lattice[1])
        if sites >= 2**32:
            raise InputError(
                f"shape {self.shape} with cells of {self.diameter_vox} voxels has {sites:,} places for cells, but "
                f"uint32 labels allow {2**32 - 1:,}; make the volume smaller or the cells larger"
            )

    def _check(self, name: str) -> None:
        """Refuse a number outside its range, or a tuple that has not three numbers."""
        value, (low, high) = getattr(self, name), RANGES[name]
        numbers = value if isinstance(value, tuple | list) else (value,)
        if len(numbers) not in (1, 3) or not all(
            isinstance(n, int | float | np.number) and low <= n <= high for n in numbers
        ):
            raise InputError(f"{name} is {value}; use a value from {low:g} to {high:g} (on each axis)")

    @property
    def diameter(self) -> Float3:
        """Mean diameter of a cell or nucleus per axis, in voxels."""
        return mean_diameter(self.diameter_vox, self.scale)

    @property
    def pitch(self) -> Float3:
        """Voxels per site: as large as a ball of the cell's diameter (membrane), or the nuclei's spacing."""
        factor = (math.pi / 6) ** (1 / 3) if self.stain == "membrane" else self.spacing
        return three([factor * d for d in self.diameter])

    @property
    def warp(self) -> float:
        """Largest smooth displacement on an axis, in sites."""
        return 0.4 * self.irregularity

    @property
    def halo(self) -> Vec3:
        """Voxels around a box that its image depends on."""
        return vec3(math.ceil(3 * s) + (self.stain == "membrane") for s in three(self.blur_vox))

    def sites(self, box: Box) -> tuple[Vec3, Vec3]:
        """First lattice site and number of sites whose cells can own voxels of a box."""
        low = [math.floor(a / p - self.warp) - REACH for a, p in zip(box.start, self.pitch, strict=True)]
        high = [math.floor(b / p + self.warp) + REACH + 1 for b, p in zip(box.stop, self.pitch, strict=True)]
        return vec3(low), vec3(b - a for a, b in zip(low, high, strict=True))

    @property
    def lattice(self) -> tuple[Vec3, Vec3]:
        """First lattice site and number of sites of the whole volume, from which labels are counted."""
        return self.sites(Box.of_shape(self.shape).grow(self.halo))
