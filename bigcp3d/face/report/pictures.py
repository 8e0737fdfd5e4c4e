"""Draws the pictures of the page: grey values as JPEG, outlines as a PNG over them, both limited in size.

The outlines have the size of the picture on the screen. So a line is one pixel wide there, whatever the voxels' size,
and two cells that touch share a line. More would hide the membrane between them.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bigcp3d.face.pictures.plane_drawing import find_outlines, to_grey
from bigcp3d.face.report.views import View

LINE = (255, 220, 0)
"""The colour of outlines."""

CHOSEN = (0, 229, 255)
"""The colour of the outline of the cell that a picture is of."""

NO_IMAGE = 24
"""The dark grey under the outlines where there is no image."""

JPEG_QUALITIES = (88, 75, 60, 40, 20)


@dataclass(frozen=True)
class Picture:
    """A view as it stands in the page: the JPEG and the PNG as data addresses."""

    grey: str
    lines: str


def draw_view(
    view: View, contrast: tuple[float, float], *, size: tuple[int, int], limit: int, chosen: int | None = None
) -> Picture:
    """Draw a view with at most ``limit`` bytes each for the image and the outlines.

    ``size`` is the height and width of the outlines in pixels. It is halved where they would be too large. The
    ``chosen`` cell has an outline of another colour.
    """
    while True:
        lines = _png(_colour_outlines(view.labels, size, chosen))
        if len(lines) <= limit or max(size) < 32:
            break
        size = (max(1, size[0] // 2), max(1, size[1] // 2))
    grey = np.full(view.labels.shape, NO_IMAGE, np.uint8) if view.grey is None else to_grey(view.grey, contrast)
    return Picture(_address("jpeg", _jpeg(grey, limit)), _address("png", lines))


def _colour_outlines(labels: NDArray[np.integer], size: tuple[int, int], chosen: int | None) -> Image.Image:
    """The outlines as a palette picture, transparent elsewhere. A pixel shows the voxel in which its middle lies."""
    rows, columns = ((2 * np.arange(n) + 1) * side // (2 * n) for n, side in zip(size, labels.shape, strict=True))
    large = labels[np.ix_(rows, columns)]
    index = find_outlines(large).astype(np.uint8)
    if chosen is not None:
        index[find_outlines(large, chosen)] = 2
    picture = Image.fromarray(index, "P")
    picture.putpalette([value for colour in ((0, 0, 0), LINE, CHOSEN) for value in colour])
    picture.info["transparency"] = 0
    return picture


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True, transparency=0)
    return file.getvalue()


def _jpeg(pixels: NDArray[np.uint8], limit: int) -> bytes:
    """The best quality that is small enough; the picture is halved where none is."""
    while True:
        for quality in JPEG_QUALITIES:
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "JPEG", quality=quality)
            if file.tell() <= limit or max(pixels.shape) < 32:
                return file.getvalue()
        pixels = pixels[::2, ::2]


def _address(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
