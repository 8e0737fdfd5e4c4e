"""``bigcp3d train`` hands its options to the library, with the library's defaults, and draws what it learned."""

import csv
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.image import imread
from typer.testing import CliRunner

import bigcp3d.work.train.train as module
from bigcp3d.face.cli import app
from bigcp3d.face.commands.train import describe_use
from bigcp3d.face.pictures.learning_curve_picture import draw_curve, picture_of, read_curve, try_to_draw
from bigcp3d.work.train.fit import Trained
from bigcp3d.work.train.settings import TrainSettings

ALL = (
    "train a.zarr b.zarr::cells --output m.safetensors --labels-name t --channel 1 --channel DAPI --diameter 9 "
    "--painted p.zarr --from-edits e.zarr --validation v --simulate nuclei --start membrane --holdout-x 0.2 "
    "--min-cell 9 --name n "
    "--description d --representation heat --diameter-voxels 20 --tanh-scale 5 --architecture half --features 8 "
    "--depth 3 --steps 7 --patch 16 32 32 --batch 1 --learning-rate 0.01 --seed 4 --every 5 --keep last --patience 3 "
    "--workers 2 --balance 0.5 --cache c --cache-gb 3 --repeat 4 --samples-only "
    "--device cpu --precision float32 --resume --overwrite"
)


@pytest.fixture
def run():
    return CliRunner().invoke


def draws(observer, folder):
    """The observer of a training draws the curve that an event names."""
    curve = folder / "m.losses.csv"
    write(curve, ["step", "foreground", "flow"], [[1, 0.5, 0.5]])
    observer(SimpleNamespace(curve=curve))
    assert picture_of(curve).stat().st_size > 1000


def test_every_option_reaches_the_library(run, monkeypatch, tmp_path):
    calls = []
    record = SimpleNamespace(train=lambda *given, **options: calls.append((given, options)) or Path("m.safetensors"))
    monkeypatch.setitem(sys.modules, "bigcp3d.work.train.train", record)
    done = run(app, ALL.split())
    assert done.exit_code == 0, done.output
    given, options = calls[0]
    assert not given
    draws(options.pop("on_event"), tmp_path)
    assert options == {
        "volumes": ("a.zarr", "b.zarr::cells"), "output": "m.safetensors",
        "painted": ("p.zarr",), "from_edits": ("e.zarr",),
        "validation": ("v",), "holdout_x": 0.2, "labels_name": "t", "simulate": "nuclei",
        "channel": ("1", "DAPI"),
        "diameter_um": 9.0, "start": "membrane", "name": "n", "description": "d",
        "representation": "heat", "diameter_vox": 20.0, "tanh_scale_vox": 5.0, "architecture": "half", "features": 8,
        "depth": 3, "steps": 7, "patch": (16, 32, 32), "batch": 1, "learning_rate": 0.01, "seed": 4, "min_cell_vox": 9,
        "every": 5, "keep": "last", "patience": 3, "workers": 2, "device": "cpu", "precision": "float32",
        "balance": 0.5, "resume": True, "overwrite": True,
        "cache": "c", "cache_gb": 3.0, "repeat": 4, "samples_only": True,
    }  # fmt: skip
    assert "m.losses.png" in done.stdout


def test_defaults_are_those_of_the_library(run, monkeypatch):
    calls = []
    monkeypatch.setattr(module, "train", lambda **options: calls.append(options) or Path(options["output"]))
    assert run(app, ["train", "a.zarr", "--output", "m.safetensors"]).exit_code == 0
    del calls[0]["on_event"]
    assert TrainSettings(**calls[0]) == TrainSettings(volumes=("a.zarr",), output="m.safetensors")


