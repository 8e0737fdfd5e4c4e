"""What a store is, in words, and what is wrong with it."""

import dataclasses

import numpy as np
import pytest
import zarr

from bigcp3d.edge.image import ImageInfo, Level
from bigcp3d.errors import InputError
from bigcp3d.face.info import describe_image, find_faults

FINE = Level("0", (64, 128, 128), (2.0, 0.5, 0.5), (0.0, 0.0, 0.0))
COARSE = Level("1", (64, 64, 64), (2.0, 1.0, 1.0), (0.0, 0.25, 0.25))
SOUND = ImageInfo("in.zarr", "0.5", 3, ("c", "z", "y", "x"), (FINE, COARSE), "uint16", 2, 1, ("LaminB1", "DAPI"), ())


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
        ({"times": 5}, "5 time points"),
        ({"dtype": "int64"}, "unusual dtype int64"),
        ({"levels": (COARSE, FINE)}, "level '0' is larger than level '1'"),
        ({"levels": (FINE, dataclasses.replace(COARSE, scale_um=(2.0, 2.0, 2.0)))}, "scale and shape disagree"),
    ],
)
def test_each_fault_is_named_with_its_cure(changes, words):
    (fault,) = faults(**changes)
    assert words in fault


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
    assert lines == [
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
    images = sorted(path for path in shared_data.rglob("*.zarr") if path.name != "ovule_shapes.zarr")
    assert len(images) > 10
    assert all("level 0" in describe_image(path) for path in images)
    assert "0 LaminB1, 1 Dapi" in describe_image(shared_data / "blastocyst.zarr")
    with pytest.raises(InputError, match="labels/truth"):  # it has no image, and says what to give instead
        describe_image(shared_data / "membrane" / "ovule_shapes.zarr")
