"""Labels lie on the image's pyramid, are found only when finished, and leave everything else alone."""

import json
import logging
import os
import pickle
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import zarr

from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.image.metadata_faults import group_faults
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.edge.labels.check_target import check_target
from bigcp3d.edge.labels.label_plan import plan_labels
from bigcp3d.edge.labels.labels import create_labels, finish_labels, read_label_box, write_label_box
from bigcp3d.edge.labels.labels_to_update import refuse_ids_above, target_of
from bigcp3d.errors import InputError, TargetError
from bigcp3d.pure.boxes import BlockGrid, Box
from bigcp3d.pure.label.pooling import pool_labels
from bigcp3d.pure.label.pooling_box import pool_read_box

SHAPE = (12, 20, 22)


def some_labels(shape=SHAPE):
    """A volume of boxes with ids above 2**31, and half of it empty."""
    z, y, x = np.indices(shape)
    return np.where(z >= shape[0] // 2, 4_000_000_000 + z // 3 * 100 + y // 5 * 10 + x // 4, 0).astype("uint32")


def write_all(target, level0=None, *, attributes=None, times=(0,)):
    """What a run does, serially."""
    create_labels(target, overwrite=False)
    level0 = some_labels(target.levels[0].shape) if level0 is None else level0
    for time in times:
        for i, level in enumerate(target.levels):
            grid = BlockGrid(level.shape, target.shard)
            for core in map(grid.core, grid):
                if i == 0:
                    values = level0[core.slices()]
                else:
                    below = pool_read_box(core, target.factors[i], target.levels[i - 1].shape)
                    finer = read_label_box(target, i - 1, below, time=time)
                    values = pool_labels(finer, below, core, target.factors[i])
                write_label_box(target, i, core, values, time=time)
    finish_labels(target, attributes=attributes or {})


@pytest.mark.parametrize("shard", [(64, 64, 64), (5, 7, 9), (12, 20, 22), (4, 20, 11)])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_what_is_written_is_read_back(stores, version, shard):
    path = stores.image(version)
    target = plan_labels(open_image(path), None, "cells", shard=shard)
    write_all(target)
    labels = open_labels(path, "cells")
    np.testing.assert_array_equal(read_box(labels, 0, Box.of_shape(SHAPE)), some_labels())
    np.testing.assert_array_equal(zarr.open_array(path / "labels/cells/0", mode="r")[...], some_labels())
    assert (labels.dtype, labels.version) == ("uint32", version)


def test_labels_take_the_shapes_scales_and_factors_of_the_images_levels(stores):
    path = stores.image("0.5", "czyx", shape=(12, 21, 22), levels=3)
    target = plan_labels(open_image(path), None, "cells", shard=(64, 64, 64))
    assert [level.shape for level in target.levels] == [(12, 21, 22), (12, 10, 11), (12, 5, 5)]
    assert target.factors == ((1, 1, 1), (1, 2, 2), (1, 2, 2))
    write_all(target)
    labels = open_labels(path, "cells")
    assert labels.axes == ("z", "y", "x")
    for mine, image in zip(labels.levels, open_image(path).levels, strict=True):
        assert mine.scale_um == image.scale_um
        assert mine.shape == image.shape
    assert [level.translation_um for level in labels.levels] == [(0, 0, 0), (0, 0.25, 0.125), (0, 0.75, 0.375)]


def test_a_coarse_voxel_lies_at_the_middle_of_its_window(stores):
    """The centres of the fine voxels of a window average to the place that the metadata give to the coarse voxel."""
    path = stores.image("0.5", levels=3, edit=lambda ome: shift(ome, [7, 8, 9]))
    target = plan_labels(open_image(path), None, "cells", shard=(64, 64, 64))
    fine = target.levels[0]
    for level, factor in ((target.levels[1], 2), (target.levels[2], 4)):
        for axis in (1, 2):
            centres = fine.translation_um[axis] + fine.scale_um[axis] * np.arange(3 * factor, 4 * factor)
            assert level.translation_um[axis] + 3 * level.scale_um[axis] == pytest.approx(centres.mean())


def shift(ome, values):
    for dataset in ome["multiscales"][0]["datasets"]:
        dataset["coordinateTransformations"].append({"type": "translation", "translation": values})


def test_without_a_stated_scale_factors_follow_from_the_shapes(stores):
    path = stores.image("0.1", "tczyx", shape=(6, 27, 22), levels=2, counts=(1, 2))
    target = plan_labels(open_image(path), None, "cells", shard=(64, 64, 64))
    assert target.factors == ((1, 1, 1), (1, 2, 2))  # 27 to 13: halved, and rounded down
    write_all(target)
    entry = stores.read(path / "labels/cells")["multiscales"][0]
    assert entry["version"] == "0.4"
    assert [axis.get("unit") for axis in entry["axes"]] == [None] * 4
    scales = [d["coordinateTransformations"][0]["scale"] for d in entry["datasets"]]
    shifts = [d["coordinateTransformations"][1]["translation"] for d in entry["datasets"]]
    assert scales == [[1, 1, 1, 1], [1, 1, 2, 2]]
    assert shifts == [[0, 0, 0, 0], [0, 0, 0.5, 0.5]]


def test_scales_that_the_shapes_belie_are_not_taken(stores, caplog):
    def same(ome):
        for dataset in ome["multiscales"][0]["datasets"]:
            dataset["coordinateTransformations"] = [{"type": "scale", "scale": [2, 0.5, 0.25]}]

    target = plan_labels(open_image(stores.image(levels=2, edit=same)), None, "cells", shard=(64, 64, 64))
    assert target.factors[1] == (1, 2, 2)
    assert target.levels[1].scale_um == (2, 1, 0.5)
    assert "labels follow the shape" in caplog.text


def test_labels_are_stated_in_the_images_units(stores):
    path = stores.image("0.5", scale=(200, 50, 25), unit="nanometer", levels=2)
    target = plan_labels(open_image(path), None, "cells", shard=(64, 64, 64))
    write_all(target)
    written, image = (stores.read(p)["ome"]["multiscales"][0] for p in (path / "labels/cells", path))
    assert written["axes"] == image["axes"]
    for mine, theirs in zip(written["datasets"], image["datasets"], strict=True):
        scale, expected = (d["coordinateTransformations"][0]["scale"] for d in (mine, theirs))
        assert scale == pytest.approx(expected)


def test_time_points_are_written_one_by_one(stores):
    path = stores.image("0.5", "tczyx")
    target = plan_labels(open_image(path), None, "cells", shard=(6, 20, 22))
    create_labels(target, overwrite=False)
    grid = BlockGrid(SHAPE, target.shard)
    for time in (0, 1):
        for core in map(grid.core, grid):
            write_label_box(target, 0, core, some_labels()[core.slices()] * (time + 1), time=time)
    finish_labels(target, attributes={})
    labels = open_labels(path, "cells")
    assert (labels.axes, labels.times) == (("t", "z", "y", "x"), 2)
    for time in (0, 1):
        expected = some_labels() * np.uint32(time + 1)
        np.testing.assert_array_equal(read_box(labels, 0, Box.of_shape(SHAPE), time=time), expected)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_readers_find_labels_only_when_they_are_finished(stores, version):
    path = stores.image(version)
    target = plan_labels(open_image(path), None, "cells", shard=(64, 64, 64))
    create_labels(target, overwrite=False)
    write_label_box(target, 0, Box.of_shape(SHAPE), some_labels())
    assert open_image(path).label_names == ()
    with pytest.raises(InputError, match="no labels 'cells'"):
        open_labels(path, "cells")
    finish_labels(target, attributes={"bigcp3d": {"version": "1", "patch": (np.int64(3), 4)}})
    assert open_image(path).label_names == ("cells",)
    assert stores.read(target.path)["bigcp3d"] == {"version": "1", "patch": [3, 4]}
    before = stores.read(target.path), stores.read(path / "labels")
    finish_labels(target, attributes={"bigcp3d": {"version": "1", "patch": (3, 4)}})
    assert (stores.read(target.path), stores.read(path / "labels")) == before


def test_attributes_do_not_replace_the_metadata(stores):
    target = plan_labels(open_image(stores.image()), None, "cells", shard=(64, 64, 64))
    create_labels(target, overwrite=False)
    with pytest.raises(ValueError, match="belong to OME-Zarr"):
        finish_labels(target, attributes={"ome": {}})


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_other_labels_and_keys_stay_in_the_list(stores, version, caplog):
    path = stores.image(version)
    image = open_image(path)
    for name in ("first", "second"):
        write_all(plan_labels(image, None, name, shard=(64, 64, 64)))
    attributes = stores.read(path / "labels")
    ome = attributes["ome"] if version == "0.5" else attributes
    ome["labels"].insert(0, "dangling")
    attributes["theirs"] = {"kept": True}
    stores.write(path / "labels", attributes)
    write_all(plan_labels(image, None, "third", shard=(64, 64, 64)))
    after = stores.read(path / "labels")
    assert (after["ome"] if version == "0.5" else after)["labels"] == ["dangling", "first", "second", "third"]
    assert after["theirs"] == {"kept": True}
    assert "dangling" in caplog.text


@pytest.mark.parametrize(
    ("kind", "message"),
    [("array", "labels: this is a zarr array of version ., and a group of version . is needed"),
     ("other format", "labels: this is a zarr group of version ., and a group of version . is needed"),
     ("odd list", "its list of labels is 'cells', not a list of names"),
     ("image", "labels: this is an image itself, not a group of labels"),
     ("link", "labels: this is a link to .*nowhere, which is not there")],
)  # fmt: skip
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_labels_group_that_cannot_take_them_is_refused_and_stays(stores, version, kind, message):
    path = stores.image(version)
    own, other = (2, 3) if version == "0.4" else (3, 2)
    if kind == "array":
        zarr.create_array(path / "labels", shape=(2, 2), dtype="u1", zarr_format=own)
    elif kind == "image":
        shutil.copytree(path, path / "labels")
    elif kind == "link":
        (path / "labels").symlink_to(path / "nowhere")
    else:
        group = zarr.create_group(path / "labels", zarr_format=other if kind == "other format" else own)
        group.attrs["labels"] = "cells" if kind == "odd list" else ["old"]
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    target = plan_labels(open_image(path), None, "cells", shard=(64, 64, 64))
    with pytest.raises(TargetError, match=message):
        check_target(target, overwrite=True)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    assert any("labels" in fault for fault in group_faults(open_image(path)))


def test_a_list_without_a_version_gets_one(stores):
    path = stores.image("0.5")
    zarr.open_group(path / "labels", mode="w", zarr_format=3)
    stores.write(path / "labels", {"ome": {"labels": []}})
    write_all(plan_labels(open_image(path), None, "cells", shard=(64, 64, 64)))
    assert stores.read(path / "labels")["ome"] == {"version": "0.5", "labels": ["cells"]}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_writing_labels_touches_nothing_else(stores, contents, version):
    path = stores.image(version)
    write_all(plan_labels(open_image(path), None, "first", shard=(64, 64, 64)))
    before = contents()
    target = plan_labels(open_image(path), None, "second", shard=(64, 64, 64))
    write_all(target)
    changed = {name for name, content in contents().items() if before.get(name) != content}
    new = {name for name in changed if name.startswith("image.zarr/labels/second/")}
    lists = {"image.zarr/labels/zarr.json"} if version == "0.5" else {"image.zarr/labels/.zattrs"}
    assert changed - new == lists
    assert set(before) <= set(contents())


def test_overwriting_removes_the_old_labels_and_only_those(stores, contents):
    path = stores.image("0.5")
    image = open_image(path)
    for name in ("cells", "others"):
        write_all(plan_labels(image, None, name, shard=(5, 7, 9)))
    target = plan_labels(image, None, "cells", shard=(64, 64, 64))
    before = contents()
    with pytest.raises(TargetError, match="there are labels of that name already: not made by bigcp3d"):
        create_labels(target, overwrite=False)
    assert contents() == before
    create_labels(target, overwrite=True)
    assert open_image(path).label_names == ("others",)
    assert not read_label_box(target, 0, Box.of_shape(SHAPE)).any()
    kept = {name: content for name, content in before.items() if "labels/cells" not in name}
    kept.pop("image.zarr/labels/zarr.json")
    assert kept.items() <= contents().items()
    finish_labels(target, attributes={})
    assert open_image(path).label_names == ("others", "cells")


def test_overwriting_is_refused_as_a_whole_before_anything_is_removed(stores, contents, monkeypatch):
    path = stores.image("0.5")
    target = plan_labels(open_image(path), None, "cells", shard=(64, 64, 64))
    write_all(target)
    before = contents()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(TargetError, match="is not a folder with write permission"):
        create_labels(target, overwrite=True)
    assert contents() == before


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_empty_pieces_are_not_stored(stores, version):
    path = stores.image(version)
    target = plan_labels(open_image(path), None, "cells", shard=(3, 20, 22))
    write_all(target)
    array = target.path / "0"
    stored = {p for p in array.rglob("*") if p.is_file() and p.name not in ("zarr.json", ".zarray", ".zattrs")}
    assert len(stored) == 2  # of four shards, two hold nothing
    write_label_box(target, 0, Box((6, 0, 0), (9, 20, 22)), np.zeros((3, 20, 22), "uint32"))
    assert sum(p.is_file() for p in stored) == 1  # and one that becomes empty goes


def test_volumes_are_stored_in_shards_of_chunks_that_viewers_like(stores):
    image = open_image(stores.image("0.5", shape=(12, 200, 300), chunks=(12, 200, 300)))
    target = plan_labels(image, None, "cells", shard=(128, 150, 256))
    create_labels(target, overwrite=False)
    array = zarr.open_array(target.path / "0", mode="r")
    assert (array.chunks, array.shards) == ((12, 50, 64), (12, 150, 256))
    assert array.metadata.dimension_names == ("z", "y", "x")
    old = open_image(stores.image("0.4", shape=(12, 200, 300), chunks=(12, 200, 300), name="old.zarr"))
    create_labels(target := plan_labels(old, None, "cells", shard=(128, 150, 256)), overwrite=False)
    array = zarr.open_array(target.path / "0", mode="r")
    assert (array.chunks, array.shards) == ((12, 50, 64), None)
    assert all(s % c == 0 for s, c in zip(target.shard, array.chunks, strict=True))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(
    ("start", "stop"),
    [((0, 0, 0), (4, 7, 9)), ((1, 0, 0), (6, 7, 9)), ((0, 0, 0), (5, 7, 12)), ((10, 0, 0), (15, 7, 9))],
)
def test_parts_of_shards_are_not_written(stores, version, start, stop):
    target = plan_labels(open_image(stores.image(version)), None, "cells", shard=(5, 7, 9))
    create_labels(target, overwrite=False)
    box = Box(start, stop)
    with pytest.raises(ValueError, match="is not made of whole"):
        write_label_box(target, 0, box, np.ones(box.shape, "uint32"))
    border = Box((10, 14, 18), SHAPE)
    write_label_box(target, 0, border, np.ones(border.shape, "uint32"))


def test_labels_whose_coarse_levels_are_one_chunk_on_one_axis_alone_can_be_updated(stores):
    path = stores.image("0.5", "zyx", shape=(12, 80, 300), levels=2)
    target = plan_labels(open_image(path), None, "cells", shard=(64, 512, 512))
    create_labels(target, overwrite=False)
    finish_labels(target, attributes={})
    shards = [zarr.open_array(path / f"labels/cells/{level}", mode="r").shards for level in (0, 1)]
    assert shards == [(12, 80, 300), (12, 40, 300)], "the case"
    again = target_of(open_labels(path, "cells"))
    assert (again.chunk, again.shard) == (target.chunk, target.shard)


def test_other_dtypes_and_shapes_are_not_written(stores):
    target = plan_labels(open_image(stores.image()), None, "cells", shard=(64, 64, 64))
    create_labels(target, overwrite=False)
    for values in (np.ones(SHAPE, "int64"), np.ones((1, 20, 22), "uint32")):
        with pytest.raises(ValueError, match="for uint32 of shape"):
            write_label_box(target, 0, Box.of_shape(SHAPE), values)


def test_many_cells_take_uint64(stores):
    path = stores.image("0.5")
    target = plan_labels(open_image(path), None, "cells", dtype="uint64", shard=(64, 64, 64))
    write_all(target, some_labels().astype("uint64") * 2**20)
    labels = open_labels(path, "cells")
    assert labels.dtype == "uint64"
    assert read_box(labels, 0, Box.of_shape(SHAPE)).max() > 2**50
    with pytest.raises(ValueError, match="allowed are uint32 and uint64"):
        plan_labels(open_image(path), None, "cells", dtype="int32", shard=(64, 64, 64))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_consolidated_stores_are_consolidated_again(stores, version):
    path = stores.image(version)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(path)
    target = plan_labels(open_image(path), None, "cells", shard=(64, 64, 64))
    write_all(target)
    trusting = zarr.open_consolidated(path) if version == "0.4" else zarr.open_group(path, mode="r")
    assert trusting.metadata.consolidated_metadata is not None
    assert trusting["labels/cells/0"].shape == SHAPE
    assert "cells" in json.dumps(trusting["labels"].attrs.asdict())
    plain = stores.image(version, name="plain.zarr")
    write_all(plan_labels(open_image(plain), None, "cells", shard=(64, 64, 64)))
    assert zarr.open_group(plain, mode="r").metadata.consolidated_metadata is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "...",
        "a/b",
        "../a",
        "/a",
        "a\\b",
        ".zattrs",
        ".hidden",
        "__a",
        "zarr.json",
        "a\n",
        " a",
        "x" * 300,
    ],
)
def test_names_that_would_leave_the_store_or_hide_are_refused(stores, name):
    with pytest.raises(InputError, match=r"cannot be the name of labels; give a --name of 1 to 200 bytes"):
        plan_labels(open_image(stores.image()), None, name, shard=(64, 64, 64))


