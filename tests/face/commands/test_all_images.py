"""``--all-images``: every image of a plate or a collection, one after the other; one that fails stops no other."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

from bigcp3d.edge.image.open_node import find_images
from bigcp3d.errors import InputError, TargetError
from bigcp3d.face.cli import app
from bigcp3d.schedule.measure import measure_on
from tests.schedule.conftest import read_labels, tissue_values, write_image

FIELDS = ("A/1/0", "A/1/1", "B/2/0")
SHAPE = (12, 24, 24)


@pytest.fixture
def plate(tmp_path):
    """Three fields in two wells."""
    path = tmp_path / "plate.zarr"
    wells = {}
    for field in FIELDS:
        wells.setdefault(field.rpartition("/")[0], []).append(field.rpartition("/")[2])
        (path / field).parent.mkdir(parents=True, exist_ok=True)
        write_image(path / field, tissue_values(SHAPE))
    zarr.create_group(path).attrs["ome"] = {"version": "0.5", "plate": {"wells": [{"path": well} for well in wells]}}
    for well, images in wells.items():
        ome = {"version": "0.5", "well": {"images": [{"path": image} for image in images]}}
        zarr.create_group(path / well).attrs["ome"] = ome
    return path


def run(*words):
    return CliRunner().invoke(app, [*map(str, words)])


def rows_of(file):
    return list(csv.DictReader(file.read_text().splitlines()))


def test_the_images_of_a_plate_a_well_a_collection_and_a_folder_are_found_in_their_order(plate, tmp_path):
    assert find_images(plate) == [f"{plate}/{field}" for field in FIELDS]
    assert find_images(plate / "A/1") == [f"{plate}/{field}" for field in FIELDS[:2]]
    assert find_images(plate / "A/1/0") == [f"{plate}/A/1/0"]
    collection = tmp_path / "many.zarr"
    zarr.create_group(collection).attrs["ome"] = {"version": "0.5", "bioformats2raw.layout": 3}
    for number in range(11):
        shutil.copytree(plate / FIELDS[0], collection / str(number))
    assert find_images(collection) == [f"{collection}/{number}" for number in range(11)]
    zarr.create_group(collection / "OME").attrs["ome"] = {"version": "0.5", "series": ["3", "1", "absent"]}
    assert find_images(collection) == [f"{collection}/3", f"{collection}/1"]
    assert len(find_images(tmp_path)) == len(FIELDS) + 2
    with pytest.raises(InputError, match="give"):
        find_images(zarr.create_group(tmp_path / "empty.zarr").store_path.store.root)


def test_stores_of_labels_beside_images_are_no_images(tmp_path, caplog):
    values = np.ones((4, 8, 8), np.uint16)
    for name, inside in (("truth.zarr", []), ("output.zarr", ["labels"])):
        write_image(tmp_path / name, values)
        group = zarr.open_group(tmp_path / name)
        group.attrs["ome"] = {**group.attrs["ome"], "image-label": {"version": "0.5"}}
        for each in inside:
            group.create_group(each)
    output, truth = (str(tmp_path / name) for name in ("output.zarr", "truth.zarr"))
    assert find_images(tmp_path) == find_images(tmp_path, with_labels=False) == [output, truth], "labels alone"
    assert not caplog.text
    write_image(tmp_path / "image.zarr", values)
    image = str(tmp_path / "image.zarr")
    assert find_images(tmp_path) == [image, output]
    assert find_images(tmp_path, with_labels=False) == [image]
    assert f"left out, since these are labels, not images: {output}, {truth}" in caplog.text
    assert find_images(truth) == [truth]


def test_images_that_are_named_and_are_not_there_are_told(plate, tmp_path, caplog):
    find_images(plate)
    assert not caplog.text
    copy = Path(shutil.copytree(plate, tmp_path / "copy.zarr"))
    (copy / "A").rename(copy / "a")  # as on a disk that knows no case
    found = find_images(copy)
    assert found == [f"{copy}/{field}" for field in FIELDS if not field.startswith("A")]
    assert f"{copy}: it names A/1" in caplog.text


def test_every_field_is_segmented_and_measured_and_one_that_fails_is_told_at_the_end(plate, random_model, tmp_path):
    broken = plate / FIELDS[1] / "zarr.json"
    text = broken.read_text()
    broken.write_text(text.replace('"path": "0"', '"path": "gone"'))
    command = ("segment", plate, "--all-images", "--model", random_model, "--diameter", "as-is", "--serial")
    command += ("--no-report", "--table", tmp_path / "cells.csv", "--min-volume", 2)
    done = run(*command)
    assert done.exit_code == 2, done.output
    assert "image 3 of 3" in done.stderr
    assert done.stderr.rstrip().splitlines()[-1].endswith(f"again: {plate}/{FIELDS[1]}")
    labels = read_labels(plate / FIELDS[0], "cells")
    assert labels.max() > 3
    assert np.array_equal(read_labels(plate / FIELDS[2], "cells"), labels)
    cells = rows_of(tmp_path / "cells.csv")
    assert [row["label"] for row in cells if row["image"] == FIELDS[0]] == [str(i + 1) for i in range(labels.max())]
    assert {row["image"] for row in cells} == {FIELDS[0], FIELDS[2]}

    broken.write_text(text)
    made = (plate / FIELDS[0] / "labels/cells/zarr.json").read_bytes()
    done = run(*command, "--table", tmp_path / "all.csv")
    assert done.exit_code == 0, done.output
    assert done.stderr.count("exist already") == 2
    assert (plate / FIELDS[0] / "labels/cells/zarr.json").read_bytes() == made
    assert {row["image"] for row in rows_of(tmp_path / "all.csv")} == {*FIELDS}
    other = run(*command[:-1], 50, "--table", tmp_path / "other.csv")  # other settings are not taken for the same
    assert other.exit_code == 3
    assert "3 of 3 images failed" in other.stderr

    table = (plate / FIELDS[1] / "labels/cells/zarr.json").read_bytes()
    broken.write_text(text.replace('"path": "0"', '"path": "gone"'))
    again = run(*command, "--overwrite")
    assert "exist already" not in again.stderr
    assert (plate / FIELDS[0] / "labels/cells/zarr.json").read_bytes() != made
    broken.write_text(text)
    again = run(*command, "--overwrite")
    assert again.exit_code == 0, again.output
    assert again.stderr.count("exist already") == 2, "those that the stopped command has replaced"
    assert (plate / FIELDS[1] / "labels/cells/zarr.json").read_bytes() != table
    assert not list(plate.parent.glob("*.bigcp3d"))

    done = run("measure", plate, "--all-images", "--output", tmp_path / "measured.csv")
    assert done.exit_code == 0, done.output
    assert rows_of(tmp_path / "measured.csv") == rows_of(tmp_path / "all.csv")
    done = run("evaluate", plate, plate, "--truth-name", "cells", "--all-images", "--json", tmp_path / "scores.json")
    assert done.exit_code == 0, done.output
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert {name: each["ap50"] for name, each in scores.items()} == dict.fromkeys(FIELDS, 1.0)
    done = run("info", plate, "--all-images")
    assert done.exit_code == 0
    assert all(f"{plate}/{field}\n" in done.stdout for field in FIELDS)


@pytest.fixture
def labelled(plate, monkeypatch):
    """A plate whose fields hold labels; to segment one only calls a function of the test."""
    for field in FIELDS:
        labels = zarr.create_group(plate / field / "labels")
        labels.attrs["ome"] = {"version": "0.5", "labels": ["cells"]}
        values = np.zeros(SHAPE, np.uint32)
        values[2:9, 3:9, 4:9] = 1
        write_image(plate / field / "labels/cells", values)

    def segment_with(work):
        monkeypatch.setattr("bigcp3d.face.commands.segment._segment", lambda arguments, **_: work(arguments["source"]))
        return ("segment", plate, "--all-images", "--model", "nuclei", "--no-report")

    return segment_with


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a bug")])
def test_after_a_bug_or_ctrl_c_nothing_is_measured(labelled, tmp_path, monkeypatch, error):
    def stop_at_the_second(image):
        if image.endswith(FIELDS[1]):
            raise error

    monkeypatch.setattr("bigcp3d.schedule.measure.measure_on", None)  # a call would raise a TypeError
    done = run(*labelled(stop_at_the_second), "--table", tmp_path / "cells.csv")
    assert done.exit_code == (130 if isinstance(error, KeyboardInterrupt) else 1)
    assert "NoneType" not in str(done.exception)
    assert not (tmp_path / "cells.csv").exists()


def test_all_are_measured_on_the_machines_that_were_asked_for(labelled, tmp_path, monkeypatch):
    machines = []

    def spy(asked, request):
        machines.append(asked and asked.workers)
        return measure_on(None, request)

    monkeypatch.setattr("bigcp3d.schedule.measure.measure_on", spy)
    done = run(*labelled(lambda image: None), "--table", tmp_path / "cells.csv", "--workers", 2, "--json")
    assert done.exit_code == 0, done.output
    assert machines == ["2", "2", "2"]
    assert done.stdout == "", "with --json only lines of JSON go there"
    assert "cells.csv: 3 cells of 3 images" in done.stderr
    done = run(*labelled(lambda image: None), "--table", tmp_path / "more.csv", "--serial")
    assert machines[3:] == [None, None, None]
    assert "more.csv: 3 cells of 3 images" in done.stdout


def test_an_error_of_the_table_hides_none_of_an_image(labelled, tmp_path, monkeypatch):
    def fail(image):
        if image.endswith(FIELDS[1]):
            raise InputError("this image is damaged")

    def refuse(*_):
        raise TargetError("this table cannot be written")

    monkeypatch.setattr("bigcp3d.face.commands.segment.write_one_table", refuse)
    done = run(*labelled(fail), "--table", tmp_path / "cells.csv")
    assert done.exit_code == 2
    assert "this table cannot be written" in done.stderr
    assert "1 of 3 images failed" in done.stderr.rstrip().splitlines()[-1]
    done = run(*labelled(lambda image: None), "--table", tmp_path / "cells.csv")
    assert done.exit_code == 3


def test_what_is_of_one_image_is_refused_before_any_work(plate, tmp_path):
    done = run("segment", plate, "--all-images", "--mask", plate / FIELDS[0], "--model", "membrane")
    assert done.exit_code == 2
    assert "--mask" in done.stderr
    assert not (plate / FIELDS[0] / "labels").exists()
    assert "--all-images" in run("segment", plate).stderr
