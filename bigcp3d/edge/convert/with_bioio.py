"""Reads microscopes' files (CZI, LIF, ND2 and more) with bioio and its plugins, plane by plane."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.convert.source import LETTERS, UNKNOWN, Part, Source, choose_part, stated_lengths
from bigcp3d.errors import InputError


def open_with_bioio(path: Path, kind: str, series: str | int | None) -> Source:
    """One scene of a file; `InputError` where bioio or the plugin for the file is missing, or cannot read it."""
    try:
        from bioio import BioImage
    except ImportError as error:
        raise InputError(
            f"{path}: {kind} is read with bioio; install it: pip install 'bigcp3d[bioio]', or save the file as "
            "OME-TIFF with the microscope's program or Fiji"
        ) from error
    try:
        image = BioImage(path)
        reader = type(image.reader)
        if "chunk_dims" in inspect.signature(reader).parameters:  # default: whole stacks in memory
            image = BioImage(path, reader=reader, chunk_dims=["Y", "X"])
        scenes = [str(scene) for scene in image.scenes]
    except Exception as error:  # plugins raise many kinds
        raise InputError(
            f"{path}: {kind} cannot be read by bioio and the plugins that are installed: {error}; install the plugin "
            "for it (pip install 'bigcp3d[bioio]' brings those for CZI, LIF and ND2), or save the file as OME-TIFF"
        ) from error
    shown = [f"{i} ({name})" for i, name in enumerate(scenes)]
    image.set_scene(choose_part(path, "--series", scenes, series, shown))  # by its number: names may be equal
    axes = "".join(a if a in LETTERS else UNKNOWN for a in image.dims.order.lower())
    data = image.dask_data
    sizes = image.physical_pixel_sizes

    def read(part: Part) -> NDArray[Any]:
        return np.asarray(data[part])

    return Source(
        path=path,
        kind=kind,
        axes=axes,
        shape=tuple(map(int, data.shape)),
        dtype=np.dtype(data.dtype),
        read=read,
        rows=int(data.shape[axes.index("y")]),
        scale_um=stated_lengths({"z": sizes.Z, "y": sizes.Y, "x": sizes.X}),
        channel_names=tuple(map(str, image.channel_names or ())),
    )
