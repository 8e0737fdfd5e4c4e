"""From an ImageJ hyperstack to labels, a table, a picture and a file, with commands alone."""

import csv
import json

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.face.cli import app
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.tissue.tissue import render
from bigcp3d.pure.tissue.tissue_settings import Tissue

SHAPE = (20, 48, 56)
NUCLEI = ("--channel", "1", "--model", "nuclei", "--diameter", "7", "--serial")


def run(*words):
    return CliRunner().invoke(app, [*map(str, words)])


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """A hyperstack of noise and nuclei, of 1 x 0.5 x 0.5 micrometres."""
    nuclei, _ = render(Tissue(SHAPE, 14.0, "nuclei", seed=2, scale=(2.0, 1.0, 1.0)), Box.of_shape(SHAPE))
    noise = np.random.default_rng(0).integers(0, 200, SHAPE).astype(nuclei.dtype)
    said = {"axes": "ZCYX", "spacing": 1.0, "unit": "micron"}
    path = tmp_path_factory.mktemp("data") / "stack.tif"
    tifffile.imwrite(path, np.stack([noise, nuclei], axis=1), imagej=True, resolution=(2, 2), metadata=said)
    return path


def link(stack, folder):
    """The same file in a folder of its own."""
    (folder / "stack.tif").hardlink_to(stack)
    return folder / "stack.tif"


def test_faults_of_a_converted_image_are_warnings_which_quiet_leaves_out(stack, tmp_path):
    words = ("convert", stack, "--scale", "10", "0.5", "0.5")
    assert "times as long on one axis" in " ".join(run(*words, tmp_path / "a.zarr").stderr.split())
    assert run(*words, tmp_path / "b.zarr", "--quiet").stderr == ""


def test_three_commands_lead_to_labels_a_table_and_a_picture(stack, tmp_path):
    stack, store = link(stack, tmp_path), tmp_path / "stack.zarr"
    done = run("convert", stack, store)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{store}: 20 x 48 x 56 voxels (z y x) of 1 x 0.5 x 0.5 um, 2 channels (channel 0, ")
    assert "WARNING" not in done.stderr
    done = run("segment", store, *NUCLEI)
    assert done.exit_code == 0, done.output
    assert open_labels(store, "cells").levels[0].scale_um == (1.0, 0.5, 0.5)
    assert f"table: {tmp_path}/stack.cells.csv\n" in done.stdout
    assert len(list(csv.DictReader((tmp_path / "stack.cells.csv").read_text().splitlines()))) > 3
    done = run("info", store)
    assert "labels/cells" in done.stdout
    assert (tmp_path / "stack.cells.report.html").stat().st_size > 10_000
    done = run("export", store, tmp_path / "cells.tif")
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == f"{tmp_path}/cells.tif: 20 x 48 x 56 voxels (z y x) of 1 x 0.5 x 0.5 um, uint16"
    labels = read_box(open_labels(store, "cells"), 0, Box.of_shape(SHAPE))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "cells.tif"), labels)


def test_the_table_of_the_run_never_replaces_a_file_that_nobody_named(stack, tmp_path):
    store, table = tmp_path / "stack.zarr", tmp_path / "stack.cells.csv"
    run("convert", link(stack, tmp_path), store)
    command = ("segment", store, *NUCLEI, "--no-report")
    table.write_text("mine")
    done = run(*command)
    assert done.exit_code == 3, done.output
    for words in (f"{table}: this file exists already", "--overwrite", "--table FILE.csv", "--table none"):
        assert words in " ".join(done.stderr.split())
    assert not (store / "labels").exists()
    done = run(*command, "--table", "none")
    assert done.exit_code == 0, done.output
    assert table.read_text() == "mine"
    assert "table:" not in done.stdout
    assert "labels/cells" in run(*command).stderr  # the labels are told before their table
    done = run(*command, "--overwrite")
    assert done.exit_code == 0, done.output
    assert table.read_text().startswith("label,")


@pytest.mark.slow
def test_segment_needs_no_option_but_the_channel(tmp_path):
    """Model and diameter are estimated: half a minute of work."""
    shape = (30, 96, 112)
    nuclei, membrane = (
        render(Tissue(shape, 16.0, stain, seed=2, scale=(2.0, 1.0, 1.0)), Box.of_shape(shape))[0]
        for stain in ("nuclei", "membrane")
    )
    said = {"axes": "ZCYX", "spacing": 1.0, "unit": "micron"}
    stack, store = tmp_path / "stack.tif", tmp_path / "stack.zarr"
    tifffile.imwrite(stack, np.stack([membrane, nuclei], axis=1), imagej=True, resolution=(2, 2), metadata=said)
    done = run("convert", stack, store)
    assert done.exit_code == 0, done.output
    done = run("segment", store, "--channel", "1")
    assert done.exit_code == 0, done.output
    assert "model nuclei" in done.stderr
    labels = open_labels(store, "cells")
    assert labels.levels[0].scale_um == (1.0, 0.5, 0.5)
    rows = list(csv.DictReader((tmp_path / "stack.cells.csv").read_text().splitlines()))
    assert len(rows) == read_box(labels, 0, Box.of_shape(shape)).max() > 20
    inside = [float(row["equivalent_diameter_um"]) for row in rows if row["touches_border"] == "0"]
    assert 6 < np.median(inside) < 10
    assert (tmp_path / "stack.cells.report.html").stat().st_size > 10_000