@pytest.mark.parametrize("name", ["cells", "my cells 2", "Zellen.v1", "größe", "0"])
def test_other_names_are_written(stores, name):
    path = stores.image()
    write_all(plan_labels(open_image(path), None, name, shard=(64, 64, 64)))
    assert open_image(path).label_names == (name,)


def test_a_target_travels_to_workers(stores):
    target = plan_labels(open_image(stores.image()), None, "cells", shard=(64, 64, 64))
    assert pickle.loads(pickle.dumps(target)) == target


def test_a_full_disk_is_told_while_writing(stores, monkeypatch):
    target = plan_labels(open_image(stores.image()), None, "cells", shard=(64, 64, 64))
    create_labels(target, overwrite=False)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zarr.Array, "__setitem__", full)
    with pytest.raises(TargetError, match="cells/0: cannot be written: No space left on device; make space"):
        write_label_box(target, 0, Box.of_shape(SHAPE), some_labels())


def test_damaged_labels_are_told_while_reading(stores):
    target = plan_labels(open_image(stores.image()), None, "cells", shard=(64, 64, 64))
    write_all(target)
    (target.path / "0/c/0/0/0").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"cells/0: labels cannot be read in box \(0, 0, 0\)"):
        read_label_box(target, 0, Box.of_shape(SHAPE))