def test_a_resumed_training_gets_only_the_options_that_were_typed(run, monkeypatch):
    calls = []
    monkeypatch.setattr(module, "train", lambda **options: calls.append(options) or Path(options["output"]))
    done = run(app, ["train", "--output", "m.safetensors", "--resume", "--steps", "2000", "--channel", "1"])
    assert done.exit_code == 0, done.output
    del calls[0]["on_event"]
    assert calls == [{"volumes": (), "output": "m.safetensors", "resume": True, "steps": 2000, "channel": ("1",)}]


def trained(diameters, channels=(0,)):
    return Trained({}, Path("m.csv"), Path("my models/m.safetensors"), diameters, channels)


@pytest.mark.parametrize(
    ("diameters", "channels", "options"),
    [
        ({"a": (8.1234, True)}, (0,), "--diameter 8.12 --model 'my models/m.safetensors'"),
        ({"a": (8.0, True), "b": (8.4, True)}, (1, 0), "--diameter 8.2 --model ... --channel 1 --channel 0"),
        ({"a": (14.0, False)}, (), "--diameter-voxels 14 --model ..."),
        ({}, (0,), "--model ..."),
    ],
)
def test_the_end_names_the_command_that_uses_the_model(diameters, channels, options):
    (line,) = describe_use(trained(diameters, channels))
    assert (
        line
        == f"use it: bigcp3d segment IN.zarr {options.replace('...', chr(39) + 'my models/m.safetensors' + chr(39))}"
    )


def test_volumes_of_other_diameters_are_named():
    lines = describe_use(trained({"a.zarr": (8.0, True), "b.zarr": (15.5, True)}))
    assert "--diameter 11.8" in lines[0]
    assert lines[1] == "its volumes had cells of 8 um in a.zarr, 15.5 um in b.zarr; give the diameter of yours"


def test_training_on_nothing_is_refused(run):
    done = run(app, ["train", "--output", "m.safetensors"])
    assert done.exit_code == 2
    assert "nothing to learn from" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--keep", "first"], "keep"),
        (["--simulate", "nuclei", "--patch", "16", "20", "20"], "multiples of 8"),
        (["--simulate", "nuclei", "--workers", "-1"], "workers is -1"),
        (["--simulate", "nuclei", "--every", "0"], "every is 0"),
        (["--simulate", "nuclei", "--device", "tpu"], "device is 'tpu'"),
        (["no.zarr"], "no.zarr"),
    ],
)
def test_what_cannot_be_is_refused_in_one_message_before_anything_is_written(run, tmp_path, options, message):
    done = run(app, ["train", *options, "--output", str(tmp_path / "m.safetensors")])
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def write(table, columns, rows):
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


@pytest.mark.parametrize("scores", [True, False])
def test_the_learning_curve_is_drawn_beside_it(tmp_path, scores):
    table = tmp_path / "m.losses.csv"
    columns = ["step", "foreground", "flow", *(["val_dice_cells", "val_ap50"] if scores else [])]
    rows = [[n * 10, 1 / n, 0.5 / n, *([0.1 * n, 0.08 * n] if scores else [])] for n in range(1, 6)]
    write(table, columns, rows)
    assert [row["step"] for row in read_curve(table)] == [10, 20, 30, 40, 50]
    assert picture_of(table) == tmp_path / "m.losses.png"
    try_to_draw(table)
    picture = imread(tmp_path / "m.losses.png")
    assert picture.shape[0] > (500 if scores else 200)
    assert len(np.unique((picture[..., :3] * 7).astype(int).reshape(-1, 3), axis=0)) > 5  # lines of several colours
    changed = [[*row[:2], 2 * row[2], *row[3:]] for row in rows]
    write(table, columns, changed)
    draw_curve(table, tmp_path / "other.png")
    assert not np.array_equal(imread(tmp_path / "other.png"), picture)


def test_a_picture_that_cannot_be_written_does_not_end_a_training(tmp_path, caplog):
    table = tmp_path / "m.losses.csv"
    write(table, ["step", "foreground", "flow"], [[1, 0.5, 0.5]])
    picture_of(table).mkdir()
    try_to_draw(table)
    assert "could not be drawn" in caplog.text
