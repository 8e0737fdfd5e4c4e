"""A new image replaces a single image and nothing else, and lies neither in an array nor in the place of labels."""

from __future__ import annotations

import pytest
import zarr

import bigcp3d
from bigcp3d.edge.image.new_image import create_image
from bigcp3d.edge.labels.check_new_image import check_new_image
from bigcp3d.errors import TargetError

SIDE = (8, 8, 8)


@pytest.fixture
def image(tmp_path):
    create_image(tmp_path / "a.zarr", SIDE, "uint8", scale_um=None, chunk=SIDE, shard=SIDE)
    return tmp_path / "a.zarr"


def make_group(path, **ome):
    zarr.open_group(path, mode="w", zarr_format=3, attributes={"ome": {"version": "0.5", **ome}})
    return path


def test_an_image_alone_can_be_replaced_and_nothing_more(tmp_path, image):
    check_new_image(image, overwrite=True)
    (image / "labels").mkdir()
    check_new_image(image, overwrite=True)  # no labels are in it
    plate = make_group(tmp_path / "plate.zarr", plate={"wells": [{"path": "A/1"}]})
    for where, said in (
        (image / "0", "this is none; .* zarr array"),
        (plate, "this is none; .* plate"),
        (make_group(tmp_path / "group.zarr"), "this is none; .* no multiscales"),
    ):
        with pytest.raises(TargetError, match=said):
            check_new_image(where, overwrite=True)
    for inside in ("labels/cells", "tables/cells", "other"):
        (image / inside).mkdir(parents=True)
        with pytest.raises(TargetError, match=rf"holds {inside.split('/')[0]}, which --overwrite would delete"):
            check_new_image(image, overwrite=True)
        (image / inside).rmdir()


def test_labels_that_were_simulated_with_the_image_can_be_replaced_until_somebody_corrects_them(tmp_path):
    store = tmp_path / "a.zarr"
    bigcp3d.simulate(store, bigcp3d.Tissue((24, 32, 32), diameter_vox=14.0))
    check_new_image(store, overwrite=True)
    bigcp3d.edit(store, "truth").delete(int(zarr.open_array(store / "labels" / "truth" / "0", mode="r")[...].max()))
    with pytest.raises(TargetError, match="holds labels, which"):
        check_new_image(store, overwrite=True)


def test_places_that_are_no_place_for_an_image_are_refused(tmp_path, image):
    (tmp_path / "link.zarr").symlink_to("elsewhere.zarr")
    for where, said in (
        (tmp_path / "link.zarr", r"this is a link to elsewhere\.zarr; give the path that it points to"),
        (image / "labels", "this is the place for the labels of"),
        (image / "tables", "this is the place for the tables of"),
        (image / "0" / "new" / "b.zarr", "inside the zarr array .*0; give a path outside it"),
    ):
        with pytest.raises(TargetError, match=said):
            check_new_image(where, overwrite=False)
    check_new_image(image / "b.zarr", overwrite=False)
    check_new_image(tmp_path / "labels", overwrite=False)
