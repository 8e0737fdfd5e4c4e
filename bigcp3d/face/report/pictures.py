"""Draws the pictures of the page: grey values as JPEG, outlines as a PNG over them, both limited in size.

Outlines have ``zoom`` pixels per voxel and are one pixel wide, just inside a cell's border. Two cells that touch have
one line each; the label changes between the two lines.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_dilation

from bigcp3d.face.pictures.plane_drawing import find_outlines, to_grey
from bigcp3d.face.report.views import View

COLOURS = (
    (255, 214, 10), (0, 212, 255), (255, 92, 138), (122, 255, 114), (255, 150, 50), (190, 150, 255), (80, 255, 214),
    (255, 120, 255),
)  # fmt: skip
"""Colours of outlines: bright, since the image under them is dark. Neighbouring ids get different ones."""

CHOSEN = (255, 255, 255)
"""The colour of the outline of the cell that a picture is of."""

NO_IMAGE = 24
"""The dark grey under the outlines where there is no image."""

JPEG_QUALITIES = (88, 75, 60, 40, 20)


@dataclass(frozen=True)
class Picture:
    """A view as it stands in the page: the JPEG and the PNG as data addresses, and the outlines' pixels per voxel."""

    grey: str
    lines: str
    zoom: int


def draw_view(
    view: View, contrast: tuple[float, float], *, zoom: int, limit: int, chosen: int | None = None
) -> Picture:
    """Draw a view with at most ``limit`` bytes each for the image and the outlines.

    ``zoom`` is lowered where the outlines would be too large. The ``chosen`` cell has a white outline, twice as wide.
    """
    while True:
        lines = _png(_colour_outlines(view.labels, zoom, chosen))
        if len(lines) <= limit or zoom == 1:
            break
        zoom -= 1
    grey = np.full(view.labels.shape, NO_IMAGE, np.uint8) if view.grey is None else to_grey(view.grey, contrast)
    return Picture(_address("jpeg", _jpeg(grey, limit)), _address("png", lines), zoom)


def _colour_outlines(labels: NDArray[np.integer], zoom: int, chosen: int | None) -> Image.Image:
    """The outlines as a palette picture, transparent elsewhere."""
    large = np.repeat(np.repeat(labels, zoom, axis=0), zoom, axis=1)
    lines = find_outlines(large)
    index = np.where(lines, large.astype(np.uint64) % len(COLOURS) + 1, 0).astype(np.uint8)
    if chosen is not None:
        own = large == chosen
        index[own & binary_dilation(lines & own)] = len(COLOURS) + 1
    picture = Image.fromarray(index, "P")
    picture.putpalette([value for colour in ((0, 0, 0), *COLOURS, CHOSEN) for value in colour])
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
