"""The paper's figures, from what the experiments left: box plots, slices side by side, and the numbers behind them.

    python examples/paper/report.py --out results [--split membrane]

Writes into ``<out>/<split>/``: ``cells.csv`` (Dice of every true cell), ``summary.csv`` (one row an experiment and
fold), ``dice.png``, ``slices.png`` and ``report.md``. Experiments that were not run are named as missing.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from drawing import draw_boxes, draw_slices
from experiment import TITLES
from numpy.typing import NDArray
from splits import NAMES, Simulation, Split, Volume, ball_vox, open_split

PAPER = {"exp1": (0.656, 0.383), "exp2": (0.723, 0.877), "exp3": (0.905, 0.883), "exp4": (0.897, 0.883)}
"""Mean Dice in the paper (its table): on the kind of data trained on, and on another data set."""

LARGE = 0.25
"""Share of the ball of the expected diameter from which on a true cell, or what a border leaves of it, is large."""


@dataclass(frozen=True)
class Row:
    """One experiment on one fold; ``missing`` says why there are no numbers."""

    fold: str
    name: str
    missing: str = ""
    result: dict[str, Any] | None = None
    cells: tuple[tuple[str, int, int, float], ...] = ()

    @property
    def dice(self) -> NDArray[np.float64]:
        """Of each true cell of the fold."""
        return np.array([cell[3] for cell in self.cells])


def read_row(folder: Path, fold: str, name: str) -> Row:
    """What an experiment left in its folder."""
    file = folder / "result.json"
    if not file.exists():
        return Row(fold, name, "not run")
    result = json.loads(file.read_text())
    if "missing" in result:
        return Row(fold, name, result["missing"])
    with (folder / "cells.csv").open(newline="") as table:
        cells = tuple(
            (r["volume"], int(r["cell"]), int(r["cell_vox"]), float(r["dice"])) for r in csv.DictReader(table)
        )
    return Row(fold, name, "", result, cells)


def ball_of(item: Volume | Simulation) -> float:
    """Voxels in a ball of a volume's expected diameter."""
    return ball_vox(item.tissue) if isinstance(item, Simulation) else ball_vox(item.path, item.diameter_um)


def summarise(row: Row, balls: dict[str, float]) -> dict[str, Any]:
    """The numbers of a row: spread of Dice over all cells of the fold, AP of its volumes together, cost.

    ``balls`` has `ball_of` each volume.
    """
    if row.result is None:
        return {"fold": row.fold, "experiment": row.name, "missing": row.missing}
    volumes, training = row.result["volumes"].values(), row.result["training"]
    tp, fp, fn = (sum(v[name] for v in volumes) for name in ("tp", "fp", "fn"))
    spread = np.percentile(row.dice, (5, 25, 50, 75, 95))
    large = np.array([vox >= LARGE * balls[volume] for volume, _, vox, _ in row.cells])
    return {
        "fold": row.fold,
        "experiment": row.name,
        "missing": "",
        "mean_dice": row.dice.mean(),
        **dict(zip(("p5_dice", "q1_dice", "median_dice", "q3_dice", "p95_dice"), spread, strict=True)),
        "large_cells": int(large.sum()),
        "large_mean_dice": row.dice[large].mean() if large.any() else float("nan"),
        "ap50": tp / max(1, tp + fp + fn),
        "precision": tp / max(1, tp + fp),
        "recall": tp / max(1, tp + fn),
        "true_cells": tp + fn,
        "found_cells": tp + fp,
        "training_seconds": training["seconds"],
        "training_cpu_seconds": training["cpu_seconds"],
        "steps": training["steps"],
        "voxels_seen": training["voxels_seen"],
        "parameters": training["parameters"],
        "note": training["note"],
    }


