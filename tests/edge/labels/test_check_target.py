"""A place that cannot take labels is refused before anything is written."""

import os
import shutil
from collections import namedtuple

import pytest
import zarr

from bigcp3d.edge.image.image import open_image
from bigcp3d.edge.labels.check_target import check_target
from bigcp3d.edge.labels.label_plan import plan_labels
from bigcp3d.edge.labels.labels import create_labels, finish_labels
from bigcp3d.errors import TargetError

Usage = namedtuple("Usage", "total used free")


def plan(stores, output=None, name="cells", **options):
    return plan_labels(open_image(stores.image(**options)), output, name, shard=(64, 64, 64))


def refused(target, contents, message, **options):
    """The message, and that the check and the making leave everything as it was."""
    before = contents()
    with pytest.raises(TargetError, match=message):
        check_target(target, overwrite=options.pop("overwrite", False), **options)
    assert contents() == before


def test_a_free_place_passes(stores, contents):
    target = plan(stores)
    before = contents()
    check_target(target, overwrite=False, need_bytes=1)
    check_target(plan(stores, stores.folder / "new" / "out.zarr"), overwrite=False)
    assert contents() == before


@pytest.mark.parametrize("finished", [True, False])
def test_labels_of_the_same_name_need_to_be_overwritten_on_purpose(stores, contents, finished):
    target = plan(stores)
    create_labels(target, overwrite=False)
    if finished:
        finish_labels(target, attributes={})
    what = "not made by bigcp3d" if finished else "begun by a run that has not ended"
    refused(
        target,
        contents,
        f"labels/cells: there are labels of that name already: {what}. Give --overwrite",
    )
    check_target(target, overwrite=True)


@pytest.mark.parametrize("output", [None, "new/out.zarr"])
def test_a_place_without_permission_is_refused(stores, contents, monkeypatch, output):
    target = plan(stores, output and stores.folder / output)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    refused(target, contents, "is not a folder with write permission; give another --output")


def test_a_full_disk_is_refused(stores, contents, monkeypatch):
    target = plan(stores)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(100, 0, 3 * 2**30))
    check_target(target, overwrite=False, need_bytes=3 * 2**30)
    refused(
        target,
        contents,
        r"about 4.0 GiB are needed, and 3.0 GiB are free on the disk of .*; free space",
        need_bytes=2**32,
    )


def test_something_else_in_place_of_the_store_is_refused(stores, contents):
    (stores.folder / "out.txt").write_text("text")
    (stores.folder / "folder").mkdir()
    (stores.folder / "folder" / "notes.txt").write_text("text")
    for name in ("out.txt", "folder"):
        refused(
            plan(stores, stores.folder / name),
            contents,
            "this is not a zarr group; give another --output",
        )


def test_an_empty_folder_becomes_the_store(stores):
    (stores.folder / "out.zarr").mkdir()
    target = plan(stores, stores.folder / "out.zarr")
    check_target(target, overwrite=False)
    create_labels(target, overwrite=False)


def test_a_store_of_the_other_zarr_version_is_refused(stores, contents):
    other = stores.image("0.4", name="other.zarr")
    refused(plan(stores, other), contents, "this is a zarr group of version 2, and a group of version 3 is needed")


def test_an_array_in_place_of_the_store_is_refused(stores, contents):
    zarr.create_array(stores.folder / "array.zarr", shape=(2,), dtype="u1")
    refused(
        plan(stores, stores.folder / "array.zarr"),
        contents,
        "this is a zarr array of version 3, and a group of version 3 is needed",
    )


def test_an_image_with_other_levels_is_refused(stores, contents):
    other = stores.image(name="other.zarr", shape=(12, 20, 24))
    refused(
        plan(stores, other),
        contents,
        r"its levels have the shapes \[\(12, 20, 24\)\], and those of the source are \[\(12, 20, 22\)\]",
    )


@pytest.mark.parametrize("overwrite", [True, False])
def test_making_labels_checks_the_same(stores, contents, overwrite):
    target = plan(stores, stores.image("0.4", name="other.zarr"))
    before = contents()
    with pytest.raises(TargetError, match="this is a zarr group of version 2"):
        create_labels(target, overwrite=overwrite)
    assert contents() == before
