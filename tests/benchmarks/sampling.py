"""The same tissue under several microscopes: ``python -m tests.benchmarks.sampling``.

A tissue is rendered once, without noise, at half the model's own voxel size. A microscope with coarser voxels sees its
means, and the most frequent cell of each voxel is the truth; each has the same noise a voxel. All are segmented with
the same diameter in micrometres, and must find the same cells: what is asked of them is to lose at most 0.03 mean Dice
against the model's own voxel size.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import bigcp3d
from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.image.new_image import create_image, write_image_box
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.edge.labels.label_plan import plan_labels
from bigcp3d.edge.labels.labels import create_labels, finish_labels, write_label_box
from bigcp3d.edge.models.model_families import load_card
from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.pure.label.pooling import pool_labels
from bigcp3d.pure.score.metrics import score_overlaps
from bigcp3d.pure.score.overlaps import count_overlaps
from bigcp3d.pure.tissue.tissue import render
from bigcp3d.pure.tissue.tissue_settings import Tissue
from tests.benchmarks.report import Row, show, write_json

SAMPLINGS: dict[str, Vec3] = {
    "native": (2, 2, 2),
    "half": (1, 1, 1),
    "double": (4, 4, 4),
    "4:1": (8, 2, 2),
    "3:1": (6, 2, 2),
    "6:1": (12, 2, 2),
}
"""Fine voxels per voxel, (z, y, x)."""
BAR = ("half", "double", "4:1")
NOISE = 0.1


def fine_tissue(stain: str, seed: int, shape: Vec3) -> tuple[NDArray[np.uint16], NDArray[np.uint32]]:
    """A tissue of the model's cells at half its voxel size, without noise; ``shape`` is at the voxel size."""
    diameter = 2 * load_card(stain).diameter_vox
    fine: Vec3 = tuple(2 * s for s in shape)  # type: ignore[assignment]
    tissue = replace(Tissue(fine, diameter, stain, seed=seed), blur_vox=(3.0, 2.0, 2.0), noise=0.0)
    return render(tissue, Box.of_shape(fine))


def see(image: NDArray[np.uint16], truth: NDArray[np.uint32], factors: Vec3, seed: int) -> tuple[NDArray, NDArray]:  # type: ignore[type-arg]
    """What a microscope with voxels of so many fine ones records, and its truth; the noise is that of `Tissue`."""
    shape: Vec3 = tuple(s // f for s, f in zip(image.shape, factors, strict=True))  # type: ignore[assignment]
    whole = tuple(slice(0, s * f) for s, f in zip(shape, factors, strict=True))
    (z, y, x), (fz, fy, fx) = shape, factors
    mean = image[whole].reshape(z, fz, y, fy, x, fx).mean(axis=(1, 3, 5))
    light = ((mean - 100.0) / 1000.0).clip(0)
    noise = NOISE * 1000.0 * np.sqrt(0.05 + 0.95 * light) * np.random.default_rng(seed).standard_normal(shape)
    floats = tuple(float(f) for f in factors)
    pooled = pool_labels(truth[whole], Box.of_shape(truth[whole].shape), Box.of_shape(shape), floats)  # type: ignore[arg-type]
    return (mean + noise).clip(0, 65535).astype(np.uint16), pooled


def write(path: Path, image: NDArray[np.uint16], truth: NDArray[np.uint32], scale_um: tuple[float, ...]) -> None:
    """An image with ``labels/truth``."""
    box = Box.of_shape(image.shape)
    info = create_image(path, image.shape, "uint16", scale_um=scale_um, chunk=image.shape, shard=image.shape)
    write_image_box(info, box, image)
    target = plan_labels(info, None, "truth", shard=image.shape)
    create_labels(target, overwrite=False)
    write_label_box(target, 0, Box.of_shape(target.levels[0].shape), truth)
    finish_labels(target, attributes={})


def score(path: Path, stain: str, **settings: object) -> Row:
    """Mean Dice and AP of all cells, truth below 50 voxels of the model's grid left out."""
    diameter = load_card(stain).diameter_vox
    summary = bigcp3d.segment(path, model=stain, diameter_um=diameter, executor="serial", overwrite=True, **settings)
    box = Box.of_shape(open_image(path).levels[0].shape)
    truth, found = (read_box(open_labels(path, name), 0, box).astype(np.uint32) for name in ("truth", "cells"))
    voxel = np.prod(open_image(path).levels[0].scale_um or (1.0, 1.0, 1.0))
    numbers = score_overlaps(count_overlaps(found, truth), min_truth_vox=max(1, round(50 / voxel)))
    return {
        "true": numbers["true_cells"],
        "found": summary.cells,
        "dice": numbers["mean_dice"],
        "ap50": numbers["ap50"],
    }


def run(stains: list[str], seeds: list[int], samplings: list[str], shape: Vec3, folder: Path) -> list[Row]:
    """One row a stain and sampling, means over seeds, and what is lost against native."""
    rows = []
    for stain in stains:
        scores: dict[str, list[Row]] = {name: [] for name in samplings}
        for seed in seeds:
            image, truth = fine_tissue(stain, seed, shape)
            for name in samplings:
                factors = SAMPLINGS[name]
                path = folder / f"{stain}_{seed}_{name.replace(':', '_')}.zarr"
                write(path, *see(image, truth, factors, seed), tuple(f / 2 for f in factors))
                scores[name].append(score(path, stain))
        mean = {name: {key: float(np.mean([row[key] for row in of])) for key in of[0]} for name, of in scores.items()}
        for name in samplings:
            lost = mean["native"]["dice"] - mean[name]["dice"]
            rows.append(
                {"model": stain, "sampling": name, **mean[name], "lost": lost, "bar": name in BAR and lost <= 0.03}
            )
    return rows


def main(arguments: list[str] | None = None) -> list[Row]:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["membrane", "nuclei"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[2001, 2002])
    parser.add_argument("--samplings", nargs="+", default=list(SAMPLINGS))
    parser.add_argument("--shape", type=int, nargs=3, default=(96, 160, 160))
    parser.add_argument("--keep", type=Path, default=None, help="keep the stores here")
    parser.add_argument("--json", type=Path, default=None)
    asked = parser.parse_args(arguments)
    folder = asked.keep or Path(tempfile.mkdtemp(prefix="sampling_"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        rows = run(asked.models, asked.seeds, asked.samplings, tuple(asked.shape), folder)
    finally:
        if asked.keep is None:
            shutil.rmtree(folder)
    print(show("mean Dice of the same tissue by sampling", rows))
    write_json(asked.json, {"sampling": rows})
    return rows


if __name__ == "__main__":
    main()
