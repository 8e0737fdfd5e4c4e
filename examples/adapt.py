"""Adapt a model to one image without labels: it learns from the cells that it is surest of (self-training).

    python examples/adapt.py IMAGE.zarr --start nuclei --diameter 9 --output mine.safetensors

The model segments the image. Cells with a strong foreground and a usual volume count as true, and so does the
background close to them. All else counts as not annotated. Then the model learns from these cells under strong
augmentation, beside simulated tissue. What this gained and lost on our images is on the page "How accurate it is". The
image must fit into memory.
"""

import argparse
import logging
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray
from scipy import ndimage

import bigcp3d
from bigcp3d.edge.image.image import open_labels
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.pure.boxes import Box

SUREST = 0.6
"""Share of the cells that count as true, at most: those with the strongest foreground."""
USUAL = (0.4, 2.5)
"""Volumes of cells that count as true, in medians."""
NEAR = 0.25
"""Diameters from a true cell within which background counts."""
SHARES = (0.6, 0.0, 0.35, 0.05)
"""How often a sample shows the image, a painted volume, simulated tissue and noise."""
LEARNING_RATE = 3e-4


def choose_cells(volume: NDArray[np.float64], foreground: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which cells count as true."""
    usual = (volume > USUAL[0] * np.median(volume)) & (volume < USUAL[1] * np.median(volume))
    return usual & (foreground >= np.nanquantile(foreground, 1 - SUREST))


def mark_unknown(labels: NDArray[np.integer], sure: NDArray[np.integer], near: tuple[int, ...]) -> NDArray[np.int32]:
    """Truth (z, y, x): ids of sure cells, 0 for background within ``near`` voxels of these alone, -1 elsewhere."""
    size = [2 * n + 1 for n in near]
    true = np.isin(labels, sure)
    known = ndimage.maximum_filter(true, size) & ~ndimage.maximum_filter((labels > 0) & ~true, size)
    return np.where(true, labels, np.where(known, 0, -1)).astype(np.int32)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("--start", default="nuclei", help="the model to adapt")
    parser.add_argument("--simulate", choices=("nuclei", "membrane"), default="nuclei")
    parser.add_argument("--diameter", type=float, required=True, help="of the cells, in micrometres")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=400)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    store = arguments.output.with_suffix(".first.zarr")
    found = bigcp3d.segment(
        arguments.image,
        model=arguments.start,
        diameter_um=arguments.diameter,
        output=store,
        table=arguments.output.with_suffix(".first.csv"),
        overwrite=True,
    )
    table = np.genfromtxt(str(found.table), delimiter=",", names=True)
    sure = table["label"][choose_cells(table["volume_vox"], table["foreground"])].astype(np.int64)
    info = open_labels(store, "cells")
    level = info.levels[0]
    near = tuple(max(1, round(NEAR * arguments.diameter / s)) for s in level.scale_um or (1.0, 1.0, 1.0))
    truth = mark_unknown(read_box(info, 0, Box.of_shape(level.shape)), sure, near)
    print(f"{len(sure)} of {len(table['label'])} cells count as true")
    marked = arguments.output.with_suffix(".truth.zarr")
    zarr.save_array(marked, truth, mode="w")
    bigcp3d.train(
        [f"{arguments.image}::{marked}"],
        arguments.output,
        start=arguments.start,
        simulate=arguments.simulate,
        shares=SHARES,
        diameter_um=arguments.diameter,
        learning_rate=LEARNING_RATE,
        steps=arguments.steps,
        patch=(64, 64, 64),
        keep="last",
        repeat=4,
        cache=arguments.output.with_suffix(".samples"),
        overwrite=True,
    )


if __name__ == "__main__":  # worker processes import this file
    main()
