"""Reads Imaris files (IMS 5.5), which are HDF5: the finest resolution, its extent, and the names of channels.

::

    DataSetInfo/Image                   X, Y, Z: size in voxels; ExtMin0, ExtMax0: extent along x; Unit
    DataSetInfo/Channel 0               Name
    DataSet/ResolutionLevel 0/TimePoint 0/Channel 0/Data        z, y, x; padded to whole chunks
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.convert.hdf5 import check_filters, open_file
from bigcp3d.edge.convert.source import Part, Source, stated_lengths
from bigcp3d.edge.image.transforms import unit_um
from bigcp3d.errors import InputError


def open_imaris(path: Path) -> Source:
    """All time points and channels; `InputError` where the file does not have the layout of Imaris."""
    file = open_file(path)
    try:
        return _describe(path, file)
    except BaseException:
        file.close()
        raise


def _describe(path: Path, file: h5py.File) -> Source:
    try:
        levels, info = file["DataSet/ResolutionLevel 0"], file["DataSetInfo"]
        times, channels = len(levels), len(levels["TimePoint 0"])
        first = levels["TimePoint 0/Channel 0/Data"]
        image = info["Image"]
        shape = tuple(int(_text(image, name) or first.shape[i]) for i, name in enumerate("ZYX"))
        names = [_text(info[f"Channel {c}"], "Name") if f"Channel {c}" in info else "" for c in range(channels)]
        scale = _read_scale(image, shape)
    except (KeyError, AttributeError, ValueError) as error:
        raise InputError(
            f"{path}: this file does not have the layout of Imaris 5.5 ({error}); save it again with Imaris, or "
            "convert one dataset of it: rename it to .h5 and give --dataset"
        ) from error
    check_filters(path, first)

    def read(part: Part) -> NDArray[Any]:
        inside = part[2:]
        stacks = [
            [levels[f"TimePoint {t}/Channel {c}/Data"][inside] for c in range(channels)[part[1]]]
            for t in range(times)[part[0]]
        ]
        return np.asarray(stacks)

    return Source(
        path=path,
        kind="an Imaris file",
        axes="tczyx",
        shape=(times, channels, *shape),
        dtype=first.dtype,
        read=read,
        rows=first.chunks[1] if first.chunks else 1,
        scale_um=scale,
        channel_names=tuple(names) if all(names) else (),
        close=file.close,
    )


def _text(node: h5py.Group, name: str) -> str:
    """An attribute; Imaris stores text as an array of single bytes."""
    value = node.attrs.get(name)
    if value is None:
        return ""
    value = np.ravel(value)
    return b"".join(value).decode("utf-8", "replace") if value.dtype.kind == "S" else str(value[0])


def _read_scale(image: h5py.Group, shape: tuple[int, ...]) -> dict[str, float]:
    """Extent divided by size, on each axis."""
    unit = unit_um(_text(image, "Unit") or "um")
    sizes: dict[str, float | None] = {}
    for axis, number, count in zip("zyx", (2, 1, 0), shape, strict=True):
        low, high = _text(image, f"ExtMin{number}"), _text(image, f"ExtMax{number}")
        sizes[axis] = (float(high) - float(low)) / count * unit if low and high and unit else None
    return stated_lengths(sizes)