def write_tables(folder: Path, rows: list[Row], summaries: list[dict[str, Any]]) -> None:
    """``cells.csv`` and ``summary.csv``."""
    with (folder / "cells.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["fold", "experiment", "volume", "cell", "cell_vox", "dice"])
        writer.writerows([row.fold, row.name, *cell] for row in rows for cell in row.cells)
    names = list(dict.fromkeys(name for numbers in summaries for name in numbers))
    with (folder / "summary.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, names, restval="")
        table.writeheader()
        table.writerows(summaries)


def write_report(folder: Path, split: Split, summaries: list[dict[str, Any]]) -> None:
    """``report.md``: a table a fold, what is missing, what a reader must know."""
    lines = [f"# Four experiments: {split.title}", "", split.note, ""]
    for fold in dict.fromkeys(numbers["fold"] for numbers in summaries):
        lines += [
            f"## Held out: {fold}",
            "",
            "| experiment | mean Dice | median | AP50 | true / found cells | mean Dice, large ones "
            "| training, min (CPU min) | steps | Mvoxels seen | the paper: own / other data |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        lines += [_line(numbers) for numbers in summaries if numbers["fold"] == fold]
        lines.append("")
    missing = [f"- {TITLES[n['experiment']]}, {n['fold']}: {n['missing']}" for n in summaries if n["missing"]]
    lines += ["## Missing", "", *missing, ""] if missing else []
    notes = [f"- {TITLES[n['experiment']]}, {n['fold']}: {n['note']}" for n in summaries if n.get("note")]
    lines += ["## Notes", "", *notes, ""] if notes else []
    lines += [
        "Dice compares each true cell with the found cell that shares most voxels with it; it is 0 if no cell does. "
        'Boxes show the quartiles and the median, whiskers the 5th and the 95th percentile, diamonds the mean. "Large '
        'ones" leaves out the small pieces that a border cuts off: cells below a quarter of a ball of the expected '
        'diameter. "Our reconstruction" means that bigcp3d computed the cells, from the output of the same network.',
        "",
        "![Dice per cell](dice.png)",
        "",
        "![Slices](slices.png)",
    ]
    (folder / "report.md").write_text("\n".join(lines) + "\n")


def _line(numbers: dict[str, Any]) -> str:
    name = numbers["experiment"]
    paper = "{:.3f} / {:.3f}".format(*PAPER[name]) if name in PAPER else ""
    if numbers["missing"]:
        return f"| {TITLES[name]} | missing | | | | | | | | {paper} |"
    minutes = f"{numbers['training_seconds'] / 60:.1f} ({numbers['training_cpu_seconds'] / 60:.1f})"
    cost = (
        [minutes, f"{numbers['steps']}", f"{numbers['voxels_seen'] / 1e6:.3g}"]
        if numbers["steps"] else ["elsewhere", "", ""]
    )  # fmt: skip
    values = [
        *(f"{numbers[n]:.3f}" for n in ("mean_dice", "median_dice", "ap50")),
        f"{numbers['true_cells']} / {numbers['found_cells']}",
        f"{numbers['large_mean_dice']:.3f} ({numbers['large_cells']} cells)",
        *cost,
        paper,
    ]
    return f"| {TITLES[name]} | {' | '.join(values)} |"


def report(out: Path, split: Split) -> Path | None:
    """Write all of a split's report; None where no experiment was run on it."""
    folder = out / split.name
    rows = [
        read_row(folder / fold.name / name, fold.name, name)
        for fold in split.folds
        if (folder / fold.name).is_dir()
        for name in TITLES
    ]
    if all(row.missing for row in rows):
        return None
    balls = {item.name: ball_of(item) for fold in split.folds for item in fold.test}
    summaries = [summarise(row, balls) for row in rows]
    write_tables(folder, rows, summaries)
    write_report(folder, split, summaries)
    draw_boxes(summaries, folder / "dice.png", f"Dice per cell: {split.title}")
    draw_slices(rows, folder, folder / "slices.png")
    return folder / "report.md"


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the real volumes")
    parser.add_argument("--out", type=Path, default=Path("results"), help="of the experiments")
    parser.add_argument("--split", choices=NAMES, action="append", help="default: all that were run")
    parser.add_argument("--quick", action="store_true", help="the tiny split of the experiments' --quick")
    arguments = parser.parse_args(argv)
    names = ["quick"] if arguments.quick else arguments.split or [n for n in NAMES if (arguments.out / n).is_dir()]
    written = [report(arguments.out, open_split(name, arguments.data)) for name in names]
    for path in filter(None, written):
        print(path)
    if not any(written):
        sys.exit(f"{arguments.out}: found no results; run exp2.py, exp3.py or exp4.py with the same --out first")


if __name__ == "__main__":
    main()
