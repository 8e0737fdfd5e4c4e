"""The benchmark scores what it says, on volumes of which the right scores are known."""

import csv
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import bigcp3d
from bigcp3d import Tissue
from bigcp3d.pure.score.metrics import score_overlaps
from bigcp3d.pure.score.overlaps import count_overlaps

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def benchmark(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return __import__("benchmark_models")


def cubes(*, shift=0):
    """Eight cubes of 10 voxels a side; those of the first plane of four touch the border."""
    labels = np.zeros((30, 40, 40), np.uint32)
    for n, (z, y, x) in enumerate((z, y, x) for z in (0, 15) for y in (5, 25) for x in (5, 25)):
        labels[z : z + 10, y : y + 10, x + shift : x + 10 + shift] = n + 1
    return labels


def result_of(benchmark, found, truth, group="volume"):
    image = np.random.default_rng(0).integers(0, 100, truth.shape).astype(np.uint8)
    cells, groups = benchmark.score(found, truth)
    test = benchmark.Test(group, Path(f"{group}.zarr"))
    return benchmark.Result(test, "truth", 12.0, (1.0, 1.0, 1.0), image, truth, found, cells, groups)


def test_scores_are_those_of_the_package_and_cut_cells_stand_apart(benchmark):
    truth = cubes()
    found = cubes(shift=2)  # IoU 8 / 12
    found[truth == 8] = 0  # lost, but for what is too little
    found[found == 8] = 0
    found[0:4, 0:3, 0:3] = 99  # false, at the border
    result = result_of(benchmark, found, truth)
    numbers = {k: v for group in result.groups for k, v in benchmark.pool([result], group).items()}
    package = score_overlaps(count_overlaps(found, truth))
    assert numbers["ap50"][0] == package["ap50"] == 7 / 9
    assert numbers["ap75"][0] == 0
    assert numbers["dice"][0] == pytest.approx(package["mean_dice"])
    assert numbers["uncut_ap50"][0] == 3 / 4
    assert numbers["uncut_dice"][0] == pytest.approx(3 / 4 * 0.8)
    assert numbers["cut_dice"][0] == pytest.approx(0.8)
    assert numbers["cut_dice"][1:] == pytest.approx((0.8, 0.8))  # all are alike
    low, high = numbers["uncut_dice"][1:]
    assert low < 0.6 < high


def test_the_diameter_is_that_of_the_cells_that_no_border_cuts(benchmark, monkeypatch):
    monkeypatch.setattr(benchmark, "FEW_WHOLE", 4)
    truth = cubes()
    truth[2:15] = 0  # four pieces of 200 voxels at the border, and four cells of 1000
    ball = np.cbrt(6 / np.pi * 1000)
    assert benchmark.true_diameter(truth, (1.0, 1.0, 1.0)) == pytest.approx(ball)
    assert benchmark.true_diameter(truth, (2.0, 2.0, 2.0)) == pytest.approx(2 * ball)


def test_the_worst_pieces_are_apart_and_drawn(benchmark, tmp_path):
    truth = np.concatenate([cubes(), np.where(cubes() > 0, cubes() + 8, 0)], axis=2)
    found = np.where(truth >= 15, 0, truth)
    result = replace(result_of(benchmark, found, truth), diameter=15.0)
    first, *others = benchmark.find_worst([result], 5)
    assert first.centre[2] > 40
    assert all((np.abs(piece.centre - first.centre) > piece.half).any() for piece in others)
    assert [piece.dice for piece in (first, *others)] == sorted(piece.dice for piece in (first, *others))
    image, true, _ = first.cut(0)
    assert image.shape == true.shape == (benchmark.PIXELS, benchmark.PIXELS)
    benchmark.draw_worst([result], 2, tmp_path / "worst.jpg")
    assert (tmp_path / "worst.jpg").stat().st_size > 10_000


def test_the_part_that_was_held_out_is_scored_and_large_volumes_in_a_piece(benchmark, monkeypatch):
    image = SimpleNamespace(levels=[SimpleNamespace(shape=(16, 24, 48))])
    assert benchmark.scored_part(image, 0.5, True) == benchmark.Box((0, 0, 24), (16, 24, 48))
    monkeypatch.setattr(benchmark, "MOST", 1000)
    piece = benchmark.scored_part(image, 0.0, False)
    assert 1000 <= piece.size < 1500
    assert benchmark.scored_part(image, 0.0, True).size == 16 * 24 * 48


def test_a_model_is_scored_on_a_folder_of_volumes(benchmark, monkeypatch, tmp_path, capsys):
    def without_estimate(test, told, *arguments):
        if told == "estimated":
            raise bigcp3d.InputError("nothing is found")
        return choose(test, told, *arguments)

    choose = benchmark.choose_diameter
    monkeypatch.setattr(benchmark, "choose_diameter", without_estimate)
    bigcp3d.simulate(tmp_path / "nuclei" / "small.zarr", Tissue((24, 40, 40), 12.0, "nuclei", noise=0.05))
    command = ["benchmark_models.py", "nuclei", "--data", tmp_path, "--only", "nuclei/*", "--out", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", [*map(str, command)])
    benchmark.main()
    shown = capsys.readouterr()
    assert "nothing is found" in shown.err
    with (tmp_path / "out" / "scores.csv").open() as file:
        told, estimated = csv.DictReader(file)
    assert (told["volume"], told["diameter"].split()[0], estimated["diameter"]) == ("small", "truth", "estimated")
    assert float(told["ap50"].split()[0]) > 0.5
    assert estimated["ap50"].startswith("0.00 ")
    assert shown.out.endswith((tmp_path / "out" / "table.md").read_text())
    assert (tmp_path / "out" / "nuclei" / "small.jpg").exists()
