"""Image and labels that belong together are found, whichever of them was given."""

import shutil

import pytest

from bigcp3d.edge.image.image import open_image
from bigcp3d.edge.labels.image_and_labels import open_image_and_labels
from bigcp3d.edge.labels.label_plan import plan_labels
from bigcp3d.edge.labels.labels import create_labels, finish_labels
from bigcp3d.errors import InputError


def write_labels(image, output=None, name="cells"):
    target = plan_labels(open_image(image), output, name, shard=(64, 64, 64))
    create_labels(target, overwrite=False)
    finish_labels(target, attributes={})
    return target.path


@pytest.mark.parametrize("version", ["0.1", "0.4", "0.5"])
def test_from_an_image_from_a_store_of_labels_and_from_labels(stores, version):
    image, out = stores.image(version, "tczyx" if version == "0.1" else "czyx"), stores.folder / "far" / "out.zarr"
    inside = [write_labels(image, name=name) for name in ("cells", "more")]
    outside = [write_labels(image, out, name=name) for name in ("a", "b")]
    for given, names in ((image, ["cells", "more"]), (inside[0], ["cells"]), (out, ["a", "b"]), (outside[1], ["b"])):
        found = open_image_and_labels(given)
        assert found.image.path == str(image)
        assert list(found.labels) == names
        assert all(info.axes == tuple("tzyx" if version == "0.1" else "zyx") for info in found.labels.values())


def test_the_labels_finished_last_come_last(stores):
    image = stores.image()
    for name in ("a", "b"):
        write_labels(image, name=name)
    target = plan_labels(open_image(image), None, "a", shard=(64, 64, 64))
    create_labels(target, overwrite=True)
    finish_labels(target, attributes={})
    assert list(open_image_and_labels(image).labels) == ["b", "a"]


def test_labels_whose_image_has_gone_are_found_and_what_is_broken_is_left_out(stores, caplog):
    image, out = stores.image(), stores.folder / "out.zarr"
    write_labels(image, out)
    shutil.rmtree(write_labels(image, name="broken") / "0")
    write_labels(image)
    assert list(open_image_and_labels(image).labels) == ["cells"]
    shutil.move(image, stores.folder / "elsewhere.zarr")
    found = open_image_and_labels(out)
    assert (found.image, list(found.labels)) == (None, ["cells"])
    assert "out.zarr: the image of these labels cannot be read" in caplog.text


def test_what_is_neither_is_refused(stores):
    write_labels(stores.image())
    for given in ("nothing.zarr", "image.zarr/labels", "image.zarr/0"):
        with pytest.raises(InputError):
            open_image_and_labels(stores.folder / given)
