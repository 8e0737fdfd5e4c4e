"""``bigcp3d evaluate``: the table, the files, the picture, and what is refused before a voxel is read."""

import csv
import itertools
import json
import logging
import re

import numpy as np
import pytest
import tifffile
import zarr
from matplotlib.figure import Figure
from typer.testing import CliRunner

from bigcp3d.face.cli import app
from bigcp3d.face.pictures.evaluate_picture import box_stats, draw_evaluation, median_by_volume, write_numbers
from bigcp3d.schedule.evaluate import evaluate
from tests.work.conftest import _write_labels as write_labels


@pytest.fixture
def run():
    """Run a command line in this process; its exit code, stdout and stderr."""
    yield lambda *words: CliRunner().invoke(app, ["evaluate", *map(str, words)], env={"COLUMNS": "100"})
    logger = logging.getLogger("bigcp3d")
    logger.setLevel(logging.NOTSET)
    logger.handlers.clear()


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A prediction and a truth of 64 cells, some shifted, one missed."""
    z, y, x = np.indices((16, 32, 32))
    truth = (1 + z // 4 + 10 * (y // 8) + 100 * (x // 8)).astype(np.uint32)
    pred = np.roll(truth, 1, axis=2)
    pred[:, 16:] = truth[:, 16:]
    pred[truth == 1] = 0
    folder = tmp_path_factory.mktemp("stores")
    return write_labels(folder / "p", pred), write_labels(folder / "t", truth)


def test_the_table_and_the_files_hold_the_numbers_of_the_library(run, stores, tmp_path):
    files = [tmp_path / name for name in ("cells.csv", "n.json", "p.png", "false.csv")]
    words = zip(("--csv", "--json", "--picture", "--false-csv"), files, strict=True)
    done = run(*stores, "--blocks", 16, 32, 12, "--min-cell-vox", 5, *(word for pair in words for word in pair))
    assert done.exit_code == 0, done.output
    expected = evaluate(*stores, blocks=(16, 32, 12), min_cell_vox=5)
    assert json.loads(files[1].read_text()) == expected.as_json()
    rows = list(csv.DictReader(files[0].read_text().splitlines()))
    assert list(rows[0]) == list(expected.columns())
    assert [float(row["dice"]) for row in rows] == pytest.approx(expected.dice, abs=1e-6)
    assert [int(row["at_seam"]) for row in rows] == expected.at_seam.astype(int).tolist()
    assert 0.5 < np.mean([float(row["dice"]) for row in rows]) < 1
    assert files[2].read_bytes().startswith(b"\x89PNG")
    false = list(csv.DictReader(files[3].read_text().splitlines()))
    assert [int(row["cell"]) for row in false] == expected.false_cells["cell"].tolist() != []
    table = {line.strip().split("  ")[0]: line.split()[-3:] for line in done.stdout.splitlines()}
    for words, key in (("Dice, mean", "mean_dice"), ("AP at IoU 0.5", "ap50"), ("SEG", "seg")):
        assert table[words] == [f"{scores.numbers[key]:.3f}" for scores in expected.groups.values()]
    assert table["true cells"] == [str(scores.numbers["true_cells"]) for scores in expected.groups.values()]


def test_without_files_nothing_is_written(run, stores, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "at seams" not in run(*stores).stdout
    assert list(tmp_path.iterdir()) == []


def test_the_list_of_many_cells_is_whole(tmp_path, monkeypatch):
    from bigcp3d.edge.cell_tables import cell_files

    monkeypatch.setattr(cell_files, "ROWS", 7)
    cell_files.write_cell_list(tmp_path / "c.csv", {"a": np.arange(30), "b": np.arange(30) / 3, "c": np.ones(30, bool)})
    rows = list(csv.reader((tmp_path / "c.csv").read_text().splitlines()))
    assert rows[0] == ["a", "b", "c"]
    assert [row[0] for row in rows[1:]] == [str(k) for k in range(30)]
    assert rows[2] == ["1", "0.333333333", "1"]


@pytest.mark.parametrize("option", ["--csv", "--json", "--picture"])
def test_a_file_that_is_there_is_kept_unless_asked(run, stores, tmp_path, option):
    file = tmp_path / "thesis.png"
    file.write_text("years of work")
    done = run(*stores, option, file)
    assert done.exit_code == 3
    assert "--overwrite" in done.stderr
    assert file.read_text() == "years of work"
    assert run(*stores, option, file, "--overwrite").exit_code == 0
    assert file.read_bytes() != b"years of work"
    assert run(*stores, option, tmp_path, "--overwrite").exit_code == 3
    twice = run(*stores, option, file, "--false-csv", file, "--overwrite")
    assert (twice.exit_code, "was given for two results" in twice.stderr) == (2, True)


def test_a_picture_of_another_kind_is_refused(run, stores, tmp_path):
    done = run(*stores, "--picture", tmp_path / "p.gif")
    assert done.exit_code == 2
    assert ".png" in done.stderr


def test_blocks_without_size_are_refused(run, stores):
    assert run(*stores, "--blocks", 8, 0, 8).exit_code == 2


def test_a_box_spans_the_quartiles_and_its_whiskers_90_percent(stores):
    scores = evaluate(*stores).whole
    box = box_stats("all", scores)
    spread = [box[key] for key in ("whislo", "q1", "med", "q3", "whishi")]
    assert spread == pytest.approx(np.percentile(scores.dice, [5, 25, 50, 75, 95]))
    assert box["mean"] == pytest.approx(scores.dice.mean())


def test_the_median_follows_the_volume():
    volume, dice = np.array([4, 7, 8, 15, 64]), np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    volumes, medians = median_by_volume(volume, dice)
    assert medians == pytest.approx([0.2, 0.6, 0.9])
    assert volumes == [5.5, 11.5, 64]


@pytest.mark.parametrize(("low", "high"), [(300, 3000), (1, 10), (1, 9000), (5, 2e7), (800, 900)])
def test_a_logarithmic_axis_has_whole_numbers_that_do_not_touch(low, high):
    figure = Figure(figsize=(4.2, 4.2))
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    write_numbers(axes.xaxis, low, high)
    figure.draw_without_rendering()
    labels = [label for label in axes.get_xticklabels() if label.get_text() and low <= label.get_position()[0] <= high]
    assert all(re.fullmatch(r"[1-9][\d,]*M?", label.get_text()) for label in labels)
    assert len(labels) >= 1 or high < 2 * low
    boxes = sorted((box.x0, box.x1) for box in (label.get_window_extent() for label in labels))
    assert all(before[1] < after[0] for before, after in itertools.pairwise(boxes))
    assert not any(label.get_text() for label in axes.get_xticklabels(minor=True))


def test_the_picture_is_drawn_where_there_are_no_cells(tmp_path):
    empty = write_labels(tmp_path / "e", np.zeros((4, 4, 4), np.uint8))
    draw_evaluation(evaluate(empty, empty, blocks=(2, 2, 2)), tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_the_truth_may_be_an_array_an_image_or_a_tiff(run, stores, tmp_path):
    truth = np.asarray(zarr.open_array(stores[1] / "0", mode="r")[...])
    zarr.create_array(tmp_path / "array.zarr", data=truth, chunks=(7, 9, 11))
    image = write_labels(tmp_path / "image.zarr", truth)
    group = zarr.open_group(image)
    group.attrs["ome"] = {name: value for name, value in group.attrs["ome"].items() if name != "image-label"}
    tifffile.imwrite(tmp_path / "truth.tif", truth, photometric="minisblack")
    right = run(*stores, "--json", tmp_path / "right.json")
    assert right.exit_code == 0
    for name in ("array.zarr", "image.zarr", "truth.tif"):
        done = run(stores[0], tmp_path / name, "--json", tmp_path / f"{name}.json")
        assert done.exit_code == 0, done.output
        assert (tmp_path / f"{name}.json").read_bytes() == (tmp_path / "right.json").read_bytes()
