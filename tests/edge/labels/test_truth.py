"""True labels are found in an image, or are an image or an array themselves."""

import numpy as np
import pytest
import zarr

from bigcp3d.edge.image.voxels import read_box
from bigcp3d.edge.labels.truth import is_truth_elsewhere, open_truth
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box

SHAPE = (12, 20, 22)


def test_an_image_without_labels_is_taken_for_its_voxels_and_told(stores, caplog):
    path = stores.image(dtype="int32")
    truth = open_truth(path, "truth")
    assert truth.path == str(path)
    assert "own voxels are taken" in caplog.text


def test_an_image_that_cannot_be_ids_or_has_labels_is_not(stores):
    with pytest.raises(InputError, match=r"cannot be ids.*float32"):
        open_truth(stores.image(dtype="float32"), "truth")
    path = stores.image("0.4", name="other.zarr")
    labels = zarr.create_group(path / "labels", zarr_format=2)
    stores.image("0.4", name="other.zarr/labels/cells")
    labels.attrs["labels"] = ["cells"]
    with pytest.raises(InputError, match="no labels 'truth'; use one of these: cells"):
        open_truth(path, "truth")
    assert open_truth(path, "cells").path.endswith("labels/cells")


def test_an_array_among_the_labels_is_named_and_the_image_is_not_taken_for_it(stores):
    path = stores.image("0.4", dtype="int32")
    labels = zarr.create_group(path / "labels", zarr_format=2)
    labels.attrs["labels"] = ["truth"]
    zarr.create_array(path / "labels" / "truth", data=np.ones(SHAPE, "u2"), chunks=SHAPE, zarr_format=2)
    with pytest.raises(InputError, match="labels/truth: this array has no OME-Zarr metadata, so"):
        open_truth(path, "truth")
    assert open_truth(path / "labels" / "truth", "truth").dtype == "uint16"


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("axes", [None, "xyz"])
def test_a_plain_array_is_read_with_its_own_axes(tmp_path, zarr_format, axes):
    if axes and zarr_format == 2:
        pytest.skip("zarr 2 names no axes")
    ids = np.random.default_rng(1).integers(0, 2**60, SHAPE)
    stored = ids.transpose(2, 1, 0) if axes else ids
    more = {"dimension_names": list(axes)} if axes else {}
    array = zarr.create_array(
        tmp_path / "t.zarr", shape=stored.shape, chunks=(5, 6, 7), dtype="int64", zarr_format=zarr_format, **more
    )
    array[...] = stored
    truth = open_truth(tmp_path / "t.zarr", "truth")
    assert truth.levels[0].shape == SHAPE
    box = Box((1, 2, 3), (9, 11, 20))
    assert np.array_equal(read_box(truth, 0, box), ids[box.slices()])


def test_an_array_that_cannot_be_labels_is_refused(tmp_path):
    for name, shape, dtype, said in (("a", SHAPE, "f4", "float32"), ("b", (2, *SHAPE), "u2", "name its axes")):
        zarr.create_array(tmp_path / name, shape=shape, dtype=dtype)
        with pytest.raises(InputError, match=said):
            open_truth(tmp_path / name, "truth")


def test_a_name_of_labels_may_be_a_path(tmp_path):
    (tmp_path / "t").mkdir()
    assert [*map(is_truth_elsewhere, (str(tmp_path / "t"), "other.zarr", "s3://b/t"))] == [True] * 3
    assert [*map(is_truth_elsewhere, ("truth", "a/b", "labels.v2"))] == [False] * 3
