"""A store in one zip archive (.ozx) is read as the folder is, and written as OME's RFC-9 says."""

import json
import zipfile

import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

import bigcp3d
from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.image.open_node import find_images
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.edge.stores.places import is_address, place
from bigcp3d.errors import InputError, TargetError
from bigcp3d.face.cli import app
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.tissue.tissue_settings import Tissue
from tests.object_stores import files_of, serving

RUN = {"model": "membrane", "diameter_um": "as-is", "executor": "serial"}


@pytest.fixture
def store(tmp_path):
    """A simulated tissue of several shards, with true labels."""
    tissue = Tissue((16, 32, 48), diameter_vox=14.0, stain="membrane", seed=1)
    bigcp3d.simulate(tmp_path / "a.zarr", tissue, scale_um=(1.0, 0.5, 0.5), shard=(16, 32, 24), chunk=(8, 16, 12))
    return tmp_path / "a.zarr"


@pytest.fixture
def archive(store):
    bigcp3d.export(store, store.with_name("a.ozx"))
    return store.with_name("a.ozx")


def test_an_archive_is_written_as_the_specification_says(store, archive):
    with zipfile.ZipFile(archive) as opened:
        names = opened.namelist()
        assert names[:5] == [
            *("zarr.json", "0/zarr.json", "labels/zarr.json", "labels/truth/zarr.json"),
            "labels/truth/0/zarr.json",
        ]
        assert not any(name.endswith("zarr.json") for name in names[5:])
        assert {info.compress_type for info in opened.infolist()} == {zipfile.ZIP_STORED}
        about = json.loads(opened.comment)["ome"]
        assert about == {"version": "0.5", "zipFile": {"centralDirectory": {"jsonFirst": True}}}
        for name in names:
            assert opened.read(name) == (store / name).read_bytes()
    with zarr.storage.ZipStore(archive, mode="r") as other:  # as others read it
        np.testing.assert_array_equal(zarr.open_group(other, mode="r")["0"][...], zarr.open_array(store / "0")[...])


def test_an_archive_is_read_as_the_folder(store, archive):
    inside, outside = open_image(archive), open_image(store)
    assert (inside.levels, inside.label_names, inside.version) == (outside.levels, ("truth",), "0.5")
    box = Box((1, 2, 3), (9, 30, 40))
    np.testing.assert_array_equal(read_box(inside, 0, box), read_box(outside, 0, box))
    truth = open_labels(archive, "truth")
    np.testing.assert_array_equal(read_box(truth, 0, box), read_box(open_labels(store, "truth"), 0, box))
    assert [str(path) for path in place(archive).iterdir()] == [f"{archive}/{n}" for n in ("0", "labels", "zarr.json")]
    assert is_address(archive)


def test_labels_of_an_image_in_an_archive_lie_beside_it_and_equal_those_of_the_folder(store, archive, caplog):
    before = archive.read_bytes()
    summary = bigcp3d.segment(archive, **RUN)
    assert summary.labels == str(store.with_name("a.labels.zarr") / "labels" / "cells")
    assert "nothing can be written into a zip archive; the labels go to" in caplog.text
    assert archive.read_bytes() == before
    bigcp3d.segment(store, **RUN)
    made = [zarr.open_array(f"{path}/labels/cells/0")[...] for path in (store.with_name("a.labels.zarr"), store)]
    assert made[0].any()
    np.testing.assert_array_equal(*made)


def test_commands_read_an_archive(store, archive):
    run = CliRunner()
    checked = run.invoke(app, ["info", str(archive), "--check"])
    assert checked.exit_code == 0
    assert f"{archive}/0: 2 of 2 shards stored" in checked.stdout
    measured = run.invoke(app, ["measure", str(archive), "--name", "truth", "--output", str(store.with_name("m.csv"))])
    assert measured.exit_code == 0, measured.output
    scored = run.invoke(app, ["evaluate", *[str(archive)] * 2, "--pred-name", "truth", "--truth-name", "truth"])
    assert scored.exit_code == 0, scored.output


def test_a_folder_inside_an_archive_is_named(store):
    path = store.with_name("b.zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for file in store.rglob("*"):
            opened.write(file, f"a.zarr/{file.relative_to(store)}")
    with pytest.raises(InputError, match=rf"folder of zarr stores; give one of {path}/a.zarr"):
        open_image(path)
    assert open_image(path / "a.zarr").levels == open_image(store).levels


def test_archives_in_folders_and_in_archives_are_found_or_told(store, archive):
    folder = store.with_name("copies.zip")
    folder.mkdir()
    copy = archive.rename(folder / "a.OZX")
    assert open_image(copy).levels == open_image(store).levels
    with pytest.raises(InputError, match=rf"folder of zarr stores; give one of {copy}"):
        open_image(folder)
    assert find_images(folder) == [str(copy)]
    outer = store.with_name("outer.zip")
    with zipfile.ZipFile(outer, "w") as opened:
        opened.write(copy, "inner.ozx")
    with pytest.raises(InputError, match=r"this is a zip archive, .* unpack it"):
        open_image(outer / "inner.ozx")
    with serving(files_of(folder)) as host, pytest.raises(InputError, match="copy it to a local disk"):
        open_image(f"{host}/a.OZX")


def test_archives_that_cannot_be_used_are_refused(store, archive):
    archive.write_bytes(archive.read_bytes()[:-300])
    with pytest.raises(InputError, match="this zip archive cannot be read"):
        open_image(archive)
    with pytest.raises(TargetError, match="exists"):
        bigcp3d.export(store, archive)
    with pytest.raises(InputError, match="holds the whole store; leave out level, roi"):
        bigcp3d.export(store, store.with_name("c.ozx"), level=1, roi="0:2,0:2,0:2")
    tissue = Tissue((8, 16, 16), diameter_vox=8.0, stain="membrane", seed=1)
    old = bigcp3d.simulate(store.with_name("old.zarr"), tissue, version="0.4")
    with pytest.raises(InputError, match=r"OME-Zarr 0.4 \(zarr 2\), and .ozx holds zarr 3"):
        bigcp3d.export(old.path, store.with_name("c.ozx"))
    assert not store.with_name("c.ozx").exists()
