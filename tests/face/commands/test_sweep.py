"""``bigcp3d sweep`` writes a table and a picture of its trials, best first, and nothing else."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from matplotlib.image import imread
from typer.testing import CliRunner

from bigcp3d.face.cli import app
from bigcp3d.face.pictures.sweep_picture import MOST_TILES
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.work.simulate import simulate


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sweep") / "nuclei.zarr"
    simulate(path, Tissue((20, 40, 48), 14.0, "nuclei", seed=3))
    return path


def run(*words):
    return CliRunner().invoke(app, ["sweep", *map(str, words)])


def rows_of(folder):
    with (folder / "sweep.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_table_and_a_picture_are_written_with_the_best_first(store, tmp_path):
    before = set(store.parent.rglob("*"))
    out = tmp_path / "deep" / "out"
    asked = ("--model", "nuclei", "--roi", "2:18,4:36,:", "--foreground", "0.99,0.5", "--min-volume", "5,100,9000")
    done = run(store, *asked, "--truth", "truth", "--output", out)
    assert done.exit_code == 0, done.output
    rows = rows_of(out)
    assert {(row["foreground"], row["min_volume"]) for row in rows} == {
        (f, v) for f in ("0.99", "0.5") for v in ("5.0", "100.0", "9000.0")
    }
    scores = [sum(float(row[name] or 0) for name in ("mean_dice", "ap50")) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.8 > scores[-1]
    assert "6 trials in a region of 16 x 32 x 48 voxels" in done.stdout
    assert f"foreground {float(rows[0]['foreground']):g}" in done.stdout.splitlines()[1]
    assert sorted(path.name for path in out.iterdir()) == ["sweep.csv", "sweep.png"]
    picture = imread(out / "sweep.png")
    assert picture.shape[1] > 1500, "four columns"
    assert ((picture[..., 0] > 0.95) & (picture[..., 2] < 0.05)).sum() > 1000, "yellow outlines"
    assert set(store.parent.rglob("*")) == before
    again = run(store, *asked, "--output", out)
    assert again.exit_code == 3
    assert "--overwrite" in again.output
    done = run(store, "--model", "nuclei", "--output", out, "--overwrite", "--quiet")
    assert done.exit_code == 0, done.output
    assert [row["foreground"] for row in rows_of(out)] == ["0.5"], "one trial where nothing is varied"
    assert "mean_dice" not in rows_of(out)[0]


def test_trials_without_truth_stay_in_their_order_and_a_few_are_drawn(store, tmp_path):
    volumes = ",".join(map(str, range(MOST_TILES + 4, 0, -1)))
    done = run(store, "--model", "nuclei", "--roi", ":,0:20,0:24", "--min-volume", volumes, "--output", tmp_path / "o")
    assert done.exit_code == 0, done.output
    assert [float(row["min_volume"]) for row in rows_of(tmp_path / "o")] == list(range(MOST_TILES + 4, 0, -1))
    assert "and 18 more" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--foreground", "0.3;0.5"], 2, "foreground is '0.3;0.5'; write numbers with commas"),
        (["--radius", "5,99"], 2, "42 is the largest"),
        (["--roi", "90:99,:,:"], 2, "holds no voxel"),
        (["--truth", "none"], 2, "there are no labels 'none'"),
        (["--from", "maps"], 2, "no kept maps"),
    ],
)
def test_bad_input_is_refused_and_nothing_written(store, tmp_path, words, code, message):
    done = run(store, "--model", "nuclei", "--output", tmp_path / "out", *words)
    assert done.exit_code == code
    assert message in " ".join(done.output.split())
    assert not (tmp_path / "out").exists()
