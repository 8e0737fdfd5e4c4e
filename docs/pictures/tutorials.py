"""The pictures of docs/tutorials, beside this file: python docs/pictures/tutorials.py [NAME ...].

The code of a tutorial runs in a temporary folder, and its picture shows what came out. It takes a few minutes.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import zarr
from matplotlib.figure import Figure
from PIL import Image
from scipy import ndimage

import bigcp3d
from bigcp3d.face.pictures.planes_picture import Tile, colour_image, colour_labels

HERE = Path(__file__).resolve().parent
TUTORIALS = HERE.parent / "tutorials"
sys.path.insert(0, str(HERE.parents[1]))

from tests.pages import run_page

DPI = 110
WIDEST = 1100  # pixels


def read(path: str):
    """All voxels of the finest level."""
    return zarr.open_array(f"{path}/0", mode="r")[:]


def save(picture: Image.Image, name: str) -> None:
    picture.convert("RGB").save(HERE / name, quality=85, method=6)


def draw(tiles: list[Tile], name: str, more: Callable[[list], None] = lambda axes: None) -> None:
    """Tiles in a row; ``more`` draws on their axes."""
    figure = Figure(figsize=(3.3 * len(tiles), 3.6), layout="constrained")
    axes = list(figure.subplots(1, len(tiles)))
    for axis, tile in zip(axes, tiles, strict=True):
        tile.show(axis, 1.0)
        axis.set_title(tile.title, fontsize=10)
    more(axes)
    figure.savefig("row.png", dpi=DPI, bbox_inches="tight", pad_inches=0.05)
    save(Image.open("row.png"), name)


def from_above(labels):
    """The highest cell of each column."""
    first = np.argmax(labels > 0, axis=0)
    return np.take_along_axis(labels, first[None], axis=0)[0]


def centres(seen) -> dict[int, tuple[float, float]]:
    """The centre (y, x) of each cell that is seen."""
    ids = [int(each) for each in np.unique(seen) if each]
    return dict(zip(ids, ndimage.center_of_mass(seen > 0, seen, ids), strict=True))


def tuning() -> None:
    """The upper half of the picture that ``sweep`` draws: the truth and three of four trials."""
    run_page(TUTORIALS / "tuning.md")
    with Image.open("bigcp3d-sweep/sweep.png") as sheet:
        upper = sheet.crop((0, 0, sheet.width, sheet.height // 2))
        upper.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS)
        save(upper, "sweep.webp")


def correcting() -> None:
    """Cells before and after three corrections."""
    scale = (1.0, 0.5, 0.5)
    tissue = bigcp3d.Tissue(shape=(24, 64, 64), diameter_vox=16.0, stain="nuclei", scale=scale)
    bigcp3d.simulate("embryo.zarr", tissue, scale_um=scale)
    bigcp3d.segment("embryo.zarr", model="nuclei", diameter_um=8.0)
    before = from_above(read("embryo.zarr/labels/cells"))
    edits = bigcp3d.edit("embryo.zarr")
    edits.merge(3, 4)
    edits.split(6, parts=2)
    edits.delete(9)
    after = from_above(read("embryo.zarr/labels/cells"))

    def number(axes) -> None:
        for axis, seen in zip(axes, (before, after), strict=True):
            for cell, (y, x) in centres(seen).items():
                axis.text(x, y, cell, color="black", fontsize=9, ha="center", va="center", weight="bold")

    tiles = [Tile("before", colour_labels(before)), Tile("after merge 3 4, split 6, delete 9", colour_labels(after))]
    draw(tiles, "corrected.webp", number)


def cluster() -> None:
    """The same cells from one block and from many."""
    run_page(TUTORIALS / "cluster.md")
    whole, blocks = read("embryo.zarr/labels/whole")[12], read("embryo.zarr/labels/blocks")[12]
    image = read("embryo.zarr")[12]
    working = bigcp3d.plan_segmentation("embryo.zarr", model="nuclei", diameter_um=8.0, name="again").shape
    side = len(image)  # of the square plane; the blocks are 31 x 29 voxels of the working grid there

    def cut(axes) -> None:
        for draw_lines, block, voxels in ((axes[2].hlines, 31, working[1]), (axes[2].vlines, 29, working[2])):
            places = np.arange(block, voxels, block) * side / voxels - 0.5
            draw_lines(places, -0.5, side - 0.5, color="white", linestyle="--", linewidth=1.2)

    tiles = [
        Tile("image, one plane", colour_image(image)),
        Tile("labels, in one piece", colour_labels(whole)),
        Tile("labels, in blocks: the same", colour_labels(blocks)),
    ]
    draw(tiles, "blocks.webp", cut)


def time_series() -> None:
    """Cells at two time points, in the colours of their tracks."""
    run_page(TUTORIALS / "time_series.md")
    seen = [from_above(tracks) for tracks in read("movie.zarr/labels/tracks")]

    def move(axes) -> None:
        old, new = map(centres, seen)
        arrow = {"arrowstyle": "->", "color": "white", "linewidth": 1.5}
        for cell in old.keys() & new.keys():
            axes[1].annotate("", new[cell][::-1], old[cell][::-1], arrowprops=arrow)

    tiles = [Tile(f"time point {time}", colour_labels(each)) for time, each in enumerate(seen)]
    draw(tiles, "tracks.webp", move)


def python() -> None:
    """An array and its labels."""
    run_page(TUTORIALS / "python.md")
    image, labels = read("embryo.zarr")[12], read("embryo.zarr/labels/cells")[12]
    outlined = Tile("image, with outlines of the labels", colour_image(image), labels)
    draw([outlined, Tile("labels, one plane", colour_labels(labels))], "array.webp")


if __name__ == "__main__":
    matplotlib.use("Agg")
    ways = {way.__name__: way for way in (tuning, correcting, cluster, time_series, python)}
    for name in sys.argv[1:] or ways:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            ways[name]()
            os.chdir(HERE)
