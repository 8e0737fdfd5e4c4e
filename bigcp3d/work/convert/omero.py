"""Describes the channels of an image for viewers: names, colours and contrast (OMERO's part of OME-Zarr)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.pure.boxes import Box

COLOURS = ("00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000", "0000FF")
"""Colours of the channels of an image with several. Colour-blind people can tell the first two apart."""

PERCENTILES = (1.0, 99.8)
"""Intensities that viewers show black and white, on the coarsest level of the first time point."""


def describe_channels(image: ImageInfo, names: Sequence[str]) -> dict[str, Any]:
    """The ``omero`` entry of an image whose voxels are written."""
    last = len(image.levels) - 1
    channels = []
    for number in range(image.channels):
        voxels = read_box(image, last, Box.of_shape(image.levels[last].shape), channel=number)
        values = voxels[np.isfinite(voxels)] if voxels.dtype.kind == "f" else voxels
        low, high = map(float, np.percentile(values, PERCENTILES)) if values.size else (0.0, 1.0)
        least, most = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
        if voxels.dtype.kind != "f" and voxels.dtype.itemsize <= 2:
            least, most = float(np.iinfo(voxels.dtype).min), float(np.iinfo(voxels.dtype).max)
        window = {"start": low, "end": high if high > low else low + 1, "min": least, "max": max(most, least + 1)}
        channels.append(
            {
                "label": names[number] if names else f"channel {number}",
                "color": "FFFFFF" if image.channels == 1 else COLOURS[number % len(COLOURS)],
                "active": True,
                "window": window,
            }
        )
    return {"channels": channels, "rdefs": {"model": "greyscale" if image.channels == 1 else "color"}}
