r"""Patches: the network's windows, on one grid fixed to the volume's origin, and their weighted merging.

Patch k of an axis owns the core ``[k * c, (k + 1) * c)`` and sees ``margin`` voxels more on both sides. Its weight is
full in the middle and falls linearly over the two margins around each core border, so that two patches blend::

    patch k      margin | core c             | margin
    weight       /------------------------------\
    patch k+1                         /------------------------------\

Weights are integers (1 to 64 per axis) and predictions are rounded before they are summed, so the merged map is the
same to the bit in whatever order, grouping or block it is summed. Beyond the volume the image is reflected.
Follows Eschweiler et al. 2021b (weighted merging of overlapping patches).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import BlockGrid, Box, Vec3, vec3
from bigcp3d.pure.track.units import UNIT

WEIGHT_UNIT = 64
"""Weight of a patch's middle, per axis."""

SUB = 32
"""Parts of the stored unit in which predictions are summed."""

ONE = UNIT * SUB
"""A prediction of 1, as it is summed."""


@dataclass(frozen=True)
class PatchGrid:
    """Patches of ``patch`` voxels that overlap by twice ``margin``, over a volume of ``shape``.

    Where there are several on an axis, cores are at least twice the margin, so that no more than two blend.
    `ValueError` if they are smaller: sums of more than two weights would overflow int32.
    """

    shape: Vec3
    patch: Vec3
    margin: int

    def __post_init__(self) -> None:
        for size, side in zip(self.shape, self.patch, strict=True):
            core = side - 2 * self.margin
            if core < 1 or (size > core and core < 2 * self.margin):
                raise ValueError(
                    f"patches of {self.patch} voxels with margins of {self.margin} leave a core of {core}; "
                    f"at least {2 * self.margin} are needed, for a side of {4 * self.margin}"
                )

    @property
    def core(self) -> Vec3:
        """Voxels that each patch owns."""
        return vec3(p - 2 * self.margin for p in self.patch)

    @property
    def cores(self) -> BlockGrid:
        """The cores as a block grid."""
        return BlockGrid(self.shape, self.core)

    def window(self, index: Vec3) -> Box:
        """The voxels that patch ``index`` sees, some perhaps outside the volume."""
        start = vec3(i * c - self.margin for i, c in zip(index, self.core, strict=True))
        return Box(start, vec3(a + p for a, p in zip(start, self.patch, strict=True)))

    def read_box(self, patches: Sequence[Vec3]) -> Box:
        """A box of the volume that holds all voxels that patches see, reflected ones included."""
        first, last = (self.window(vec3(end(axis) for axis in zip(*patches, strict=True))) for end in (min, max))
        ends = [reflected(a, b, s) for a, b, s in zip(first.start, last.stop, self.shape, strict=True)]
        return Box(vec3(e.min() for e in ends), vec3(e.max() + 1 for e in ends))


def reflected(start: int, stop: int, size: int) -> NDArray[np.int64]:
    """Indices in [0, size) of [start, stop), mirrored at the border voxels as often as needed (numpy's "reflect")."""
    if size == 1:
        return np.zeros(stop - start, np.int64)
    index = np.arange(start, stop) % (2 * (size - 1))
    return np.minimum(index, 2 * (size - 1) - index)


def axis_weights(patch: int, margin: int) -> NDArray[np.int64]:
    """Weights of a patch along one axis, 1..64: full in the middle, falling over ``2 * margin`` at both ends."""
    ramp = 2 * margin
    at = np.arange(patch)
    from_border = np.minimum(at, patch - 1 - at)
    weights = np.floor(WEIGHT_UNIT * (from_border + 0.5) / max(ramp, 1) + 0.5).astype(np.int64)
    return np.where(from_border >= ramp, WEIGHT_UNIT, np.clip(weights, 1, WEIGHT_UNIT))


def axis_totals(size: int, patch: int, margin: int) -> NDArray[np.int64]:
    """Sum of all patches' weights at each voxel of an axis; totals of a volume are products of three of these."""
    core = patch - 2 * margin
    totals = np.zeros(size, np.int64)
    weights = axis_weights(patch, margin)
    for k in range(-(-size // core)):
        start = k * core - margin
        low, high = max(0, start), min(size, start + patch)
        totals[low:high] += weights[low - start : high - start]
    return totals


def choose_patch(shape: Vec3, largest: Vec3, margin: int, stride: int) -> Vec3:
    """Patch shape for a volume: at most ``largest``, a multiple of ``stride``, with cores of about equal size.

    ``largest`` is a multiple of ``stride``, and at least four margins. Blocks have no influence.
    """
    sides = []
    for size, most in zip(shape, largest, strict=True):
        number = -(-size // (most - 2 * margin))
        core = max(-(-size // number), 2 * margin if number > 1 else 1)
        sides.append(min(most, math.ceil((core + 2 * margin) / stride) * stride))
    return vec3(sides)


def finish_merge(total: NDArray[np.int32], box: Box, grid: PatchGrid) -> NDArray[np.int8]:
    """Divide the sums of a box by the weights and round to the stored int8, half away from zero.

    At most two patches blend on an axis, and their weights add up to 64 or 65, so no sum exceeds
    127 * 32 * 65^3 < 2^31.
    """
    weights = [
        axis_totals(s, p, grid.margin)[a:b]
        for s, p, a, b in zip(grid.shape, grid.patch, box.start, box.stop, strict=True)
    ]
    maps = np.empty(total.shape, np.int8)
    plane = weights[1][:, None] * weights[2][None, :] * SUB
    for z, weight in enumerate(weights[0]):  # a plane at a time: int64 for the whole block would double the memory
        divisor = plane * weight
        value = total[:, z].astype(np.int64)
        maps[:, z] = np.sign(value) * ((2 * np.abs(value) + divisor) // (2 * divisor))
    return maps


def finish_maps(total: NDArray[np.int32], box: Box, grid: PatchGrid) -> NDArray[np.int8]:
    """Maps of a box, int8 (4, *box.shape): foreground (0..127) and flow in voxels per step, times 127.

    ``total`` is int32 (4, *box.shape): the sums of all patches that meet ``box``.
    """
    maps = finish_merge(total, box, grid)
    np.maximum(maps[0], 0, out=maps[0])
    return maps
