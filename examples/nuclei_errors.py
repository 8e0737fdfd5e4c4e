"""Draw every true nucleus of the held-out embryos that the `nuclei` model does not find: who is wrong, it or the truth?

    python examples/nuclei_errors.py --data ../shared/data --scores scores --out errors

Run `evaluate_shipped_models.py nuclei` first: its folder of labels is ``--scores``. Each row shows one missed nucleus,
first in the plane through its middle, then cut along z: the image, the image with the truth (the missed one white), and
with what was found.
"""

import argparse
from pathlib import Path

import numpy as np
from evaluate_shipped_models import SMALLEST, nuclei_tests
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from skimage.segmentation import find_boundaries

from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.score.matching import number_cells
from bigcp3d.pure.score.metrics import list_cells
from bigcp3d.pure.score.overlaps import count_overlaps

HALF, ZOOM, ROWS = 22, 5, 7
"""Half the side of a cut-out and its enlargement; rows of a picture."""


def find_missed(truth: NDArray[np.uint32], found: NDArray[np.uint32]) -> list[int]:
    """True cells of which no found one shares an IoU of a half."""
    cells = list_cells(number_cells([count_overlaps(found, truth)]))
    return [int(cell) for cell in cells.cell[(cells.cell_vox >= SMALLEST) & (cells.iou < 0.5)]]


def draw_cut(
    image: NDArray[np.floating], labels: NDArray[np.int64] | None, cell: int, height: int
) -> NDArray[np.uint8]:
    """One cut through the volume, enlarged; ``height`` rows a voxel, with the outlines of labels."""
    grey = np.kron(image, np.ones((height, ZOOM)))
    colours = np.repeat((255 * grey[..., None]).astype(np.uint8), 3, axis=-1)
    if labels is not None:
        large = np.kron(labels, np.ones((height, ZOOM), np.int64))
        edges = find_boundaries(large, mode="inner")
        table = np.random.default_rng(1).integers(70, 230, (large.max() + 1, 3)).astype(np.uint8)
        table[cell if cell <= large.max() else 0] = 255
        colours[edges] = table[large[edges]]
    return colours


def draw_cell(
    image: NDArray[np.floating], truth: NDArray[np.uint32], found: NDArray[np.uint32], cell: int, ratio: float
) -> NDArray[np.uint8]:
    """A row of six cuts through the voxel of a cell that lies nearest to its centroid."""
    points = np.argwhere(truth == cell)
    z, y, x = points[np.square(points - points.mean(axis=0)).sum(axis=1).argmin()]
    wide = np.pad(np.stack([image, truth, found]), ((0, 0), (HALF, HALF), (HALF, HALF), (HALF, HALF)))
    cuts = []
    deep = slice(z + HALF - HALF // 2, z + HALF + HALF // 2)
    for plane, height in (
        ((z + HALF, slice(y, y + 2 * HALF), slice(x, x + 2 * HALF)), ZOOM),
        ((deep, y + HALF, slice(x, x + 2 * HALF)), round(ZOOM * ratio)),
    ):
        grey, true, other = (wide[(k, *plane)] for k in range(3))
        for labels, marked in ((None, 0), (true.astype(np.int64), cell), (other.astype(np.int64), 0)):
            cut = draw_cut(grey, labels, marked or 10**9, height)
            cuts.append(np.pad(cut[: 2 * HALF * ZOOM], ((0, max(0, 2 * HALF * ZOOM - len(cut))), (0, 4), (0, 0))))
    return np.concatenate(cuts, axis=1)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--scores", type=Path, default=Path("scores"))
    parser.add_argument("--out", type=Path, default=Path("errors"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for test in (test for test in nuclei_tests(arguments.data) if isinstance(test.path, Path)):
        store, name = open_image(test.path), test.volume
        box, scale = Box.of_shape(store.levels[0].shape), store.levels[0].scale_um or (1.0, 1.0, 1.0)
        values = read_box(store, 0, box).astype(float)
        low, high = np.percentile(values, (1, 99.7))
        image = np.clip((values - low) / (high - low), 0, 1)
        truth, found = (
            read_box(open_labels(path, label), 0, box).astype(np.uint32)
            for path, label in ((test.path, "truth"), (arguments.scores / "nuclei" / f"{test.store}.zarr", "cells"))
        )
        for cell in find_missed(truth, found):
            row = Image.fromarray(draw_cell(image, truth, found, cell, scale[0] / scale[2]))
            voxels = int((truth == cell).sum())
            ImageDraw.Draw(row).text((3, 3), f"{len(rows) + 1}: {name}, label {cell}, {voxels} voxels", "yellow")
            print(len(rows) + 1, name, cell, voxels)
            rows.append(np.asarray(row))
    for number in range(0, len(rows), ROWS):
        sheet = np.concatenate([np.pad(row, ((0, 6), (0, 0), (0, 0))) for row in rows[number : number + ROWS]])
        Image.fromarray(sheet).save(arguments.out / f"missed{number // ROWS + 1}.png")


if __name__ == "__main__":
    main()
