"""Images as training shows them, of other seeds: ``python -m tests.benchmarks.varied_looks membrane nuclei``.

Cells have 0.4 to 2.4 times the model's diameter. Half of the images or more look as `bigcp3d simulate` writes them; the
others have painted walls or nuclei, and other optics and cameras. Planes are 1 to 5 voxels apart. Each image is
segmented with the diameter of its true cells, and with the diameter that bigcp3d estimates. ``--model`` takes a file in
place of the shipped model.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

import bigcp3d
from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.edge.models.model_families import load_card
from bigcp3d.pure.boxes import vec3
from bigcp3d.pure.cells.cell_sums import sum_cells
from bigcp3d.pure.group.objects import centroids
from bigcp3d.pure.score.metrics import score_overlaps
from bigcp3d.pure.score.overlaps import count_overlaps
from bigcp3d.work.train.samples import Look, TissueSource
from bigcp3d.work.train.training_cells import TrainingCells, measure_diameter
from tests.benchmarks.report import Row, show

SIDE = 160
SPACINGS = (1, 1, 2, 3, 4, 5)
"""Voxels from plane to plane."""
SMALLEST = 50
"""Voxels of a true cell, at least."""
FIRST_SEED = 90_000
"""Training draws from pairs of numbers, so it never shows these images."""


def make_image(stain: str, card: ModelCard, seed: int) -> tuple[NDArray[np.uint16], NDArray[np.uint32], float]:
    """Image, true labels, and the length of a voxel along z over that along y and x."""
    rng = np.random.default_rng(seed)
    spacing = int(rng.choice(SPACINGS))
    look = Look(card.diameter_vox, card.low_percentile, card.high_percentile, card.clip)
    planes = SIDE // spacing
    sample = TissueSource(stain, look).draw(rng, (planes * spacing, SIDE, SIDE))
    image = sample.image[0].reshape(planes, spacing, SIDE, SIDE).mean(axis=1)
    counts = np.rint(1000 * (image - image.min())).astype(np.uint16)
    return counts, sample.labels[spacing // 2 :: spacing].astype(np.uint32), float(spacing)


def true_diameter(truth: NDArray[np.uint32], spacing: float) -> float:
    """Median diameter of the true cells, measured as for a training."""
    found = sum_cells(np.pad(truth, 1), (0, 0, 0), vec3(truth.shape), [])
    large = np.flatnonzero(found.sums.count >= SMALLEST)
    sums = found.sums.take(large)
    cut = np.any((sums.low == 0) | (sums.high == np.array(truth.shape)), axis=1)
    cells = TrainingCells(found.ids[large], sums.count, centroids(sums), cut)
    return measure_diameter(cells, (spacing, 1.0, 1.0), "simulated")


def score_image(model: str, stain: str, seed: int) -> Row:
    """AP 0.5 and mean Dice with the true and with the estimated diameter; 0 where bigcp3d refuses."""
    image, truth, spacing = make_image(stain, load_card(stain), seed)
    diameter = true_diameter(truth, spacing)
    row: Row = {"stain": stain, "seed": seed, "spacing": spacing, "diameter": diameter}
    for name, told in (("true", {"diameter_um": diameter}), ("estimated", {})):
        try:
            found = bigcp3d.segment_array(image, scale_um=(spacing, 1.0, 1.0), model=model, **told)
        except bigcp3d.InputError as error:
            found = np.zeros_like(truth)
            row["refused"] = str(error).partition("(at best ")[2].partition(")")[0]
        scores = score_overlaps(count_overlaps(found, truth), min_truth_vox=SMALLEST)
        row |= {f"AP, {name}": scores["ap50"], f"Dice, {name}": scores["mean_dice"] or 0.0}
    return row


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stains", nargs="+", choices=("membrane", "nuclei"))
    parser.add_argument("--model", help="default: the shipped model of the stain")
    parser.add_argument("--images", type=int, default=24)
    arguments = parser.parse_args()
    for stain in arguments.stains:
        seeds = range(FIRST_SEED, FIRST_SEED + arguments.images)
        rows = [score_image(arguments.model or stain, stain, seed) for seed in seeds]
        means: Row = {name: float(np.mean([row[name] for row in rows])) for name in rows[0] if "," in name}
        rows.append({"stain": stain, "seed": "mean", **means})
        print(show(arguments.model or stain, rows))


if __name__ == "__main__":
    main()
