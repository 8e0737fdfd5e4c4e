"""Draws the picture of a result: the three middle planes of a volume, with image, truth and labels side by side.

::

            image + outlines      truth      labels
    z       ( y, x )              ( y, x )   ( y, x )
    y       ( z, x )              ...
    x       ( z, y )

Only these planes are read, so the picture of a large result costs little. A label has the same colour in every plane.
Neighbouring ids have very different colours, so that fused and cut cells are seen.
"""

from __future__ import annotations

import colorsys
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.edge.stores.atomic_files import write_atomically
from bigcp3d.face.pictures.plane_drawing import find_contrast, outline_segments, plane_of, to_grey
from bigcp3d.pure.boxes import Box

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GOLDEN = 0.6180339887498949
"""The hue moves by this part of the colour circle from one id to the next."""

YELLOW = "#ffdc00"
"""The colour of outlines."""

DPI = 110
PIXELS = 3
"""Pixels of the picture for a voxel, where the picture has room for them."""

WIDTHS = (4.0, 8.0)
"""The narrowest and the widest column, in inches."""


@dataclass(frozen=True)
class Plane:
    """One plane through a volume: intensities, ids found, true ids; ``aspect`` is a pixel's height over its width."""

    title: str
    aspect: float
    image: NDArray[np.generic]
    labels: NDArray[np.integer]
    truth: NDArray[np.integer] | None = None


def read_planes(
    image: ImageInfo, labels: ImageInfo, truth: ImageInfo | None = None, *, channel: int = 0
) -> list[Plane]:
    """Read the middle planes at level 0 of an image, its labels and, where there is one, its truth."""
    finest = image.levels[0]
    scale = finest.scale_um or (1.0, 1.0, 1.0)
    planes = []
    for axis in range(3):
        box = plane_of(Box.of_shape(finest.shape), axis)
        down, right = (other for other in range(3) if other != axis)
        planes.append(
            Plane(
                title=f"{'zyx'[axis]} = {box.start[axis]}",
                aspect=scale[down] / scale[right],
                image=read_box(image, 0, box, channel=channel).squeeze(axis),
                labels=read_box(labels, 0, box).squeeze(axis),
                truth=None if truth is None else read_box(truth, 0, box).squeeze(axis),
            )
        )
    return planes


def colour_labels(labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Colours of ids, with a last axis of RGB: 0 is black; an id has the same colour in every call."""
    ids, inverse = np.unique(labels, return_inverse=True)
    table = np.zeros((len(ids), 3))
    for row, label in enumerate(ids.tolist()):
        if label:
            table[row] = colorsys.hsv_to_rgb(label * GOLDEN % 1, 0.5 + 0.5 * (label % 3) / 2, 1.0 - 0.35 * (label % 2))
    colours: NDArray[np.uint8] = np.rint(table * 255).astype(np.uint8)[inverse.reshape(labels.shape)]
    return colours


def colour_image(image: NDArray[np.generic]) -> NDArray[np.uint8]:
    """An image in grey, with a last axis of RGB."""
    return np.repeat(to_grey(image, find_contrast([image]))[..., None], 3, axis=-1)


@dataclass(frozen=True)
class Tile:
    """One picture of a row: RGB colours, and the labels whose outlines are drawn over them."""

    title: str
    colours: NDArray[np.uint8]
    outlined: NDArray[np.integer] | None = None

    def show(self, axes: Axes, aspect: float) -> None:
        """Draw it; outlines are one pixel wide on the screen, between the voxels of two cells."""
        from matplotlib.collections import LineCollection

        axes.set_axis_off()
        axes.imshow(self.colours, aspect=aspect, interpolation="nearest")
        if self.outlined is not None:
            lines = LineCollection(
                list(outline_segments(self.outlined)), colors=YELLOW, linewidths=72 / DPI, antialiaseds=False, snap=True
            )
            axes.add_collection(lines, autolim=False)


def draw(planes: list[Plane], target: Path, title: str = "") -> None:
    """Write planes as a PNG, one row per plane. Columns: image with outlines, truth (if there is one), labels."""
    rows = []
    for plane in planes:
        shown = [Tile(f"{plane.title}: image, outlines of labels", colour_image(plane.image), plane.labels)]
        if plane.truth is not None:
            shown.append(Tile(f"{plane.title}: truth", colour_labels(plane.truth)))
        rows.append([*shown, Tile(f"{plane.title}: labels", colour_labels(plane.labels))])
    draw_rows(rows, [plane.aspect for plane in planes], target, title)


def draw_rows(rows: list[list[Tile]], aspects: Sequence[float], target: Path, title: str) -> None:
    """Write rows of pictures as a PNG.

    The pictures of a row have the same shape; ``aspects`` holds the height over the width of their pixels.
    """
    from matplotlib.figure import Figure

    shapes = [row[0].colours.shape for row in rows]
    heights = [shape[0] * aspect / shape[1] for shape, aspect in zip(shapes, aspects, strict=True)]
    lines = sum(len(row[0].title.splitlines()) for row in rows)
    columns = max(map(len, rows))
    width = float(np.clip(PIXELS * max(shape[1] for shape in shapes) / DPI, *WIDTHS))
    figure = Figure(figsize=(width * columns, width * sum(heights) + 0.3 * lines + 0.4), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for line, row, aspect in zip(grid, rows, aspects, strict=True):
        for axes, tile in itertools.zip_longest(line, row):
            if tile is None:
                axes.set_axis_off()
            else:
                tile.show(axes, aspect)
                axes.set_title(tile.title, fontsize=8)
    figure.suptitle(title, fontsize=10)
    write_atomically(target, lambda file: figure.savefig(file, dpi=DPI, format="png"))
