"""What is written is valid OME-Zarr for ome-zarr-models and yaozarrs, and opens with ome-zarr-py and napari."""

import importlib.util
import shutil
import warnings

import numpy as np
import ome_zarr_models
import pytest
import yaozarrs
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader

from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.image.new_image import create_image
from bigcp3d.edge.labels.label_plan import plan_labels
from bigcp3d.edge.labels.labels import create_labels, finish_labels, write_label_box
from bigcp3d.pure.boxes import Box


def validate(group):
    """Both validators; the name of the model that ome-zarr-models finds."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yaozarrs.validate_zarr_store(str(group))
        return type(ome_zarr_models.open_ome_zarr(zarr.open_group(group, mode="r"))).__name__


def layers(group):
    """Name, shapes and visibility of what ome-zarr-py finds."""
    location = parse_url(str(group))
    return {
        (str(node.zarr.basename()), tuple(array.shape for array in node.data), node.visible)
        for node in Reader(location)()
        if node.data
    }


def write(image, output=None, name="cells"):
    target = plan_labels(image, output, name, shard=(64, 64, 64))
    create_labels(target, overwrite=False)
    for i, level in enumerate(target.levels):
        for time in range(target.times or 1):
            values = np.arange(np.prod(level.shape), dtype="uint32").reshape(level.shape) % 7
            write_label_box(target, i, Box.of_shape(level.shape), values, time=time)
    finish_labels(target, attributes={"bigcp3d": {"version": "1"}})
    return target


@pytest.mark.parametrize("axes", ["zyx", "czyx", "tczyx"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_in_the_image_are_valid(stores, version, axes):
    path = stores.image(version, axes, levels=2)
    assert validate(path) == "Image"
    target = write(open_image(path))
    write(open_image(path), name="more")
    assert validate(path) == "Image"
    assert validate(target.path) == "ImageLabel"
    if version == "0.5":  # yaozarrs takes no 0.4 list for itself, since that states no version
        assert validate(path / "labels") == "Labels"
    spatial = ((12, 20, 22), (12, 10, 11))
    shapes = tuple(((2,) if "t" in axes else ()) + shape for shape in spatial)
    assert {("cells", shapes, False), ("more", shapes, False)} <= layers(path)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_in_another_store_are_valid_and_lead_to_the_image(stores, version):
    path, out = stores.image(version, levels=2), stores.folder / "out.zarr"
    target = write(open_image(path), out)
    assert validate(target.path) == "ImageLabel"
    assert validate(out) == "ImageLabel"
    shapes = ((12, 20, 22), (12, 10, 11))
    assert layers(target.path) == {("cells", shapes, True), ("image.zarr", shapes, False)}
    assert {("out.zarr", shapes, True), ("image.zarr", shapes, False)} <= layers(out)


@pytest.mark.parametrize(("version", "axes"), [("0.1", "tczyx"), ("0.2", "tczyx"), ("0.3", "czyx"), ("0.3", "zyx")])
def test_labels_of_old_images_stand_alone_as_0_4(stores, version, axes):
    path = stores.image(version, axes, levels=2)
    target = write(open_image(path))
    assert open_labels(path, "cells").version == "0.4"
    assert type(ome_zarr_models.open_ome_zarr(zarr.open_group(target.path, mode="r"))).__name__ == "ImageLabel"
    name, shapes, _ = next(layer for layer in layers(path) if layer[0] == "cells")
    assert (name, shapes[0][-3:]) == ("cells", (12, 20, 22))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("scale", [None, (2.0, 0.5, 0.5)])
def test_new_images_are_valid(stores, version, channels, scale):
    size = (8, 8, 8)
    options = {"channels": channels, "version": version, "chunk": size, "shard": size, "name": "tissue"}
    create_image(stores.folder / "new.zarr", (9, 10, 11), "uint16", scale_um=scale, **options)
    assert validate(stores.folder / "new.zarr") == "Image"
    write(open_image(stores.folder / "new.zarr"))
    assert validate(stores.folder / "new.zarr") == "Image"


def test_the_validators_see_faults(stores):
    """The control: fewer levels than the image, and a list without a version."""
    path = stores.image("0.5", levels=2)
    target = write(open_image(path))
    attributes = stores.read(target.path)
    attributes["ome"]["multiscales"][0]["datasets"].pop()
    stores.write(target.path, attributes)
    with pytest.raises(ValueError, match="has 1 datasets, but parent image"):
        validate(path)


def test_what_ome_zarr_py_writes_is_read_and_gets_valid_labels(stores):
    voxels = np.random.default_rng(0).integers(0, 99, (2, 16, 32, 32)).astype("uint16")
    path = stores.folder / "theirs.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # their module warns of itself when it is imported
        from ome_zarr.writer import write_image

        write_image(voxels, str(path), axes="czyx", scaler=None, scale_factors=[2])
    image = open_image(path)
    assert (image.axes, image.channels) == (tuple("czyx"), 2)
    write(image)
    assert validate(path / "labels" / "cells") == "ImageLabel"
    assert open_image(path).label_names == ("cells",)


def test_labels_written_by_ome_zarr_py_stay_beside_ours(stores):
    path = stores.image("0.5")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ome_zarr.writer import write_labels

        theirs = np.ones((12, 20, 22), "uint8")
        write_labels(theirs, zarr.open_group(path, mode="a"), name="theirs", axes="zyx", scaler=None, scale_factors=[])
    write(open_image(path))
    assert open_image(path).label_names == ("theirs", "cells")
    assert "version" in stores.read(path / "labels")["ome"]  # which they leave out
    assert validate(path) == "Image"


def test_napari_opens_labels_as_labels(stores):
    if not (importlib.util.find_spec("napari_ome_zarr") and importlib.util.find_spec("napari")):
        pytest.skip("napari with napari-ome-zarr is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from napari_ome_zarr._reader import napari_get_reader

        path, out = stores.image("0.5", "czyx"), stores.folder / "out.zarr"
        target, _ = write(open_image(path)), write(open_image(path), out)
        # 0.11 shows <out>/labels/cells as an image: it looks for levels at the root, not for image-label.
        for group, kinds in ((path, {"image", "labels"}), (out, {"labels"}), (target.path, {"labels"})):
            layers = napari_get_reader(str(group))()
            assert {layer[2] for layer in layers} >= kinds  # and the source image, where it follows the path to that
            assert {tuple(layer[1]["scale"]) for layer in layers} == {(2, 0.5, 0.25)}
            assert {layer[0][0].shape for layer in layers if layer[2] == "labels"} == {(12, 20, 22)}


def test_every_real_volume_gets_valid_labels(shared_data, stores):
    """In another store, and for the blastocyst in place; arrays hold nothing, since voxels do not matter here."""
    paths = [
        p for p in shared_data.rglob("*.zarr") if "multiscales" in str(zarr.open_group(p, mode="r").attrs.asdict())
    ]
    assert shared_data / "blastocyst.zarr" in paths
    for path in paths:
        target = plan_labels(open_image(path), stores.folder / path.name, "cells", shard=(256, 256, 256))
        create_labels(target, overwrite=False)
        finish_labels(target, attributes={})
        if path.name == "blastocyst.zarr":  # yaozarrs wants its source to be 0.4
            assert type(ome_zarr_models.open_ome_zarr(zarr.open_group(target.path, mode="r"))).__name__ == "ImageLabel"
        else:
            assert validate(target.path) == "ImageLabel"


def test_the_blastocyst_takes_labels_in_place(shared_data, stores):
    path = stores.folder / "blastocyst.zarr"
    for source in (shared_data / "blastocyst.zarr").rglob(".z*"):  # without its voxels
        (path / source.relative_to(shared_data / "blastocyst.zarr")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path / source.relative_to(shared_data / "blastocyst.zarr"))
    target = plan_labels(open_image(path), None, "cells", shard=(256, 256, 256))
    assert target.factors == ((1, 1, 1), (1, 2, 2), (1, 2, 2))
    create_labels(target, overwrite=False)
    finish_labels(target, attributes={})
    assert stores.read(path / "labels") == {"labels": ["masks", "cells"]}  # there are no masks, but the list is theirs
    assert type(ome_zarr_models.open_ome_zarr(zarr.open_group(target.path, mode="r"))).__name__ == "ImageLabel"
    assert ("cells", ((1, 236, 275, 271), (1, 236, 137, 135), (1, 236, 68, 67)), False) in layers(path)
