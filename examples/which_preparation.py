"""Which preparation of the image helps which model: scores on volumes that the models did not learn from.

    python examples/which_preparation.py --data ../shared/data --out preparations

Each volume is segmented without a preparation and with each of `PREPARATIONS`, whose sizes are in cell diameters. All
else is the same. ``OUT/MODEL.csv`` gets one row for each volume and preparation, and the terminal shows the mean over
volumes. The volumes: two mouse embryos that were held out, a monolayer, the last thirds of x of the ovule and the root
(the rest was trained on), and simulated tissue in which the light fades with depth to a twentieth.
"""

import argparse
import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import bigcp3d
from bigcp3d import Tissue
from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.pure.score.metrics import score_overlaps
from bigcp3d.pure.score.overlaps import count_overlaps

PREPARATIONS = {
    "none": "none",
    "gaussian": "gaussian:{0.07}",
    "median": "median:3px",
    "background": "background:{2}",
    "clahe": "clahe:{2}",
    "contrast": "contrast:{2}",
    "contrast, wide": "contrast:{4}",
    "background, gaussian": "background:{2} gaussian:{0.07}",
    "gaussian, clahe": "gaussian:{0.07} clahe:{2}",
}
"""Sizes in braces are diameters of a cell."""
FADING = Tissue((64, 112, 112), 14.0, noise=0.1, attenuation=0.95)
SMALLEST = 50
"""Voxels of a true cell; below it, the embryos' labels are crumbs of the annotation."""


@dataclass(frozen=True)
class Volume:
    """A volume, its model and the diameter of its cells; it is segmented from ``first_x`` on, a share of x."""

    model: str
    name: str
    path: Path
    diameter_um: float
    first_x: float = 0.0


def volumes(data: Path, out: Path) -> Iterator[Volume]:
    """Real volumes, and two simulated ones, which are made."""
    for name in ("emb01_t501", "emb09_t501"):
        yield Volume("nuclei", name, data / "nuclei" / f"{name}.zarr", 15.0)
    yield Volume("nuclei", "cells3d", data / "nuclei_other" / "cells3d.zarr", 9.0)
    yield Volume("membrane", "ovule", data / "membrane" / "ovule.zarr", 6.0, 2 / 3)
    yield Volume("membrane", "root", data / "membrane" / "root.zarr", 7.5, 2 / 3)
    for model, seed in (("nuclei", 2001), ("membrane", 2002)):
        path = out / f"fading_{model}.zarr"
        if not path.exists():
            bigcp3d.simulate(path, replace(FADING, stain=model, seed=seed))
        yield Volume(model, "fading light, simulated", path, 14.0)


def in_micrometres(preparation: str, diameter_um: float) -> str:
    """The preparation with sizes in micrometres."""
    return re.sub(r"{(.*?)}", lambda found: f"{float(found[1]) * diameter_um:.3g}um", preparation)


def score(volume: Volume) -> Iterator[dict[str, object]]:
    """A row for each preparation."""
    image = open_image(volume.path)
    first = round(volume.first_x * image.levels[0].shape[2])
    values = {name: in_micrometres(text, volume.diameter_um) for name, text in PREPARATIONS.items()}
    settings = {"model": volume.model, "diameter_um": volume.diameter_um, "roi": f":,:,{first}:"}
    sweep = bigcp3d.plan_sweep(volume.path, {"prepare": [*values.values()]}, **settings)
    truth = read_box(open_labels(volume.path, "truth"), 0, sweep.region).astype(np.uint32)
    for name, trial in zip(values, sweep.run(threads=2), strict=True):
        found = score_overlaps(count_overlaps(trial.labels, truth), min_truth_vox=SMALLEST)
        row = {"volume": volume.name, "preparation": name, "cells": found["true_cells"]}
        yield {**row, "mean_dice": found["mean_dice"], "ap50": found["ap50"], "found": trial.cells}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("preparations"))
    parser.add_argument("--only", default="", help="only volumes whose names begin so")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[dict[str, object]]] = {"nuclei": [], "membrane": []}
    for volume in volumes(arguments.data, arguments.out):
        if not volume.name.startswith(arguments.only):
            continue
        for row in score(volume):
            rows[volume.model].append(row)
            print(volume.model, *(f"{v:.3f}" if isinstance(v, float) else v for v in row.values()), flush=True)
    for model, table in rows.items():
        if not table:
            continue
        with (arguments.out / f"{model}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(table[0]))
            writer.writeheader()
            writer.writerows(table)
        for name in PREPARATIONS:
            means = [
                np.mean([row[key] for row in table if row["preparation"] == name]) for key in ("ap50", "mean_dice")
            ]
            print(f"{model}, {name}: AP50 {means[0]:.3f}, mean Dice {means[1]:.3f}")


if __name__ == "__main__":
    main()
