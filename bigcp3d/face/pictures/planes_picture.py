"""A picture of a result: the three middle planes of a volume, with image, truth and labels side by side.

::

            image + outlines      truth      labels
    z       ( y, x )              ( y, x )   ( y, x )
    y       ( z, x )              ...
    x       ( z, y )

Only planes are read, so the picture of a large result costs little. A label has the same colour in every plane, and
neighbouring ids have very different hues, so that fused and cut cells are seen.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import find_boundaries

from bigcp3d.pure.boxes import Box

if TYPE_CHECKING:
    from bigcp3d.edge.image.image import ImageInfo

GOLDEN = 0.6180339887498949
"""Steps of the golden ratio around the colour circle give hues far from the ones before."""


@dataclass(frozen=True)
class Plane:
    """One plane through a volume: intensities, ids found, true ids; ``aspect`` is a pixel's height over its width."""

    title: str
    aspect: float
    image: NDArray[np.generic]
    labels: NDArray[np.integer]
    truth: NDArray[np.integer] | None = None


def middle_boxes(shape: tuple[int, int, int]) -> tuple[Box, Box, Box]:
    """One voxel thick boxes through the middle, across z, y and x."""
    boxes = []
    for axis in range(3):
        start, stop = [0, 0, 0], list(shape)
        start[axis], stop[axis] = shape[axis] // 2, shape[axis] // 2 + 1
        boxes.append(Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2])))
    return boxes[0], boxes[1], boxes[2]


def read_planes(
    image: ImageInfo, labels: ImageInfo, truth: ImageInfo | None = None, *, channel: int = 0, time: int = 0
) -> list[Plane]:
    """Read the middle planes at level 0 of an image, its labels and, where there is one, its truth."""
    from bigcp3d.edge.image.voxels import read_box

    finest = image.levels[0]
    scale = finest.scale_um or (1.0, 1.0, 1.0)
    planes = []
    for axis, box in enumerate(middle_boxes(finest.shape)):
        down, right = (other for other in range(3) if other != axis)
        planes.append(
            Plane(
                title=f"{'zyx'[axis]} = {box.start[axis]}",
                aspect=scale[down] / scale[right],
                image=read_box(image, 0, box, channel=channel, time=time).squeeze(axis),
                labels=read_box(labels, 0, box, time=time).squeeze(axis),
                truth=None if truth is None else read_box(truth, 0, box, time=time).squeeze(axis),
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


def outline(image: NDArray[np.generic], labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """The labels' borders in yellow over a grey image, stretched from its 1st to its 99.8th percentile."""
    values = np.nan_to_num(np.asarray(image, np.float32))
    low, high = np.percentile(values, (1, 99.8))
    grey = np.clip((values - low) / max(high - low, 1e-9), 0, 1) * 255
    colours: NDArray[np.uint8] = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=-1)
    colours[find_boundaries(labels, mode="inner")] = (255, 220, 0)
    return colours


def draw(planes: list[Plane], target: Path, title: str = "") -> None:
    """Write planes as a PNG, one row a plane; columns: image with outlines, truth (where there is one), labels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with_truth = planes[0].truth is not None
    columns = 3 if with_truth else 2
    heights = [plane.image.shape[0] * plane.aspect / plane.image.shape[1] for plane in planes]
    width = 4.0
    figure = Figure(figsize=(width * columns, width * sum(heights) + 1.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(planes), columns, squeeze=False, height_ratios=heights)
    for row, plane in zip(axes, planes, strict=True):
        shown = {"image, outlines of labels": outline(plane.image, plane.labels)}
        if plane.truth is not None:
            shown["truth"] = colour_labels(plane.truth)
        shown["labels"] = colour_labels(plane.labels)
        for axis, (name, picture) in zip(row, shown.items(), strict=True):
            axis.imshow(picture, aspect=plane.aspect, interpolation="nearest")
            axis.set_title(f"{plane.title}: {name}", fontsize=9)
            axis.set_axis_off()
    figure.suptitle(title, fontsize=10)
    figure.savefig(target, dpi=110)
