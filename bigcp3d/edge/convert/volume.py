"""Gives a volume of another format the axes t, c, z, y, x, a voxel size and names, from the file or from the user.

Colour samples become channels. An axis without a name is z where z is missing and nothing else could be meant; in all
other cases the user is asked.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.convert.source import LETTERS, UNKNOWN, Source
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box, Float3, Vec3, float3, vec3
from bigcp3d.pure.plural import count

COLOURS = ("red", "green", "blue", "alpha")
DTYPES = {"bool": "uint8", "float16": "float32"}
"""Types that are stored as others, which hold all their values."""


@dataclass(frozen=True)
class Volume:
    """A source with its axes named. ``shape`` is (z, y, x), ``dtype`` that of the OME-Zarr image."""

    source: Source
    axes: str  # of the source: t, c, z, y, x, s
    times: int
    channels: int
    shape: Vec3
    dtype: str
    scale_um: Float3
    channel_names: tuple[str, ...]  # empty where none are known
    notes: tuple[str, ...]  # what the user should know

    @property
    def nbytes(self) -> int:
        """Bytes of all voxels, uncompressed."""
        return self.times * self.channels * math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def read(self, time: int, channel: int, box: Box) -> NDArray[Any]:
        """The voxels of a box, (z, y, x), in the dtype of the image."""
        samples = self._size("s")
        at = {"t": time, "c": channel // samples, "s": channel % samples}
        ranges = {name: slice(i, i + 1) for name, i in at.items()} | dict(zip("zyx", box.slices(), strict=True))
        part = self.source.read(tuple(ranges[name] for name in self.axes))
        order = [self.axes.index(name) for name in "tcszyx" if name in self.axes]
        return np.ascontiguousarray(part.transpose(order).reshape(box.shape), self.dtype)

    def _size(self, name: str) -> int:
        return self.source.shape[self.axes.index(name)] if name in self.axes else 1


def name_volume(
    source: Source,
    *,
    axes: str | None = None,
    scale_um: Sequence[float] | None = None,
    channels: str | Sequence[str] | None = None,
) -> Volume:
    """Settle axes, voxel size and names; `InputError` where they are not known, or do not fit the file."""
    found, notes = settle_axes(source, axes)
    sizes = dict(zip(found, source.shape, strict=True))
    if math.prod(source.shape) == 0:
        raise InputError(f"{source.path}: its shape is {source.shape}, so it has no voxels; write it again")
    kind = source.dtype
    if kind.kind not in "biuf" or kind.itemsize > 8:
        raise InputError(
            f"{source.path}: its dtype is {kind}; convert it to integers or to floating point numbers of at most 64 "
            "bits"
        )
    dtype = DTYPES.get(kind.newbyteorder("=").name, kind.newbyteorder("=").name)
    if dtype != kind.newbyteorder("=").name:
        notes.append(f"{kind.name} is stored as {dtype}")
    number = sizes.get("c", 1) * sizes.get("s", 1)
    return Volume(
        source=source,
        axes=found,
        times=sizes.get("t", 1),
        channels=number,
        shape=vec3(sizes.get(name, 1) for name in "zyx"),
        dtype=dtype,
        scale_um=_settle_scale(source, scale_um),
        channel_names=_settle_names(source, channels, sizes, number),
        notes=(*source.notes, *notes),
    )


def settle_axes(source: Source, wanted: str | None) -> tuple[str, list[str]]:
    """A letter for each axis of the file, and what to tell the user; `InputError` where it is not clear."""
    sizes = " x ".join(map(str, source.shape))
    if wanted is not None:
        letters = "".join(letter for letter in wanted.lower() if letter not in ", ")
        allowed = len(letters) == len(source.axes) and set(letters) <= set(LETTERS) and {"y", "x"} <= set(letters)
        if not allowed or max(Counter(letters).values()) > 1:
            raise InputError(
                f"{source.path}: --axes is {wanted!r} for {len(source.axes)} axes ({sizes}); give each axis once, in "
                "the file's order: t, c, z, y, x, or s for colours, such as zcyx"
            )
        return letters, []
    axes, notes = source.axes, []
    if axes.count(UNKNOWN) == 1 and "z" not in axes and {"y", "x"} <= set(axes):
        axes = axes.replace(UNKNOWN, "z")
        notes.append(f"axes {','.join(axes)}: the file does not say that its planes lie along z; if not, give --axes")
    if UNKNOWN in axes or not {"y", "x"} <= set(axes) or max(Counter(axes).values()) > 1:
        apart = "; or convert each file of the folder by itself" if "stack" in source.kind else ""
        raise InputError(
            f"{source.path}: it has {len(axes)} axes ({sizes}), but does not name them; give --axes with a "
            f"letter for each: t, c, z, y, x, such as zcyx{apart}"
        )
    if "z" not in axes and (set(axes) & set("tcs")):
        stands = ",".join(axes)
        raise InputError(
            f"{source.path}: its axes are {stands} ({sizes}), without z, but cells are segmented in 3D. If one of "
            f"them is z, give --axes {'z'.join(axes.split('t' if 't' in axes else 'c' if 'c' in axes else 's'))}. If "
            f"each plane is an image of its own, give --axes {stands.replace(',', '')}"
        )
    if "z" not in axes:
        notes.append("this is a single plane, and becomes a volume of one plane")
    if "s" in axes:
        notes.append("colours become channels; if they are planes, give --axes with z in their place")
    return axes, notes


def _settle_scale(source: Source, wanted: Sequence[float] | None) -> Float3:
    if wanted is not None:
        if len(wanted) != 3 or not all(math.isfinite(size) and size > 0 for size in wanted):
            raise InputError(f"--scale is {tuple(wanted)}; give three numbers above 0: Z Y X in micrometres")
        return float3(wanted)
    missing = [axis for axis in "zyx" if axis not in source.scale_um]
    if not missing:
        return float3(source.scale_um[axis] for axis in "zyx")
    stated = ", ".join(f"{axis} {source.scale_um[axis]:.4g}" for axis in "zyx" if axis in source.scale_um)
    raise InputError(
        f"{source.path}: it does not say the voxel size along {', '.join(missing)}; give --scale Z Y X in micrometres"
        + (f" (the file says {stated})" if stated else "")
    )


def _settle_names(
    source: Source, wanted: str | Sequence[str] | None, sizes: dict[str, int], number: int
) -> tuple[str, ...]:
    """Names of the channels; empty where none are known."""
    if wanted is not None:
        names = tuple(name.strip() for name in (wanted.split(",") if isinstance(wanted, str) else wanted))
        if len(names) != number or not all(names) or len(set(names)) != number:
            raise InputError(
                f"{source.path}: --channels gives {count(len(names), 'name')} for {count(number, 'channel')}; give "
                f"{number} different names, with commas between them"
            )
        return names
    samples = sizes.get("s", 1)
    if samples > 1:
        names = COLOURS[:samples] if samples <= 4 else tuple(map(str, range(samples)))
        return names if number == samples else tuple(f"{c} {name}" for c in range(number // samples) for name in names)
    return source.channel_names if len(source.channel_names) == number else ()
