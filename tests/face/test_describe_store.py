"""What a store is, in words, and what is wrong with it."""

import dataclasses
import re

import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

import bigcp3d
from bigcp3d.edge.image.image import ImageInfo, Level
from bigcp3d.errors import InputError
from bigcp3d.face.cli import app
from bigcp3d.face.describe_store import describe_image, find_faults
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.schedule.running.start import prepare
from bigcp3d.work.passes.passes import perform
from bigcp3d.work.run.run import Run

FINE = Level("0", (64, 128, 128), (0.7, 0.5, 0.5), (0.0, 0.0, 0.0))
COARSE = Level("1", (64, 64, 64), (0.7, 1.0, 1.0), (0.0, 0.25, 0.25))
CHANNELS, UNITS = ("LaminB1", "DAPI"), ("micrometer",) * 3
SOUND = ImageInfo("in.zarr", "0.5", 3, ("c", "z", "y", "x"), (FINE, COARSE), "uint16", 2, 1, CHANNELS, (), UNITS)


def faults(**changes):
    return list(find_faults(dataclasses.replace(SOUND, **changes)))


def test_a_sound_store_has_no_fault():
    assert faults() == []
    assert faults(levels=(FINE, dataclasses.replace(COARSE, shape=(64, 63, 65)))) == []  # rounding is no fault


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"levels": (dataclasses.replace(FINE, scale_um=None),)}, "--scale Z Y X"),
        ({"levels": (dataclasses.replace(FINE, scale_um=(1.0, 1.0, 1.0)),)}, "exactly 1"),
        ({"levels": (dataclasses.replace(FINE, scale_um=(0.5, 0.5, 2.0)),)}, "x voxels are 4 times y voxels"),
        ({"levels": (dataclasses.replace(FINE, scale_um=(0.2, 0.5, 0.5)),)}, "z voxels are 0.4 times x voxels"),
        ({"levels": (dataclasses.replace(FINE, scale_um=(90.0, 40.0, 40.0)),)}, "if the numbers are nanometres"),
        ({"units": (None,) * 3}, "has no unit and is taken as micrometres"),
        ({"times": 5}, "5 time points; each is segmented alone; 'bigcp3d link' can join"),
        ({"dtype": "int64"}, "unusual dtype int64"),
        ({"levels": (FINE, dataclasses.replace(COARSE, scale_um=(2.0, 2.0, 2.0)))}, "scale and shape disagree"),
    ],
)
def test_each_fault_is_named_with_its_cure(changes, words):
    (fault,) = faults(**changes)
    assert words in fault


def test_the_command_that_estimates_the_diameter_can_be_pasted(tmp_path):
    bigcp3d.simulate(tmp_path / "my cells.zarr", Tissue((8, 20, 20), 10.0, "nuclei"))
    text = describe_image(tmp_path / "my cells.zarr")
    assert f"to see the estimate: bigcp3d estimate-diameter '{tmp_path}/my cells.zarr'" in text


