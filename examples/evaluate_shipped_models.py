"""Score the shipped models on data that they did not learn from: the numbers of their cards and of the README.

    python examples/evaluate_shipped_models.py membrane --data ../shared/data --out scores
    python examples/evaluate_shipped_models.py nuclei --data ../shared/data --out scores

Membrane: simulated tissue of other seeds, with noise and blur at least those of the real light-sheet root
(`examples/paper/hardness.py` measures both); the same tissue at half to twice the voxel size, without telling the
model; a volume that is large, as those that bigcp3d is for, so that its border cuts few cells; the last third of x of
the two plant volumes, of which the rest was trained on. Nuclei: the embryos 01 and 09, held out whole, and simulated
nuclei of other seeds. One row a volume goes to ``OUT/MODEL.csv``, and a table to the terminal.

Three times the true cells are scored: all of 50 voxels, also slivers that the volume's border leaves of them; those of
which at least a twentieth of a ball of their diameter is there (``seen``); and those that no border cuts (``whole``).
"""

import argparse
import csv
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import bigcp3d
from bigcp3d import Tissue
from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.score.metrics import score_overlaps
from bigcp3d.pure.score.overlaps import count_overlaps

sys.path.insert(0, str(Path(__file__).parent / "paper"))
from splits import HARD, ball_vox

NUCLEI = Tissue((64, 128, 128), 14.0, "nuclei", blur_vox=(2.0, 1.2, 1.2), noise=0.3, attenuation=0.5, staining=0.5)
WORKERS = 2
LARGE = (384, 512, 512)
SMALLEST = 50
"""Voxels of a true cell; below it, the embryos' labels are crumbs of the annotation."""
SEEN = 0.05
"""Share of the ball of the diameter from which on a true cell, or what a border leaves of it, is ``seen``."""
SHARES = ("mean_dice", "median_dice", "ap50", "precision", "recall")


@dataclass(frozen=True)
class Test:
    """A volume to segment; ``diameter_um`` None: at its own voxel size. From ``first_x`` on (a share) it is scored."""

    group: str
    volume: str
    path: Path | Tissue
    diameter_um: float | None = None
    first_x: float = 0.0

    @property
    def store(self) -> str:
        """Name of the store with what is found, without its ending."""
        return f"{self.group} {self.volume}".replace(",", "").replace(" ", "_")


def membrane_tests(data: Path) -> list[Test]:
    """Tissues of seeds that training never draws on purpose, and the held-out thirds."""
    hard = [Test("simulated", f"seed {seed}", replace(HARD, seed=seed)) for seed in (1011, 1012, 1013)]
    scales = [
        Test("simulated, other voxel sizes", f"{d} voxels a cell", replace(HARD, seed=1014, diameter_vox=float(d)))
        for d in (10, 14, 20, 28, 40)
    ]
    large = [Test("simulated, large volume", "seed 1015", replace(HARD, seed=1015, shape=LARGE))]
    folder = data / "membrane"
    real = [
        Test("real, last third of x", "ovule", folder / "ovule.zarr", 6.0, 2 / 3),
        Test("real, last third of x", "root", folder / "root.zarr", 7.5, 2 / 3),
    ]
    return [*hard, *large, *scales, *real]


def nuclei_tests(data: Path) -> list[Test]:
    """Whole embryos, and simulated nuclei."""
    embryos = ("emb01_t451", "emb01_t501", "emb09_t501")
    real = [Test("embryos held out", name, data / "nuclei" / f"{name}.zarr", 15.0) for name in embryos]
    return [*real, *(Test("simulated", f"seed {s}", replace(NUCLEI, seed=s)) for s in (1001, 1002, 1003))]


def score(test: Test, model: str, folder: Path) -> dict[str, float]:
    """Segment a volume and compare it with its truth; crumbs of the truth are ignored."""
    source, output = test.path, folder / f"{test.store}.zarr"
    if isinstance(source, Tissue):
        source = folder / f"{test.store}_image.zarr"
        if not source.exists():
            bigcp3d.simulate(source, test.path)
    bigcp3d.segment(source, model=model, diameter_um=test.diameter_um, output=output, workers=WORKERS, overwrite=True)
    shape = open_image(source).levels[0].shape
    box = Box((0, 0, round(test.first_x * shape[2])), shape)
    truth, found = (
        read_box(open_labels(path, label), 0, box).astype(np.uint32)
        for path, label in ((source, "truth"), (output, "cells"))
    )
    overlaps = count_overlaps(found, truth)
    numbers = score_overlaps(overlaps, min_truth_vox=SMALLEST)
    row = {"cells": numbers["true_cells"], **{key: numbers[key] for key in SHARES}}
    numbers = score_overlaps(
        overlaps, min_truth_vox=max(SMALLEST, round(SEEN * ball_vox(test.path, test.diameter_um or 0.0)))
    )
    row |= {f"seen_{key}": numbers[key] for key in ("true_cells", "mean_dice", "ap50")}
    numbers = score_overlaps(count_overlaps(*leave_whole(found, truth)), min_truth_vox=SMALLEST)
    return row | {f"whole_{key}": numbers[key] for key in ("true_cells", "mean_dice", "ap50")}


def leave_whole(found: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels without the true cells that touch the volume's border, and without what was found for these."""
    faces = [np.take(truth, (0, -1), axis) for axis in range(3)]
    cut = np.isin(truth, np.unique(np.concatenate([face.ravel() for face in faces]))) & (truth > 0)
    count, lost = np.bincount(found.ravel()), np.bincount(found[cut], minlength=int(found.max()) + 1)
    gone = cut | (lost >= 0.5 * np.maximum(count, 1))[found]
    return np.where(gone, 0, found), np.where(cut, 0, truth)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("membrane", "nuclei"))
    parser.add_argument("--model", help="another model of the kind; default: the shipped one")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("scores"))
    parser.add_argument("--only", default="", help="only groups that begin so")
    arguments = parser.parse_args()
    tests = {"membrane": membrane_tests, "nuclei": nuclei_tests}[arguments.kind](arguments.data)
    folder = arguments.out / arguments.kind
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for test in tests:
        if test.group.startswith(arguments.only):
            found = score(test, arguments.model or arguments.kind, folder)
            rows.append({"group": test.group, "volume": test.volume, **found})
            print(test.group, test.volume, {k: v if v is None else round(v, 3) for k, v in found.items()}, flush=True)
    with (arguments.out / f"{arguments.kind}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print_table(rows)


def print_table(rows: list[dict]) -> None:
    """Mean of each group's volumes, and their range."""
    columns = [c for c in rows[0] if c not in ("group", "volume")]
    print("\n| | " + " | ".join(c.replace("_", " ") for c in columns) + " |\n|" + " --- |" * (len(columns) + 1))
    for group in dict.fromkeys(row["group"] for row in rows):
        of = [row for row in rows if row["group"] == group]
        cells = []
        for column in columns:
            values = [row[column] for row in of if row[column] is not None]
            if column.endswith("cells"):
                cells.append(str(int(sum(values))))
            else:
                cells.append(f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})" if values else "")
        print(f"| {group} | {' | '.join(cells)} |")


if __name__ == "__main__":  # worker processes import this file
    main()
