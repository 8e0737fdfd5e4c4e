"""Turns between z, y, x and the order in which an array has its axes: z, y, x need not come last.

``axes`` are the names of an array's axes in its order; besides z, y and x there may be t (time) and c (channel).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from numpy.typing import NDArray

from bigcp3d.pure.boxes import Vec3, vec3

SPACE = ("z", "y", "x")
T = TypeVar("T")


def spatial(axes: Sequence[str], each: Sequence[int]) -> Vec3:
    """Of one number for each axis, those of z, y and x."""
    return vec3(each[axes.index(name)] for name in SPACE)


def index_of(axes: Sequence[str], channel: int, time: int, zyx: Sequence[T]) -> tuple[T | int, ...]:
    """What is given for the axes, in the order in which the array has them."""
    named: dict[str, T | int] = {"t": time, "c": channel, **dict(zip(SPACE, zyx, strict=True))}
    return tuple(named[name] for name in axes)


def piece_index(axes: Sequence[str], sides: Sequence[int], channel: int, time: int, zyx: Vec3) -> tuple[int, ...]:
    """Index, in the array's order, of the stored piece (of these sides) at zyx that holds a channel at a time point."""
    side = dict(zip(axes, sides, strict=True))
    return index_of(axes, channel // side.get("c", 1), time // side.get("t", 1), zyx)


def to_zyx(axes: Sequence[str], stored: NDArray[Any]) -> NDArray[Any]:
    """Voxels (z, y, x) of a channel at a time point, from the array's order; a view."""
    order = [name for name in axes if name in SPACE]
    return stored.transpose([order.index(name) for name in SPACE])


def from_zyx(axes: Sequence[str], voxels: NDArray[Any]) -> NDArray[Any]:
    """Voxels (z, y, x) in the array's order; a view."""
    return voxels.transpose([SPACE.index(name) for name in axes if name in SPACE])