def test_segment_converts_beside_the_file_and_goes_on(stack, tmp_path):
    stack = link(stack, tmp_path)
    first = run("segment", stack, *NUCLEI, "--no-report")
    assert first.exit_code == 0, first.output
    said = " ".join(first.stderr.split())
    assert f"{stack} is no OME-Zarr folder; it is converted once, to {tmp_path}/stack.zarr" in said
    run("convert", stack, tmp_path / "other.zarr")
    done = run("segment", tmp_path / "other.zarr", *NUCLEI, "--no-report")
    assert done.exit_code == 0, done.output
    both = [
        read_box(open_labels(tmp_path / name, "cells"), 0, Box.of_shape(SHAPE)) for name in ("stack.zarr", "other.zarr")
    ]
    np.testing.assert_array_equal(*both)
    again = run("segment", stack, *NUCLEI, "--no-report", "--name", "again", "--json")
    assert again.exit_code == 0, again.output
    assert "was converted earlier" in again.stderr
    events = [json.loads(line) for line in again.stdout.splitlines()]
    assert events[-1]["event"] == "finished"
    assert open_image(tmp_path / "stack.zarr").label_names == ("cells", "again")


def test_wrong_options_are_refused_before_anything_is_converted(stack, tmp_path):
    stack = link(stack, tmp_path)
    assert run("segment", stack, "--diameter", "-3").exit_code == 2
    assert run("segment", stack, "--dry-run").exit_code == 2
    told = run("segment", stack, "--dry-run", "--scale", "2", ".5", ".5").stderr
    assert f"bigcp3d convert {stack} {tmp_path / 'stack.zarr'} --scale 2 0.5 0.5" in " ".join(told.split())
    assert [path.name for path in tmp_path.iterdir()] == ["stack.tif"]


def test_errors_of_a_conversion_are_events_too(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 8, 9), "uint16"), photometric="minisblack")
    done = run("segment", tmp_path / "a.tif", "--json")
    assert done.exit_code == 2
    event = json.loads(done.stdout)
    assert (event["event"], event["exit_code"]) == ("error", 2)
    assert "give --scale Z Y X in micrometres" in event["message"]
    said = run("info", tmp_path / "a.tif").stdout
    assert "axes z,y,x" in said
    assert "the file does not say that its planes lie along z; if not, give --axes" in said
    assert said.endswith(f"to convert it: bigcp3d convert {tmp_path / 'a.tif'} --scale Z Y X\n")
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((3, 4, 8, 9), "uint16"), photometric="minisblack")
    said = run("info", tmp_path / "b.tif").stdout
    assert said.endswith(f"to convert it: bigcp3d convert {tmp_path / 'b.tif'} --axes AXES --scale Z Y X\n")
    planes = {"imagej": True, "resolution": (2, 2), "metadata": {"axes": "ZYX", "unit": "um"}}  # without a spacing
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((4, 8, 9), "uint16"), **planes)
    said = run("info", tmp_path / "c.tif").stdout
    assert "voxel size in um: y 0.5, x 0.5, the rest is not in the file; give --scale\n" in said
    assert said.endswith(f"to convert it: bigcp3d convert {tmp_path / 'c.tif'} --scale Z Y X\n")


def test_info_shows_what_would_be_read(stack, tmp_path):
    stack = link(stack, tmp_path)
    done = run("info", stack)
    assert done.exit_code == 0, done.output
    for words in ("an ImageJ hyperstack, 20 x 2 x 48 x 56 of uint16", "axes z,c,y,x", "z 1, y 0.5, x 0.5"):
        assert words in done.stdout
    assert f"to convert it: bigcp3d convert {stack}" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["stack.tif"]
    run("convert", stack)
    assert run("info", stack).stdout.startswith(f"{tmp_path}/stack.zarr\n")


def test_convert_says_what_it_lacks(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 4, 8, 9), "uint16"), photometric="minisblack")
    for options, message in (
        ((), "give --axes with a letter for each"),
        (("--axes", "czyx"), "give --scale Z Y X in micrometres"),
        (("--axes", "czyx", "--scale", "1", "1", "1", "--format", "0.9"), "use '0.4' or '0.5' or '0.6'"),
        (("--axes", "czyx", "--scale", "1", "1", "1", "--channels", "a,b"), "give 3 different names"),
    ):
        done = run("convert", tmp_path / "a.tif", tmp_path / "a.zarr", *options)
        assert done.exit_code == 2
        assert message in " ".join(done.stderr.split())
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
    options = ("--axes", "czyx", "--scale", "2", "1", "1", "--channels", "a,b,c", "--format", "0.4")
    done = run("convert", tmp_path / "a.tif", *options)
    assert done.exit_code == 0, done.output
    assert open_image(tmp_path / "a.zarr").channel_names == ("a", "b", "c")
    assert run("convert", tmp_path / "a.tif", *options).exit_code == 3
