"""A file of another format is converted beside it once, and used again while it stays as it was."""

import os
import shutil

import numpy as np
import pytest
import tifffile

from bigcp3d.edge.image.image import open_image
from bigcp3d.edge.image.metadata import is_labels
from bigcp3d.edge.image.open_node import read_attributes
from bigcp3d.edge.labels.truth import open_truth
from bigcp3d.errors import InputError
from bigcp3d.work.convert.beside import convert_beside, convert_labels_beside, find_converted
from bigcp3d.work.convert.convert import convert


@pytest.fixture
def stack(tmp_path):
    said = {"axes": "ZYX", "spacing": 1.0, "unit": "um"}
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 8, 9), "uint16"), imagej=True, resolution=(2, 2), metadata=said)
    return tmp_path / "a.tif"


def test_it_is_converted_once_and_told(stack):
    told = []
    assert find_converted(stack) == (stack.with_name("a.zarr"), True)
    first = convert_beside(stack, tell=told.append)
    assert first == stack.with_name("a.zarr")
    assert open_image(first).levels[0].scale_um == (1.0, 0.5, 0.5)
    written = first.stat().st_mtime_ns
    assert convert_beside(str(stack), tell=told.append) == first
    assert (find_converted(stack), first.stat().st_mtime_ns) == ((first, False), written)
    assert ["converted once" in told[0], "converted earlier" in told[1], len(told)] == [True, True, 2]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_store_that_was_converted_by_hand_is_taken(stack, version):
    convert(stack, format=version, scale_um=(3, 1, 1))
    assert open_image(convert_beside(stack)).levels[0].scale_um == (3, 1, 1)


def test_a_store_of_labels_says_so_and_an_image_does_not(stack):
    assert not is_labels(read_attributes(convert_beside(stack)))
    shutil.rmtree(stack.with_name("a.zarr"))
    labels = convert_labels_beside(stack, (1.0, 0.5, 0.5))
    assert is_labels(read_attributes(labels))
    assert find_converted(stack) == (labels, False), "it is taken the next time"
    assert open_truth(labels, "truth").path == str(labels)


def test_labels_get_only_those_voxel_sizes_of_their_image_that_their_file_lacks(stack, tmp_path, caplog):
    image = (4.0, 3.0, 3.0)
    assert open_image(convert_labels_beside(stack, image)).levels[0].scale_um == (1.0, 0.5, 0.5)
    assert "does not state" not in caplog.text
    for name, more in (("flat.tif", {"unit": "um"}), ("bare.tif", {})):
        said = {"imagej": True, "resolution": (2, 2), "metadata": {"axes": "ZYX", **more}}
        tifffile.imwrite(tmp_path / name, np.zeros((4, 8, 9), "uint16"), **said)
    assert open_image(convert_labels_beside(tmp_path / "flat.tif", image)).levels[0].scale_um == (4.0, 0.5, 0.5)
    assert "flat.tif does not state its voxel size along z; that of the image is taken" in caplog.text
    assert open_image(convert_labels_beside(tmp_path / "bare.tif", image)).levels[0].scale_um == image
    assert "bare.tif does not state its voxel size along z, y, x; that of the image is taken" in caplog.text


@pytest.mark.parametrize("change", ["time", "size", "foreign", "other file"])
def test_a_store_of_another_file_is_refused(stack, change):
    beside = convert_beside(stack)
    if change == "time":
        os.utime(stack, (1, 1))
    elif change == "size":
        with open(stack, "ab") as file:
            file.write(b"more")
    elif change == "foreign":
        shutil.rmtree(beside)
        beside.mkdir()
    else:
        stack = stack.rename(stack.with_suffix(".TIFF"))
    with pytest.raises(
        InputError,
        match=r"earlier version of this one; give .*a.zarr itself, or convert",
    ):
        convert_beside(stack)


def test_another_dataset_of_the_file_may_change(tmp_path):
    tensorstore = pytest.importorskip("tensorstore")
    for name in ("raw", "other"):
        metadata = {"dataType": "uint16", "dimensions": [4, 5, 6], "blockSize": [4, 4, 4]}
        spec = {"driver": "n5", "kvstore": f"file://{tmp_path}/a.n5/{name}"}
        tensorstore.open({**spec, "metadata": {**metadata, "compression": {"type": "raw"}}}, create=True).result()
    convert(tmp_path / "a.n5", dataset="/raw", scale_um=(1, 1, 1))
    os.utime(tmp_path / "a.n5" / "other" / "attributes.json", (1, 1))
    assert find_converted(tmp_path / "a.n5") == (tmp_path / "a.n5.zarr", False)
    shutil.rmtree(tmp_path / "a.n5" / "raw")
    with pytest.raises(InputError, match="earlier version of this one"):
        find_converted(tmp_path / "a.n5")


def test_stores_addresses_and_unknown_files_stay_as_they_are(stack, tmp_path):
    store = convert_beside(stack)
    (tmp_path / "notes.txt").write_text("x")
    for other in (store, "s3://bucket/a.zarr", tmp_path / "notes.txt", tmp_path / "missing.tif"):
        assert find_converted(other) == (other, False)


def test_a_voxel_size_that_is_missing_can_be_given(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 8, 9), "uint16"), photometric="minisblack")
    with pytest.raises(InputError, match="give --scale"):
        convert_beside(tmp_path / "a.tif")
    assert open_image(convert_beside(tmp_path / "a.tif", scale_um=(2, 1, 1))).levels[0].scale_um == (2, 1, 1)
