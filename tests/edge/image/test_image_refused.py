"""What cannot be segmented is refused before a voxel is read: found, allowed, cure. Nothing is written."""

import json
import math
import re
import shutil

import numpy as np
import pytest
import zarr

from bigcp3d.edge.image.count_chunks import count_chunks
from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.image.voxels import check_channel, check_level, check_time, read_box
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box


def multiscale(change):
    return lambda ome: change(ome["multiscales"][0])


def set_scale(value):
    return multiscale(lambda m: m["datasets"][0]["coordinateTransformations"][0]["scale"].__setitem__(1, value))


def axes_of(names, types=None):
    types = types or ["space"] * len(names)
    return multiscale(lambda m: m.update(axes=[{"name": n, "type": t} for n, t in zip(names, types, strict=True)]))


BAD = {
    "no z": (
        {"axes": "cyx", "shape": (20, 22), "counts": (1, 3)},
        r"axes are c,y,x, without z; give a 3D volume",
    ),
    "2D": ({"axes": "yx", "shape": (20, 22), "scale": (1, 1)}, r"axes are y,x, without z; give a 3D volume"),
    "strange axis": ({"edit": axes_of("qyx")}, r"axis 'q' of type 'space'; take out all axes but t"),
    "strange type": ({"edit": axes_of("zyx", ["depth", "space", "space"])}, r"axis 'z' of type 'depth'; take out"),
    "an axis twice": ({"edit": axes_of("zyxx")}, r"axes are z,y,x,x, with one of them twice"),
    "too few axes": (
        {"axes": "czyx", "edit": axes_of("zyx")},
        r"3 axes \(z,y,x\) for arrays of 4 dimensions; correct",
    ),
    "an axis that is a number": (
        {"edit": multiscale(lambda m: m.update(axes=[1, 2, 3]))},
        r"the axis 1 is not a name or an object",
    ),
    "no voxels": ({"shape": (12, 0, 22)}, r"no voxels on axis y \(shape \(12, 0, 22\)\); write the image again"),
    "complex": ({"dtype": "complex64"}, r"dtype is complex64; convert it to integers or floating point numbers"),
    "boolean": ({"dtype": "bool"}, r"dtype is bool; convert it to integers$"),
    "unknown version": (
        {"edit": lambda ome: ome.update(version="1.7")},
        r"version '1.7'; 0.1 to 0.6 can be read: convert",
    ),
    "no datasets": ({"edit": multiscale(lambda m: m.update(datasets=[]))}, r"datasets are \[\], and a list of objects"),
    "dataset without a path": (
        {"edit": multiscale(lambda m: m["datasets"][0].pop("path"))},
        r"a list of objects with a path is needed",
    ),
    "missing level": (
        {"edit": multiscale(lambda m: m["datasets"].__setitem__(0, {"path": "9"}))},
        r"no readable array at level path '9' .* name the levels 9: write the image again",
    ),
    "scale of 0": (
        {"edit": set_scale(0)},
        r"image.zarr/0: its scale is 0 on axis y, not a finite number above 0",
    ),
    "negative scale": ({"edit": set_scale(-0.5)}, r"its scale is -0.5 on axis y, not a finite number above 0"),
    "scale not a number": ({"edit": set_scale(math.nan)}, r"its scale is nan on axis y, not"),
    "scale a word": ({"edit": set_scale("1")}, r"its scale is '1' on axis y, not"),
    "scale too short": (
        {"axes": "czyx", "edit": multiscale(lambda m: m["datasets"][0]["coordinateTransformations"][0]["scale"].pop())},
        r"for axes c,z,y,x; correct the metadata: one number for each axis",
    ),
    "rotation": (
        {"edit": multiscale(lambda m: m.update(coordinateTransformations=[{"type": "rotation"}]))},
        r"transformation of type 'rotation', and only scale and translation can be used; resample",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_images_are_refused_and_nothing_is_written(stores, contents, case):
    options, message = BAD[case]
    path = stores.image(**options)
    before = contents()
    with pytest.raises(InputError, match=message) as caught:
        open_image(path)
    assert str(path) in str(caught.value)
    assert contents() == before


def test_images_without_multiscales_are_refused(stores):
    path = stores.image()
    stores.write(path, {"ome": {"version": "0.5"}})
    with pytest.raises(InputError, match="zarr group has no multiscales, so it is not an OME-Zarr image"):
        open_image(path)


@pytest.mark.parametrize(
    ("dtype", "shape", "words"),
    [
        ("uint8", (3, 12, 10, 11), "it has 4 dimensions of uint8, but the finer level has 4 of uint16"),
        ("uint16", (12, 10), "it has 2 dimensions of uint16, but the finer level has 4 of uint16"),
        ("uint16", (2, 12, 10, 11), "it has 2 on axis c, but the finer level has 3"),
        ("uint16", (3, 12, 0, 11), "there are no voxels on axis y"),
        ("uint16", (3, 13, 10, 11), "it has 13 on axis z, but the finer level has 12"),
        (None, None, "there is no readable array at level path '1'"),
    ],
)
def test_levels_that_do_not_fit_are_not_used_and_told(stores, caplog, dtype, shape, words):
    path = stores.image("0.5", "czyx", levels=3)
    levels = open_image(path).levels
    shutil.rmtree(path / "1")
    if shape is not None:
        zarr.create_array(path / "1", shape=shape, dtype=dtype)
    assert open_image(path).levels == (levels[0], levels[2])
    assert words in caplog.text
    assert "not used" in caplog.text


def test_levels_are_found_by_their_shapes(stores, caplog):
    path = stores.image("0.5", levels=3)
    levels = open_image(path).levels
    attributes = stores.read(path)
    attributes["ome"]["multiscales"][0]["datasets"].reverse()
    stores.write(path, attributes)
    assert open_image(path).levels == levels
    assert "not in order; taken from fine to coarse as 0, 1, 2" in caplog.text


@pytest.mark.parametrize(("version", "separator", "said"), [("0.4", "/", "."), ("0.4", ".", "/"), ("0.5", "/", ".")])
def test_chunks_that_the_metadata_do_not_lead_to_are_told(stores, version, separator, said):
    path = stores.image(version, separator=separator)
    file = path / "0" / (".zarray" if version == "0.4" else "zarr.json")
    metadata = json.loads(file.read_bytes())
    if version == "0.4":
        metadata["dimension_separator"] = said
    else:
        metadata["chunk_key_encoding"]["configuration"]["separator"] = said
    file.write_text(json.dumps(metadata))
    with pytest.raises(InputError, match=r"chunks have names like .*but the metadata say .* correct the separator"):
        open_image(path)


@pytest.mark.parametrize("fill", [0, "NaN"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_chunk_that_is_a_link_to_nowhere_cannot_be_read(stores, version, fill):
    path = stores.image(version, dtype="float32")
    file = path / "0" / (".zarray" if version == "0.4" else "zarr.json")
    file.write_text(json.dumps({**json.loads(file.read_bytes()), "fill_value": fill}))
    chunk = next(file for file in path.rglob("*") if file.is_file() and file.name.isdecimal())
    chunk.unlink()
    box = Box.of_shape((12, 20, 22))
    read_box(open_image(path), 0, box)  # a chunk that was never written
    chunk.symlink_to("/nowhere/.git/annex/objects/x")
    with pytest.raises(InputError, match=r"is a link to /nowhere/.git/annex/objects/x, which is not there"):
        read_box(open_image(path), 0, box)
    counts = count_chunks(open_image(path), 0)
    assert (counts.dead, counts.missing, counts.stored) == (1, 0, counts.expected - 1)


def test_a_group_where_a_level_should_be_is_refused(stores):
    path = stores.image("0.5", levels=1, edit=multiscale(lambda m: m["datasets"].append({"path": "sub"})))
    zarr.open_group(path / "sub", mode="w")
    with pytest.raises(InputError, match="no readable array at level path 'sub'"):
        open_image(path)


def test_a_path_that_does_not_exist_says_how_far_it_does(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match=rf"there is nothing .*up to {tmp_path}/there\); give an OME-Zarr group"):
        open_image(tmp_path / "there" / "not" / "here.zarr")


def test_a_folder_without_zarr_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no zarr.json, .zgroup or .zarray, so it is not an OME-Zarr group"):
        open_image(tmp_path)


def test_the_folder_above_names_the_stores_in_it(stores, tmp_path):
    path = stores.image()
    with pytest.raises(InputError, match=f"this is a folder of zarr stores; give one of {path}"):
        open_image(tmp_path)


def test_a_folder_inside_an_image_names_the_image(stores):
    path = stores.image("0.4")
    (path / "extra").mkdir()
    for inside in ("extra", "0/0"):
        with pytest.raises(InputError, match=f"folder inside an image, not a zarr group; give {path}$"):
            open_image(path / inside)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_array_names_its_image(stores, version):
    path = stores.image(version)
    for given in (open_image, lambda p: open_labels(p, "cells")):
        with pytest.raises(InputError, match=f"this is a zarr array, not an OME-Zarr group; give its image, {path}$"):
            given(path / "0")


def test_an_array_of_its_own_is_refused(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", shape=(3, 4, 5), dtype="u1")
    with pytest.raises(InputError, match=r"this is a zarr array, .* write it as OME-Zarr with ome_zarr.writer"):
        open_image(tmp_path / "a.zarr")


def test_a_group_of_labels_is_no_image(stores):
    path = stores.image("0.4")
    stores.image("0.4", dtype="uint32", name="image.zarr/labels/cells")
    zarr.open_group(path / "labels", mode="a", zarr_format=2).attrs["labels"] = ["cells"]
    with pytest.raises(InputError, match=r"labels without an image; give the image that .*/labels/cells belongs to"):
        open_image(path / "labels")


def test_an_address_of_an_unknown_kind_is_refused():
    with pytest.raises(
        InputError, match=r"gs://: addresses of this kind cannot be read; copy the store to a local folder"
    ):
        open_image("gs://a/b.zarr")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_plate_names_its_images(stores, version):
    """Fields are not always called 0, and may be missing."""

    def write(where, content):
        zarr.open_group(where, mode="a", zarr_format=3 if version == "0.5" else 2)
        stores.write(where, {"ome": content} if version == "0.5" else content)

    plate = stores.folder / "plate.zarr"
    write(plate, {"plate": {"wells": [{"path": "A/1"}, {"path": "B/3"}, {"path": "C/1"}]}})
    for well, fields in (("A/1", ("001000", "002000")), ("B/3", ("0",))):
        write(plate / well, {"well": {"images": [*({"path": field} for field in fields), {"path": "none"}]}})
        for field in fields:
            stores.image(version, name=f"plate.zarr/{well}/{field}")
    with pytest.raises(InputError, match=r"screening plate; .*: .*/A/1/001000, .*/A/1/002000, .*/B/3/0\. For all"):
        open_image(plate)
    with pytest.raises(InputError, match=r"this is a high-content screening plate; .*/A/1/001000"):
        open_labels(plate, "cells")


def test_a_well_names_its_images(stores):
    zarr.open_group(stores.folder / "well.zarr", mode="w", zarr_format=3)
    stores.write(stores.folder / "well.zarr", {"ome": {"well": {"images": [{"path": "0"}, {"path": "1"}]}}})
    stores.image("0.5", name="well.zarr/0")
    stores.image("0.5", name="well.zarr/1")
    with pytest.raises(
        InputError,
        match=r"screening well; give one image of it: .*/well.zarr/0, .*/well.zarr/1\. For all",
    ):
        open_image(stores.folder / "well.zarr")


def test_a_bioformats2raw_collection_names_its_images(stores):
    zarr.open_group(stores.folder / "raw.zarr", mode="w", zarr_format=2)
    stores.write(stores.folder / "raw.zarr", {"bioformats2raw.layout": 3})
    stores.image("0.4", name="raw.zarr/0")
    stores.image("0.4", name="raw.zarr/1")
    with pytest.raises(
        InputError,
        match=r"bioformats2raw collection; give one image of it: .*/raw.zarr/0, .*/raw.zarr/1\. For all",
    ):
        open_image(stores.folder / "raw.zarr")


def test_metadata_that_are_no_json_are_refused(stores):
    path = stores.image("0.5")
    (path / "zarr.json").write_text("{")
    with pytest.raises(InputError, match=r"zarr metadata \(zarr.json\) cannot be read"):
        open_image(path)


def test_labels_that_are_no_integers_are_refused(stores):
    path = stores.image("0.5")
    stores.image("0.5", dtype="float32", name="image.zarr/labels/soft")
    with pytest.raises(InputError, match="labels/soft: these labels are float32; convert them to integers"):
        open_labels(path, "soft")


def test_labels_of_many_channels_are_refused(stores):
    path = stores.image("0.5")
    stores.image("0.5", "czyx", dtype="int32", name="image.zarr/labels/many")
    with pytest.raises(InputError, match="labels have 3 channels on axis c; split"):
        open_labels(path, "many")


@pytest.mark.parametrize(
    ("check", "number", "message"),
    [
        (check_channel, 3, r"there is no channel 3 \(axes t,c,z,y,x\); use 0 to 2"),
        (check_channel, -1, "there is no channel -1 .* use 0 to 2"),
        (check_channel, "7", "there is no channel '7'; use 0 to 2"),
        (check_channel, "DAPI", r"there is no channel 'DAPI'; use 0 to 2, or a name: none is named"),
        (check_level, 1, "there is no level 1 .* use 0"),
        (check_time, 2, "there is no time point 2 .* use 0 to 1"),
    ],
)
def test_what_the_image_has_not_is_refused(stores, check, number, message):
    image = open_image(stores.image("0.5", "tczyx"))
    with pytest.raises(InputError, match=message):
        check(image, number)


def damage(path, how):
    """Tear one stored object of an array; return where."""
    stored = max(p for p in path.rglob("*") if p.is_file() and not re.search(r"zarr.json|\.z", p.name))
    content = stored.read_bytes()
    content = content[: len(content) // 2 if how == "truncated" else 0]
    stored.write_bytes(content)


@pytest.mark.parametrize("how", ["truncated", "empty"])
@pytest.mark.parametrize("kind", ["zarr 2", "zarr 3", "shards"])
def test_a_damaged_chunk_is_an_error_that_names_path_and_box(stores, how, kind):
    shards = (12, 24, 26) if kind == "shards" else None
    path = stores.image("0.4" if kind == "zarr 2" else "0.5", chunks=(6, 12, 13), shards=shards)
    image = open_image(path)
    box = Box((0, 0, 0), (12, 20, 22))
    assert read_box(image, 0, box).any()
    damage(path / "0", how)
    with pytest.raises(
        InputError, match=r"image.zarr/0: voxels cannot be read in box \(0, 0, 0\) to \(12, 20, 22\)"
    ) as caught:
        read_box(image, 0, box)
    assert caught.value.__cause__ is not None


def test_nan_in_voxels_is_no_error_here(stores):
    path = stores.image(dtype="float32")
    zarr.open_array(path / "0", mode="r+")[3, 4, 5] = np.nan
    assert np.isnan(read_box(open_image(path), 0, Box((3, 4, 5), (4, 5, 6))))
