"""``bigcp3d sweep`` writes a table and a picture of its trials, best first, and nothing else."""

from __future__ import annotations

import csv
import shlex
import shutil
from pathlib import Path

import pytest
from matplotlib.image import imread
from typer.testing import CliRunner

from bigcp3d.face.cli import app
from bigcp3d.face.commands.sweep import _as_csv, _read_values
from bigcp3d.face.pictures.sweep_picture import MOST_TILES
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.work.simulate import simulate


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sweep") / "nuclei.zarr"
    simulate(path, Tissue((20, 40, 48), 14.0, "nuclei", seed=3))
    return path


MODEL = ("--model", "nuclei", "--diameter", "14")  # so that nothing is estimated


def run(*words):
    return CliRunner().invoke(app, ["sweep", *map(str, words)])


def rows_of(folder):
    with (folder / "sweep.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_table_and_a_picture_are_written_with_the_best_first(store, tmp_path):
    before = set(store.parent.rglob("*"))
    out = tmp_path / "deep" / "out"
    asked = (*MODEL, "--roi", "2:18,4:36,:", "--foreground", "0.99,0.5", "--min-volume", "5,100,9000")
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
    assert f"1: foreground {float(rows[0]['foreground']):g}" in done.stdout.splitlines()[1]
    assert sorted(path.name for path in out.iterdir()) == ["sweep.csv", "sweep.png"]
    picture = imread(out / "sweep.png")
    assert picture.shape[1] > 1500, "four columns"
    assert ((picture[..., 0] > 0.95) & (picture[..., 2] < 0.05)).sum() > 1000, "yellow outlines"
    assert set(store.parent.rglob("*")) == before
    again = run(store, *asked, "--output", out)
    assert again.exit_code == 3
    assert "give --overwrite to replace it, or another folder with --output DIR" in " ".join(again.output.split())
    done = run(store, *MODEL, "--output", out, "--overwrite", "--quiet")
    assert done.exit_code == 0, done.output
    assert [row["foreground"] for row in rows_of(out)] == ["0.5"], "one trial where nothing is varied"
    assert "mean_dice" not in rows_of(out)[0]
    assert "best" not in done.stdout, "without a truth"


def test_what_is_the_same_in_all_trials_is_left_out_and_equal_labels_are_drawn_once(store, tmp_path):
    asked = ("--roi", ":,0:20,0:24", "--foreground", "0.5", "--min-volume", "3,1,2", "--max-elongation", "40,50")
    done = run(store, *MODEL, *asked, "--truth", "truth", "--output", tmp_path / "o")
    assert done.exit_code == 0, done.output
    rows = rows_of(tmp_path / "o")
    assert list(rows[0]) == ["trial", "min_volume", "max_elongation", "same_labels_as"], "no more columns differ"
    assert [row["same_labels_as"] for row in rows] == ["", *"11111"]
    assert "2: min volume 3, max elongation 50: the same labels as trial 1" in done.stdout
    same = done.stdout.partition("the same in all: ")[2].splitlines()[0].split(", ")
    assert "foreground 0.5" in same
    assert any(each.startswith("cells ") for each in same)
    assert "true cells" in done.stdout
    assert "the region holds only" in " ".join(done.stderr.split())
    one, other = imread(tmp_path / "o" / "sweep.png").shape[1], 1000
    assert one < other, "two columns: the truth and one tile"


def test_the_best_setting_is_a_command_to_paste(store, tmp_path):
    from bigcp3d.edge.image.image import open_labels

    image = tmp_path / "my nuclei.zarr"
    shutil.copytree(store, image)
    asked = ("--model", "nuclei", "--diameter", "14,60", "--closing", "2,5", "--foreground", "0.45", "--channel", "0")
    done = run(image, *asked, "--truth", store, "--roi", ":,0:32,0:32", "--output", tmp_path / "o")
    assert done.exit_code == 0, done.output
    assert [row["diameter_um"] for row in rows_of(tmp_path / "o")[-2:]] == ["60.0", "60.0"]
    words = shlex.split(done.stdout.splitlines()[-1].removeprefix("best, for the whole volume: "))
    assert words[:3] == ["bigcp3d", "segment", str(image)]
    told = dict(zip(words[3::2], words[4::2], strict=True))
    closing = told.pop("--closing")
    assert closing in "25"
    assert told == {"--diameter": "14", "--model": "nuclei", "--foreground": "0.45", "--channel": "0"}
    assert CliRunner().invoke(app, [*words[1:], "--serial", "--quiet"]).exit_code == 0
    assert open_labels(image, "cells")
    again = run(image, *MODEL, "--truth", store, "--roi", ":,0:20,0:24", "--output", tmp_path / "o", "--overwrite")
    assert "--name best" in again.stdout.splitlines()[-1], "labels that are there are not replaced"


def test_trials_without_truth_stay_in_their_order_and_a_few_are_drawn(store, tmp_path):
    volumes = ",".join(map(str, range(MOST_TILES + 4, 0, -1)))
    done = run(store, *MODEL, "--roi", ":,0:20,0:24", "--min-volume", volumes, "--output", tmp_path / "o")
    assert done.exit_code == 0, done.output
    assert [float(row["min_volume"]) for row in rows_of(tmp_path / "o")] == list(range(MOST_TILES + 4, 0, -1))
    assert "and 18 more" in done.stdout
    assert "in the order of their settings" in done.stdout


def test_values_may_stand_in_one_option_or_in_several(store, tmp_path):
    words = ("--foreground", "0.3,0.4", "--foreground", "0.5", "--roi", ":,0:20,0:24", "--output", tmp_path / "o")
    assert run(store, *MODEL, *words).exit_code == 0
    assert [float(row["foreground"]) for row in rows_of(tmp_path / "o")] == [0.3, 0.4, 0.5]


def test_a_diameter_may_be_as_is():
    assert _read_values("diameter_um", "as-is, 6,6") == [6.0, "as-is"]
    assert _read_values("diameter_um", "as-is") == ["as-is"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--model", "nuclei", "--diameter", "as-it"], 2, "--diameter is 'as-it'; write numbers"),
        (["--foreground", "0.3;0.5", *MODEL], 2, "--foreground is '0.3;0.5'; write numbers with commas"),
        (["--radius", "5,99", *MODEL], 2, "use at most 42"),
        (["--closing", "2,2.5", *MODEL], 2, "write whole numbers with commas between them"),
        (["--model", "nuclei", "--diameter", "8", "--diameter-voxels", "9"], 2, "leave one out"),
        (["--roi", "90:99,:,:", *MODEL], 2, "holds no voxel"),
        (["--truth", "none", *MODEL], 2, "there are no labels 'none'"),
        (["--from", "maps", *MODEL], 2, "no kept maps"),
    ],
)
def test_bad_input_is_refused_and_nothing_written(store, tmp_path, words, code, message):
    done = run(store, "--output", tmp_path / "out", *words)
    assert done.exit_code == code
    assert message in " ".join(done.output.split())
    assert not (tmp_path / "out").exists()


def test_the_table_is_in_utf_8():
    assert _as_csv([{"trial": 1, "prepare": "µ"}]) == "trial,prepare\n1,µ\n".encode()