class TestOutput:
    """Labels in a store of their own."""

    @pytest.mark.parametrize("version", ["0.4", "0.5"])
    def test_they_point_back_to_the_source(self, stores, contents, version):
        path = stores.image(version, name="in/image.zarr")
        before = contents()
        target = plan_labels(open_image(path), stores.folder / "results" / "out.zarr", "cells", shard=(64, 64, 64))
        write_all(target)
        assert {name: content for name, content in contents().items() if name.startswith("in/")} == before
        attributes = stores.read(target.path)
        source = (attributes["ome"] if version == "0.5" else attributes)["image-label"]["source"]["image"]
        assert source == "../../../../in/image.zarr"
        assert (target.path / source).resolve() == path.resolve()
        labels = open_labels(stores.folder / "results/out.zarr", "cells")
        np.testing.assert_array_equal(read_box(labels, 0, Box.of_shape(SHAPE)), some_labels())

    @pytest.mark.parametrize("version", ["0.4", "0.5"])
    def test_the_root_shows_the_labels_last_finished(self, stores, version):
        image, out = open_image(stores.image(version, levels=2)), stores.folder / "out.zarr"
        for name in ("first", "second"):
            write_all(plan_labels(image, out, name, shard=(64, 64, 64)))
            root = open_image(out)
            assert [level.path for level in root.levels] == [f"labels/{name}/0", f"labels/{name}/1"]
        assert root.label_names == ("first", "second")
        assert root.levels[1].scale_um == image.levels[1].scale_um
        create_labels(plan_labels(image, out, "second", shard=(64, 64, 64)), overwrite=True)
        with pytest.raises(InputError, match="labels without an image"):
            open_image(out)
        assert [open_labels(out, "first").dtype, open_labels(out, "first").version] == ["uint32", version]

    def test_a_wrong_name_is_not_taken_for_the_root(self, stores):
        image, out = open_image(stores.image()), stores.folder / "out.zarr"
        write_all(plan_labels(image, out, "cells", shard=(64, 64, 64)))
        with pytest.raises(InputError, match="no labels 'cell'; use one of these: cells"):
            open_labels(out, "cell")

    def test_the_image_given_as_output_is_the_image(self, stores):
        path = stores.image()
        target = plan_labels(open_image(path), f"{path}/", "cells", shard=(64, 64, 64))
        write_all(target)
        assert stores.read(target.path)["ome"]["image-label"]["source"] == {"image": "../../"}
        assert stores.read(path)["ome"]["multiscales"][0]["datasets"][0]["path"] == "0"

    def test_a_copy_of_the_image_keeps_its_own_root(self, stores):
        image, other = open_image(stores.image()), stores.image(name="copy.zarr")
        before = stores.read(other)
        write_all(plan_labels(image, other, "cells", shard=(64, 64, 64)))
        assert stores.read(other) == before
        assert open_image(other).label_names == ("cells",)


def test_nothing_is_printed(stores, capfd, caplog):
    with caplog.at_level(logging.CRITICAL):
        write_all(
            plan_labels(open_image(stores.image()), Path(stores.folder) / "out.zarr", "cells", shard=(64, 64, 64))
        )
    assert capfd.readouterr() == ("", "")


def test_ids_that_the_dtype_does_not_hold_are_refused(stores):
    target = plan_labels(open_image(stores.image()), None, "cells", shard=(64, 64, 64))
    refuse_ids_above(target, 2**32 - 1)
    with pytest.raises(TargetError, match="uint32 holds ids up to 4294967295, and the new ones go up to 4294967296"):
        refuse_ids_above(target, 2**32)