@pytest.fixture
def store(tmp_path):
    """An OME-Zarr 0.4 image of two channels, made with zarr alone."""
    group = zarr.create_group(tmp_path / "in.zarr", zarr_format=2)
    group.create_array("0", shape=(2, 8, 16, 16), chunks=(1, 8, 8, 16), dtype=np.uint16)
    axes = [{"name": "c", "type": "channel"}] + [
        {"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"
    ]
    scale = {"type": "scale", "scale": [1.0, 2.0, 0.5, 0.5]}
    datasets = [{"path": "0", "coordinateTransformations": [scale]}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    group.attrs["omero"] = {"channels": [{"label": "LaminB1"}, {"label": "DAPI"}]}
    return tmp_path / "in.zarr"


def test_a_store_is_described_from_its_metadata(store):
    lines = [line.strip() for line in describe_image(store).splitlines()]
    *told, anisotropy = lines
    assert "4 times as long" in anisotropy
    assert told[:5] == [
        str(store),
        "OME-Zarr 0.4 (zarr 2), axes c,z,y,x, uint16",
        "2.05 kvoxel a channel and time, 8.0 KiB uncompressed at level 0",
        "1 time, 2 channels: 0 LaminB1, 1 DAPI",
        "level 0: '0', 8 x 16 x 16 (z y x), voxel 2 x 0.5 x 0.5 um, chunks 1 x 8 x 8 x 16",
    ]


def test_labels_that_cannot_be_read_do_not_hide_the_rest(store):
    labels = zarr.open_group(store / "labels", mode="w", zarr_format=2)
    labels.attrs["labels"] = ["broken"]
    labels.create_group("broken")
    text = describe_image(store)
    assert "labels/broken: cannot be read" in text
    assert "level 0" in text


def test_a_store_that_is_no_image_is_refused(tmp_path):
    zarr.create_group(tmp_path / "a.zarr")
    with pytest.raises(InputError, match="multiscales"):
        describe_image(tmp_path / "a.zarr")


def test_every_real_volume_can_be_described(shared_data):
    images, others = [], []
    for path in shared_data.rglob("*.zarr"):
        attributes = zarr.open_group(path, mode="r").attrs.asdict()
        (images if "multiscales" in str(attributes) else others).append(path)
    assert images
    assert all("level 0" in describe_image(path) for path in images)
    assert "0 LaminB1, 1 Dapi" in describe_image(shared_data / "blastocyst.zarr")
    assert others
    for path in others:  # it has no image, and the message says what to give instead
        with pytest.raises(InputError, match="labels/truth"):
            describe_image(path)


def test_anisotropy_is_told():
    (fault,) = faults(levels=(dataclasses.replace(FINE, scale_um=(2.0, 0.5, 0.5)),))
    assert "4 times as long" in fault
    assert "--diameter" in fault


@pytest.fixture
def segmented(tmp_path):
    """A small image with a finished run that kept its maps, and a run that was stopped."""
    path = tmp_path / "in.zarr"
    bigcp3d.simulate(path, Tissue((16, 32, 32), 10.0, "nuclei"))
    bigcp3d.segment(path, model="nuclei", executor="serial", diameter_um="as-is", keep_maps=True, table="zarr")
    plan = bigcp3d.plan_segmentation(
        path, model="nuclei", name="more", executor="serial", diameter_um="as-is", start="image"
    )
    prepare(plan, resumed=False, overwrite=False)
    perform(Run(plan), "normalise", 0, (0, 0, 0))
    (path / "labels" / "stopped").mkdir()
    return path


def test_labels_runs_and_the_plan_are_told(segmented):
    text = describe_image(segmented)
    assert re.search(
        r"labels/cells: uint32, 1 level, 16 x 32 x 32, \d+ cells, model nuclei, .*, made .* by bigcp3d .*, a ta", text
    )
    assert "warning: labels/stopped is not in the list" in text
    assert re.search(r"in.bigcp3d/cells: kept maps of labels 'cells'", text)
    assert re.search(r"in.bigcp3d/more: unfinished run of labels 'more', 1 block; recorded: normalise 1;", text)
    assert re.search(r"model membrane: looks for cells of \d+ voxels \(\d+ x \d+ x \d+ um\)", text)
    assert re.search(r"bigcp3d segment --diameter as-is: blocks +\d of", text)
    attributes = zarr.open_group(segmented / "labels" / "cells", mode="a").attrs
    attributes["bigcp3d"] = {"version": 2, "cells": "many", "made": 2026, "asked": ["a cell"]}
    assert "16 x 32 x 32, not made by bigcp3d, a table" in describe_image(segmented)


def test_torn_chunks_are_named_on_request(segmented):
    run = CliRunner()
    assert run.invoke(app, ["info", str(segmented), "--check"]).exit_code == 0, "the control"
    chunk = segmented / "labels" / "cells" / "0" / "c" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-40])
    done = run.invoke(app, ["info", str(segmented), "--check"])
    assert done.exit_code == 2
    assert re.search(r"torn: .*labels/cells/0: voxels cannot be read in box \(0, 0, 0\)", done.stdout)


def test_the_check_tells_metadata_missing_chunks_and_files_that_are_not_found(segmented):
    run = CliRunner()
    sound = run.invoke(app, ["info", str(segmented), "--check"])
    assert "labels/cells/0: 1 of 1 shard stored" in sound.stdout
    chunk = segmented / "labels" / "cells" / "0" / "c" / "0" / "0" / "0"
    chunk.rename(chunk.with_name("0.0"))
    done = run.invoke(app, ["info", str(segmented), "--check"])
    assert done.exit_code == 2
    assert "labels/cells/0: 0 of 1 shard stored; 1 not stored, read as the fill value" in done.stdout
    assert "files, such as" not in done.stdout
    assert re.search(r"lost: .*labels/cells/0: 1 file, such as 'c/0/0/0.0'", done.stdout)
    assert "the metadata do not name 1 file" in done.stderr


def test_the_check_tells_ids_below_0(segmented):
    zarr.open_group(segmented / "labels", mode="a").attrs["ome"] = {"version": "0.5", "labels": ["old"]}
    store = segmented / "labels" / "old"
    group = zarr.create_group(store, zarr_format=3)
    group.create_array("0", shape=(16, 32, 32), chunks=(16, 32, 32), dtype="int16")[...] = -1
    axes = [{"name": name, "type": "space"} for name in "zyx"]
    group.attrs["ome"] = {"multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]}
    said = CliRunner().invoke(app, ["info", str(segmented), "--check"]).stdout
    assert "labels/old: some ids are below 0; they count as not annotated" in said
    assert "labels/old: image-label is missing" in said
    assert "labels/old: the version is not stated in ome" in said


def test_a_warning_is_told_once(tmp_path):
    path = tmp_path / "a.zarr"
    group = zarr.create_group(path, zarr_format=2)
    for level, n in (("0", 4), ("1", 8)):
        group.create_array(level, data=np.ones((1, 1, 4, n, n), np.uint8), chunks=(1, 1, 4, n, n))
    group.attrs["multiscales"] = [{"version": "0.1", "datasets": [{"path": "0"}, {"path": "1"}]}]
    told = CliRunner().invoke(app, ["info", str(path), "--check"]).stderr
    assert " ".join(told.split()).count("not in order") == 1


def test_odd_voxels_are_told_once(tmp_path):
    bigcp3d.simulate(tmp_path / "a.zarr", Tissue((8, 20, 20), 10.0, "nuclei"), scale_um=(0.5, 0.5, 2.0))
    done = CliRunner().invoke(app, ["info", str(tmp_path / "a.zarr")])
    assert "segment --diameter as-is: blocks" in done.stdout
    assert " ".join((done.stdout + done.stderr).split()).count("x voxels are 4 times y voxels") == 1
