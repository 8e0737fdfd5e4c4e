"""Draws the pictures of the page: grey values as JPEG, outlines as a PNG over it, both limited in size.

Outlines have ``zoom`` pixels to a voxel and are a pixel wide, on the inner side of a cell's border. So two cells that
touch have a line each, and a line shows exactly between which voxels a label changes.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_dilation

from bigcp3d.face.report.views import View

COLOURS = (
    (255, 214, 10), (0, 212, 255), (255, 92, 138), (122, 255, 114), (255, 150, 50), (190, 150, 255), (80, 255, 214),
    (255, 120, 255),
)  # fmt: skip
"""Of outlines; bright, since the image under them is dark. Neighbouring ids get different ones."""

CHOSEN = (255, 255, 255)
"""Outline of the cell that a picture is of."""

JPEG_QUALITIES = (88, 75, 60, 40, 20)


@dataclass(frozen=True)
class Picture:
    """A view as it lies in the page: data addresses of JPEG and PNG, and the outlines' pixels to a voxel."""

    grey: str
    lines: str
    zoom: int


def outlines(labels: NDArray[np.integer], zoom: int) -> NDArray[np.bool_]:
    """Which pixels, ``zoom`` to a voxel, are outlines: those of labelled voxels against another label."""
    large = np.repeat(np.repeat(labels, zoom, axis=0), zoom, axis=1)
    lines = np.zeros(large.shape, bool)
    for axis in (0, 1):
        one, other = [slice(None)] * 2, [slice(None)] * 2
        one[axis], other[axis] = slice(None, -1), slice(1, None)
        change = large[tuple(one)] != large[tuple(other)]
        lines[tuple(one)] |= change
        lines[tuple(other)] |= change
    drawn: NDArray[np.bool_] = lines & (large != 0)
    return drawn


def draw_view(
    view: View, contrast: tuple[float, float], *, zoom: int, limit: int, chosen: int | None = None
) -> Picture:
    """Draw a view between two intensities, with at most ``limit`` bytes for either part.

    ``zoom`` is lowered where the outlines would be too large. The ``chosen`` cell has a white outline, twice as wide.
    """
    while True:
        lines = _png(_colour_outlines(view.labels, zoom, chosen))
        if len(lines) <= limit or zoom == 1:
            break
        zoom -= 1
    return Picture(_address("jpeg", _jpeg(_stretch(view, contrast), limit)), _address("png", lines), zoom)


def _stretch(view: View, contrast: tuple[float, float]) -> NDArray[np.uint8]:
    """Grey values; a dark even ground where there is no image."""
    if view.grey is None:
        return np.full(view.labels.shape, 24, np.uint8)
    low, high = contrast
    values = (np.nan_to_num(np.asarray(view.grey, np.float32)) - low) / (high - low)
    grey: NDArray[np.uint8] = np.rint(values.clip(0, 1) * 255).astype(np.uint8)
    return grey


def _colour_outlines(labels: NDArray[np.integer], zoom: int, chosen: int | None) -> Image.Image:
    """A palette picture, transparent but for the lines."""
    lines = outlines(labels, zoom)
    large = np.repeat(np.repeat(labels, zoom, axis=0), zoom, axis=1)
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
