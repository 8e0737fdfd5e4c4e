"""The pictures of README.md and of the gallery (docs/gallery.md): real volumes, segmented with the shipped models.

    python examples/gallery.py [NAME ...] [--data ../shared/data] [--out docs/pictures]

Without a name it makes all pictures, in about ten minutes on two cores. Sources and licences: docs/gallery.md.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from scipy import ndimage

import bigcp3d
from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.face.pictures.planes_picture import Tile, colour_image, colour_labels, read_planes
from bigcp3d.pure.boxes import Box

VOLUMES = {
    "blastocyst": (
        "blastocyst.zarr",
        {"model": "nuclei", "channel": 1, "scale_um": (0.5, 0.36, 0.36), "diameter_um": 12.0},
    ),
    "embryo_nuclei": ("nuclei/emb01_t501.zarr", {"model": "nuclei", "diameter_um": 15.0}),
    "cultured_cells": ("nuclei_other/cells3d.zarr", {"model": "nuclei", "diameter_um": 11.3}),
    "ovule": ("membrane/ovule.zarr", {"model": "membrane", "diameter_um": 6.0}),
    "root": ("membrane/root.zarr", {"model": "membrane", "diameter_um": 7.5}),
    "worm_embryo": (
        "membrane/embryo.zarr",
        {"model": "membrane", "scale_um": (6.0, 1.0, 1.0), "diameter_um": 60.0},
    ),
}
PAGE = 1350  # pixels across
FRAMES = 30
LIGHT = np.array((-0.35, -0.45, 0.82))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(VOLUMES))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or VOLUMES:
        path, settings = VOLUMES[name]
        with tempfile.TemporaryDirectory() as folder:
            result = Path(folder) / "result.zarr"
            summary = bigcp3d.segment(arguments.data / path, output=result, executor="serial", **settings)
            image, labels = open_image(arguments.data / path), open_labels(result, "cells")
            planes = read_planes(image, labels, channel=settings.get("channel", 0))
            voxels = read_box(labels, 0, Box.of_shape(labels.levels[0].shape))
        scale = settings.get("scale_um") or image.levels[0].scale_um or (1.0, 1.0, 1.0)
        print(f"{name}: {summary.cells} cells")
        cubes = as_cubes(voxels, scale)
        draw(planes, scale, render(cubes, 30.0), arguments.out / f"{name}.png")
        if name == "blastocyst":
            turn(as_cubes(voxels, scale, 130), arguments.out / "turning.webp")


def draw(planes, scale, rendered, target: Path) -> None:
    """Middle planes across z and y, each as image and as labels, and the cells in three dimensions."""
    aspects = (scale[1] / scale[2], scale[0] / scale[2])
    width = planes[0].image.shape[1]
    heights = [plane.image.shape[0] * aspect for plane, aspect in zip(planes, aspects, strict=False)]
    across = 2 * width + sum(heights)
    figure = Figure(figsize=(9.0, 9.0 * sum(heights) / across), facecolor="black")
    grid = figure.add_gridspec(2, 3, height_ratios=heights, width_ratios=(width, width, sum(heights)))
    for row in range(2):
        plane = planes[row]
        tiles = (Tile("", colour_image(plane.image)), Tile("", colour_labels(plane.labels)))
        for column, tile in enumerate(tiles):
            tile.show(figure.add_subplot(grid[row, column]), aspects[row])
    Tile("", rendered).show(figure.add_subplot(grid[:, 2]), 1.0)
    figure.subplots_adjust(0, 0, 1, 1, wspace=0.02, hspace=0.02)
    figure.savefig(target, dpi=PAGE / 9)
    with Image.open(target) as picture:  # 256 colours are enough, and take a third of the space
        picture.convert("RGB").quantize(256).save(target, optimize=True)


def as_cubes(labels, scale, longest: int = 260):
    """Labels on cubic voxels, at most ``longest`` along an axis."""
    size = np.array(labels.shape) * scale
    step = size.max() / longest
    picks = [
        np.clip(((np.arange(max(1, int(extent / step))) + 0.5) * step / unit).astype(int), 0, count - 1)
        for extent, unit, count in zip(size, scale, labels.shape, strict=True)
    ]
    return labels[np.ix_(*picks)]


def render(cubes, degrees: float, tilt: float = 25.0):
    """The cells as a camera sees them that has gone around them by ``degrees``; RGB."""
    side = int(np.linalg.norm(cubes.shape)) + 2
    a, b = np.deg2rad(degrees), np.deg2rad(tilt)
    around = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    # The camera looks along y; the first axis of the picture is z, which points down.
    down = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    matrix = (down @ around).T
    offset = np.array(cubes.shape) / 2 - matrix @ (np.full(3, side) / 2)
    turned = ndimage.affine_transform(cubes, matrix, offset, (side,) * 3, order=0)
    return shade(np.moveaxis(turned, 1, 0))


def shade(turned):
    """Colours of the first cell along the first axis, lit by the slope of its surface."""
    seen = turned > 0
    depth = np.where(seen.any(axis=0), seen.argmax(axis=0), len(turned)).astype(float)
    ids = np.take_along_axis(turned, np.minimum(depth, len(turned) - 1).astype(int)[None], axis=0)[0]
    smooth = ndimage.gaussian_filter(np.minimum(depth, depth[ids > 0].max() + 3), 1.0)
    slope = np.gradient(smooth)
    normal = np.stack([slope[0], slope[1], np.ones_like(smooth)])
    normal /= np.linalg.norm(normal, axis=0)
    light = np.clip(np.tensordot(LIGHT / np.linalg.norm(LIGHT), normal, 1), 0.0, 1.0)
    edge = (ndimage.maximum_filter(ids, 2) == ids) | (ids == 0)
    colours = colour_labels(ids) * (0.3 + 0.7 * light)[..., None] * np.where(edge, 1.0, 0.65)[..., None]
    rows, columns = np.nonzero(ids)
    return colours.astype(np.uint8)[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def turn(cubes, target: Path) -> None:
    """An animation of a camera that goes around the cells."""
    frames = [render(cubes, 360.0 * frame / FRAMES) for frame in range(FRAMES)]
    size = np.max([frame.shape for frame in frames], axis=0)
    pictures = []
    for frame in frames:
        page = np.zeros(size, np.uint8)
        top, left = (size[:2] - frame.shape[:2]) // 2
        page[top : top + frame.shape[0], left : left + frame.shape[1]] = frame
        pictures.append(Image.fromarray(page).resize((2 * size[1], 2 * size[0]), Image.Resampling.LANCZOS))
    pictures[0].save(target, save_all=True, append_images=pictures[1:], duration=120, loop=0, quality=60, method=4)


if __name__ == "__main__":
    main()
