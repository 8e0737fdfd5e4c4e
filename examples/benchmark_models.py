"""Score models on all annotated volumes at hand: the numbers of docs/explanation/accuracy.md and of the model cards.

    python examples/benchmark_models.py nuclei membrane --data ../shared/data --out scores
    python examples/benchmark_models.py mine.safetensors cellpose:cpsam --kind nuclei --only 'nuclei_other/*'

A model is a shipped name, a file, or the model of another family. Nothing is downloaded, and nothing is trained.
Volumes are the OME-Zarr images below ``--data`` that have labels named ``truth``, in
folders whose names begin with the kind of the model, and simulated tissues of seeds that no training uses. Each is
segmented twice: with the diameter of its true cells, and with the diameter that bigcp3d estimates. Simulated tissues of
other cell sizes are segmented as they are, so the model is not told the size.

In a large volume only a piece of `MOST` voxels is scored, unless you give ``--whole``. The labels of a piece are those
of the whole volume. If the shipped models learned from a part of a volume, only the rest is scored. If they learned
from all of it, it is marked "learned from"; for other models this mark means nothing.

Written to ``--out``: ``scores.csv`` (a row a volume), ``table.md`` (volumes of one kind pooled), for each model a
picture of each volume, and ``worst.jpg``: the pieces of real volumes with the lowest mean Dice.

True cells of less than `SMALLEST` voxels are ignored. AP at an IoU is TP / (TP + FP + FN) of one-to-one matches. Dice
compares a true cell with the found cell that shares most voxels with it. Intervals hold 95 % of 1,000 samples of the
cells, drawn with replacement. "Uncut" are the cells that do not touch the border of what is scored.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

import bigcp3d
from bigcp3d import Tissue
from bigcp3d.edge.image.image import ImageInfo, open_image, open_labels
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.edge.models.model_families import load_card
from bigcp3d.face.pictures.planes_picture import Tile, colour_image, draw_rows
from bigcp3d.pure.boxes import Box, vec3
from bigcp3d.pure.score.matching import group_by_true_cell, number_cells
from bigcp3d.pure.score.metrics import CellScores, Scores, list_cells, score_groups
from bigcp3d.pure.score.overlaps import count_overlaps, ignore_cells, known_ids, merge_overlaps

MOST = 2_500_000
"""Voxels of a volume that are scored without ``--whole``, at most."""
SMALLEST = 50
"""Voxels of a true cell, at least; smaller ones are crumbs of the annotation."""
HELD_OUT = {"emb01": 0.0, "emb09": 0.0, "cells": 0.0, "ovule": 2 / 3, "root": 2 / 3}
"""Volumes whose names begin so: the shipped models did not learn from the part of x from this share on."""
DIAMETER_UM = {"ovule": 6.0, "root": 7.5}
"""Diameters of cells that borders cut nearly all, as a user would measure them."""
LEARNED = ("emb", "ovule", "root")
"""The shipped models learned from volumes whose names begin so, except from what was held out."""

WALLS = Tissue((96, 160, 160), 20.0, blur_vox=(2.0, 1.5, 1.5), noise=0.14, inside=0.3, staining=0.5, uneven=0.6)
"""Noise and blur are at least those of the real light-sheet root, as `examples/paper/hardness.py` measures them."""
NUCLEI = Tissue((64, 128, 128), 14.0, "nuclei", blur_vox=(2.0, 1.2, 1.2), noise=0.3, attenuation=0.5, staining=0.5)
SIMULATED = {"membrane": (WALLS, 1011), "nuclei": (NUCLEI, 1001)}
"""For each kind the tissue, and the first seed."""
LARGE = (384, 512, 512)
SIZES = (10, 14, 20, 28, 40)
"""Voxels a cell, of which the model is not told."""

FEW_WHOLE = 5
"""With fewer cells that no border cuts, the diameter follows from the pieces."""
SAMPLES = 1000
PIECE = 3.0
"""Side of a piece among the worst, in diameters."""
FEW_IN_PIECE = 3
PIXELS = 96
"""Side of the picture of a piece."""
COLUMNS = ("ap50", "ap75", "dice", "uncut_ap50", "uncut_ap75", "uncut_dice", "cut_dice")


@dataclass(frozen=True)
class Test:
    """A volume to segment; ``told`` is "as-is" where the model is not told the size of the cells."""

    group: str
    source: Path | Tissue
    first_x: float = 0.0
    told: tuple[str, ...] = ("truth", "estimated")

    @property
    def name(self) -> str:
        """For file names and tables."""
        if isinstance(self.source, Path):
            return self.source.stem
        return f"{self.source.stain}_{self.source.diameter_vox:g}vox_seed{self.source.seed}"


@dataclass(frozen=True)
class Result:
    """What a model found in a volume; arrays cover the part that is scored."""

    test: Test
    told: str
    diameter: float
    scale: tuple[float, float, float]
    image: NDArray[np.generic]
    truth: NDArray[np.uint32]
    found: NDArray[np.uint32]
    cells: CellScores
    groups: dict[str, Scores]
    """All cells, those that no border cuts, and the others."""

    @property
    def arrays(self) -> tuple[NDArray[np.generic], NDArray[np.uint32], NDArray[np.uint32]]:
        """Image, truth and what was found."""
        return self.image, self.truth, self.found


def list_tests(kind: str, data: Path, only: str, whole: bool) -> Iterator[Test]:
    """Real volumes, then simulated ones."""
    for path in sorted(data.rglob("*.zarr")):
        folder = path.parent.relative_to(data)
        if str(folder).startswith(kind) and fnmatch(f"{folder}/{path.stem}", only) and is_annotated(path):
            held = next((first for name, first in HELD_OUT.items() if path.stem.startswith(name)), None)
            word = re.match(r"[a-zA-Z]+", path.stem)
            group = f"{folder}/{word[0] if word else path.stem}"
            yield Test(
                group + (", learned from" if held is None and path.stem.startswith(LEARNED) else ""), path, held or 0.0
            )
    if fnmatch("simulated", only):
        tissue, seed = SIMULATED[kind]
        yield from (Test("simulated", replace(tissue, seed=seed + k)) for k in range(3))
        other = replace(tissue, seed=seed + 3)
        for size in SIZES:
            yield Test(f"simulated, {size} voxels, not told", replace(other, diameter_vox=float(size)), 0.0, ("as-is",))
        if whole:
            yield Test("simulated, large", replace(tissue, seed=seed + 4, shape=LARGE))


def is_annotated(path: Path) -> bool:
    """Whether a store holds an image and its true labels."""
    try:
        return open_labels(path, "truth").levels[0].shape == open_image(path).levels[0].shape
    except bigcp3d.InputError:
        return False


def scored_part(image: ImageInfo, first_x: float, whole: bool) -> Box:
    """The part that was held out, or a piece in its middle."""
    shape = image.levels[0].shape
    start = np.array((0, 0, round(first_x * shape[2])))
    side = shape - start
    if not whole and side.prod() > MOST:
        smaller = np.minimum(side, np.ceil(side * (MOST / side.prod()) ** (1 / 3))).astype(int)
        start, side = start + (side - smaller) // 2, smaller
    return Box(vec3(start), vec3(start + side))


def true_diameter(truth: NDArray[np.uint32], scale: tuple[float, float, float]) -> float:
    """Diameter of a ball of the median volume of the cells that no border cuts.

    Where these are few, it follows from the pieces: half of all voxels of cells lie in pieces that are smaller.
    """
    volume = np.bincount(truth.ravel())
    volume[0] = 0
    whole = volume.copy()
    whole[border_ids(truth)] = 0
    whole, volume = (np.sort(v[v >= SMALLEST]) for v in (whole, volume))
    if len(whole) >= FEW_WHOLE:
        typical = float(np.median(whole))
    else:
        typical = float(volume[np.searchsorted(np.cumsum(volume), volume.sum() / 2)])
    return float(np.cbrt(6 / np.pi * typical * np.prod(scale)))


def border_ids(labels: NDArray[np.integer]) -> NDArray[np.integer]:
    """Labels that touch the border of an array."""
    return np.unique(np.concatenate([np.take(labels, (0, -1), axis).ravel() for axis in range(3)]))


def segment_and_score(test: Test, told: str, model: str, folder: Path, whole: bool) -> Result:
    """Segment a volume and compare it with its truth."""
    source = test.source
    if isinstance(source, Tissue):
        source = folder.parent / f"{test.name}.zarr"
        if not source.exists():
            bigcp3d.simulate(source, test.source)
    image, labels = open_image(source), open_labels(source, "truth")
    scale = image.levels[0].scale_um or (1.0, 1.0, 1.0)
    box = scored_part(image, test.first_x, whole)
    annotated = read_box(labels, 0, box)
    truth = known_ids(annotated).astype(np.uint32)
    diameter, found = 0.0, np.zeros_like(truth)
    try:
        diameter = choose_diameter(test, told, model, source, labels, scale)
        output = folder / f"{test.name}_{told}.zarr"
        bigcp3d.segment(
            source,
            model=model,
            diameter_um=diameter or "as-is",
            scale_um=scale,
            roi=tuple(zip(box.start, box.stop, strict=True)),
            output=output,
            overwrite=True,
        )
        found = np.where(annotated < 0, 0, read_box(open_labels(output, "cells"), 0, box)).astype(np.uint32)
    except bigcp3d.InputError as error:  # a model that finds no plausible cells, for instance: nothing was found
        print(error, file=sys.stderr)
    cells, groups = score(found, truth)
    return Result(test, told, diameter, scale, read_box(image, 0, box), truth, found, cells, groups)


def choose_diameter(
    test: Test, told: str, model: str, source: Path, labels: ImageInfo, scale: tuple[float, float, float]
) -> float:
    """The diameter that is given; 0 where none is."""
    if told == "as-is":
        return 0.0
    if told == "estimated":
        return bigcp3d.estimate_diameter(source, model=model, scale_um=scale).diameter
    truth = known_ids(read_box(labels, 0, Box.of_shape(labels.levels[0].shape))).astype(np.uint32)
    return DIAMETER_UM.get(test.name) or true_diameter(truth, scale)


def score(found: NDArray[np.uint32], truth: NDArray[np.uint32]) -> tuple[CellScores, dict[str, Scores]]:
    """Scores of all cells, of those that no border cuts, and of the others."""
    table = number_cells([ignore_cells(count_overlaps(found, truth), SMALLEST, merge_overlaps([]))])
    cells = list_cells(table)
    true = ~np.isin(table.true_ids, border_ids(truth))
    own = group_by_true_cell(table, true, ~np.isin(table.found_ids, border_ids(found)))
    groups = score_groups(table, cells, [None, (true, own), (~true, ~own)])
    return cells, dict(zip(("", "uncut_", "cut_"), groups, strict=True))


def pool(results: Iterable[Result], group: str) -> dict[str, tuple[float, float, float] | None]:
    """AP and mean Dice of all cells of some volumes, each with its interval; None where there is no cell."""
    scores = [result.groups[group] for result in results]
    rng = np.random.default_rng(0)
    numbers: dict[str, tuple[float, float, float] | None] = {}
    for iou in (0.5, 0.75):  # AP at 0.75 is not among the tenths: see `ap_at`
        hit, all_cells = np.sum([ap_at(result, group, iou) for result in results], axis=0) if scores else (0, 0)
        drawn = rng.binomial(all_cells, hit / max(all_cells, 1), SAMPLES) / max(all_cells, 1)
        numbers[f"{group}ap{iou * 100:.0f}"] = interval(hit / all_cells, drawn) if all_cells else None
    dice = np.concatenate([s.dice for s in scores])
    drawn = rng.choice(dice, (SAMPLES, len(dice))).mean(axis=1) if len(dice) else dice
    numbers[f"{group}dice"] = interval(float(dice.mean()), drawn) if len(dice) else None
    return numbers


def ap_at(result: Result, group: str, iou: float) -> tuple[int, int]:
    """Matches, and all cells that AP counts: matches, missed cells and false cells.

    From an IoU of a half on, the partner of a match is the found cell that shares most voxels.
    """
    numbers = result.groups[group].numbers
    chosen = np.isin(result.cells.cell, result_ids(result, group))
    hit = int(np.count_nonzero(result.cells.iou[chosen] >= iou))
    return hit, int(numbers["true_cells"] or 0) + int(numbers["found_cells"] or 0) - hit


def result_ids(result: Result, group: str) -> NDArray[np.integer]:
    """True cells of a group."""
    ids, cut = result.cells.cell, border_ids(result.truth)
    return {"": ids, "uncut_": np.setdiff1d(ids, cut), "cut_": np.intersect1d(ids, cut)}[group]


def interval(value: float, drawn: NDArray[np.float64]) -> tuple[float, float, float]:
    """A number, and the bounds of 95 % of its samples."""
    low, high = np.percentile(drawn, (2.5, 97.5))
    return value, float(low), float(high)


def make_rows(results: list[Result], model: str, pooled: bool) -> Iterator[dict[str, str]]:
    """A row for each volume, or for each group of volumes; text, for tables and CSV."""
    names = dict.fromkeys((r.test.group if pooled else r.test.name, r.told) for r in results)
    for name, told in names:
        of = [r for r in results if r.told == told and name == (r.test.group if pooled else r.test.name)]
        numbers = {key: value for group in of[0].groups for key, value in pool(of, group).items()}
        diameters = sorted({f"{r.diameter:.3g}" for r in of if r.diameter}, key=float)
        yield {
            "model": Path(model).name,
            "volume": f"{name} ({len(of)})" if pooled and len(of) > 1 else name,
            "diameter": f"{told} {' to '.join(dict.fromkeys((diameters[0], diameters[-1])))}" if diameters else told,
            "cells": str(sum(len(r.cells.cell) for r in of)),
            "uncut": str(sum(len(result_ids(r, "uncut_")) for r in of)),
            **{c: "" if (v := numbers[c]) is None else f"{v[0]:.2f} ({v[1]:.2f}-{v[2]:.2f})" for c in COLUMNS},
        }


def write_tables(results: dict[str, list[Result]], out: Path) -> str:
    """Write the CSV and the Markdown table, and give the table."""
    each, pooled = (
        [row for model, of in results.items() for row in make_rows(of, model, together)] for together in (False, True)
    )
    with (out / "scores.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(each[0]))
        writer.writeheader()
        writer.writerows(each)
    lines = [list(pooled[0]), ["---"] * len(pooled[0]), *(list(row.values()) for row in pooled)]
    text = "\n".join(f"| {' | '.join(cell.replace('_', ' ') for cell in line)} |" for line in lines)
    (out / "table.md").write_text(text + "\n")
    return text


def draw_result(result: Result, target: Path) -> None:
    """Two planes through the middle: the image, with the outlines of the truth, and of what was found."""
    rows, aspects = [], []
    for axis in (0, 1):
        at = result.truth.shape[axis] // 2
        rows.append(outline(*(a.take(at, axis) for a in result.arrays), f"{'zyx'[axis]} = {at}"))
        aspects.append(result.scale[axis == 0] / result.scale[2])
    draw_rows(rows, aspects, target, result.test.name)


def outline(image: NDArray[np.generic], truth: NDArray[np.uint32], found: NDArray[np.uint32], title: str) -> list[Tile]:
    """The three pictures of a plane."""
    grey = colour_image(image)
    return [Tile(title, grey), Tile("truth", grey, truth), Tile("found", grey, found)]


def find_worst(results: list[Result], number: int) -> list[Piece]:
    """Pieces around true cells with the lowest mean Dice of the cells whose centres lie in them; none overlaps much."""
    pieces = []
    for result in results:
        ids = result.cells.cell.astype(np.int64)
        centres = np.array(ndimage.center_of_mass(result.truth > 0, result.truth, ids)).reshape(-1, 3)
        half = PIECE / 2 * result.diameter / np.array(result.scale)
        for centre in centres:
            inside = (np.abs(centres - centre) <= half).all(axis=1)
            if np.count_nonzero(inside) >= FEW_IN_PIECE:
                pieces.append(Piece(float(result.cells.dice[inside].mean()), result, centre, half))
    chosen: list[Piece] = []
    for piece in sorted(pieces, key=lambda piece: piece.dice):
        if all(p.result is not piece.result or (np.abs(p.centre - piece.centre) > p.half).any() for p in chosen):
            chosen.append(piece)
    return chosen[:number]


@dataclass(frozen=True)
class Piece:
    """A cube of `PIECE` diameters; ``centre`` and ``half`` its side in voxels, (3,)."""

    dice: float
    result: Result
    centre: NDArray[np.float64]
    half: NDArray[np.float64]

    def cut(self, axis: int) -> list[NDArray[np.generic]]:
        """The plane through the middle of image, truth and labels, in square pixels; 0 outside the volume."""
        shares = (np.arange(PIXELS) + 0.5) / PIXELS * 2 - 1
        at = self.centre[:, None] + self.half[:, None] * shares
        at[axis] = self.centre[axis]
        index = np.floor(at + 0.5).astype(int)
        outside = (index < 0) | (index >= np.array(self.result.truth.shape)[:, None])
        where = np.ix_(*np.where(outside, 0, index))
        lost = outside[0][:, None, None] | outside[1][:, None] | outside[2]
        return [np.where(lost, 0, array[where]).take(0, axis) for array in self.result.arrays]


def draw_worst(results: list[Result], number: int, target: Path) -> None:
    """The worst pieces, a row each: in a plane across z, then in one across y."""
    rows = []
    for n, piece in enumerate(find_worst(results, number), 1):
        z, y, x = (round(c) for c in piece.centre)
        title = f"{n}: {piece.result.test.name}, mean Dice {piece.dice:.2f}, z = {z}"
        rows.append([*outline(*piece.cut(0), title), *outline(*piece.cut(1), f"y = {y}, x around {x}")])
    if rows:
        draw_rows(rows, [1.0] * len(rows), target, target.parent.name)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--kind", choices=tuple(SIMULATED), help="what the models segment; default: from their names")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("scores"))
    parser.add_argument("--only", default="*", help="volumes FOLDER/NAME, or simulated, that match this pattern")
    parser.add_argument("--whole", action="store_true", help="score whole volumes, and one of 100 million voxels")
    parser.add_argument("--worst", type=int, default=5, help="pieces in the picture of the worst")
    arguments = parser.parse_args()
    results: dict[str, list[Result]] = {}
    for model in arguments.models:
        kind = arguments.kind or load_card(model).name
        if kind not in SIMULATED:
            parser.error(f"{model}: say --kind {' or '.join(SIMULATED)}")
        folder = arguments.out / re.sub(r"\W+", "_", Path(model).name)
        folder.mkdir(parents=True, exist_ok=True)
        own = results[model] = []
        for test in list_tests(kind, arguments.data, arguments.only, arguments.whole):
            for told in test.told:
                own.append(segment_and_score(test, told, model, folder, arguments.whole))
                print(*next(make_rows(own[-1:], model, pooled=False)).values(), sep=" | ", flush=True)
            draw_result(own[-len(test.told)], folder / f"{test.name}.jpg")
        real = [r for r in own if isinstance(r.test.source, Path) and r.told == "truth"]
        draw_worst(real, arguments.worst, folder / "worst.jpg")
    print("\n" + write_tables(results, arguments.out))


if __name__ == "__main__":  # worker processes import this file
    main()
