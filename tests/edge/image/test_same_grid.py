"""Two arrays are paired voxel by voxel only if their metadata say that they lie on one grid."""

import re
from dataclasses import replace

import pytest

from bigcp3d.edge.image.given_maps import check_place_of_maps
from bigcp3d.edge.image.image import ImageInfo, Level
from bigcp3d.edge.image.same_grid import check_same_grid, check_same_start, with_place_of
from bigcp3d.errors import InputError

UM = ("micrometer",) * 3
SHAPE = (8, 16, 16)


def info(name, scale, start=(0.0, 0.0, 0.0), units=UM, shape=SHAPE):
    level = Level("0", shape, scale, start)
    return ImageInfo(f"/{name}", "0.5", 3, ("z", "y", "x"), (level,), "uint16", 1, 1, (), (), units)


IMAGE = info("image", (2.0, 0.5, 0.5), (10.0, 20.0, 30.0))


@pytest.mark.parametrize(
    ("scale", "start"),
    [
        ((2.0, 0.5, 0.5), (10.0, 20.0, 30.0)),
        ((2.0000001, 0.49999, 0.5), (10.0, 20.0, 30.0)),  # rounding
        ((2.0, 0.5, 0.5), (11.0, 20.25, 29.75)),  # half a voxel: where writers put a coarser level
    ],
)
def test_the_same_grid_is_taken_without_a_word(caplog, scale, start):
    check_same_grid(info("labels", scale, start), IMAGE)
    assert not caplog.records


@pytest.mark.parametrize(
    ("scale", "start", "said"),
    [
        ((2.0, 0.6, 0.5), (10.0, 20.0, 30.0), r"\(2, 0.6, 0.5\) um .*\(2, 0.5, 0.5\).*correct the wrong scale"),
        ((2000.0, 500.0, 500.0), (10.0, 20.0, 30.0), "scale"),  # nanometres that were called micrometres
        ((2.0, 0.5, 0.5), (10.0, 21.0, 30.0), r"\(10, 21, 30\) um .*\(10, 20, 30\).*correct the wrong translation"),
    ],
)
def test_another_grid_is_refused_or_told_of_labels_that_belong_to_the_image(caplog, scale, start, said):
    other = info("labels", scale, start)
    with pytest.raises(InputError, match=said):
        check_same_grid(other, IMAGE)
    check_same_grid(other, IMAGE, belong=True)
    assert "pairs their voxels one by one" in caplog.text


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (info("labels", None), "labels does not state its voxel size"),
        (info("labels", (1.0, 1.0, 1.0), units=(None,) * 3), "states no unit"),
        (info("labels", (2.0, 0.5, 0.5)), r"at \(0, 0, 0\)"),
        (info("labels", (2.0, 0.5, 0.5), (9.0, 9.0, 9.0), units=(None,) * 3), r"at \(9, 9, 9\)"),
    ],
)
def test_what_only_one_states_is_taken_with_a_warning(caplog, other, said):
    check_same_grid(other, IMAGE)
    assert re.search(said, caplog.text)
    assert len(caplog.records) == 1
    caplog.clear()
    check_same_grid(IMAGE, other)
    assert re.search(said, caplog.text)


def test_nothing_is_said_where_neither_states_a_voxel_size(caplog):
    check_same_grid(info("a", None), info("b", None))
    assert not caplog.records


def test_a_coarse_mask_may_begin_half_of_its_own_voxel_away(caplog):
    check_same_start(info("mask", (2.0, 4.0, 4.0), (10.0, 22.0, 32.0)), IMAGE)
    with pytest.raises(InputError, match="begins at"):
        check_same_start(info("mask", (2.0, 4.0, 4.0), (10.0, 24.0, 32.0)), IMAGE)


def test_labels_without_a_voxel_size_get_that_of_the_level_with_their_shape():
    coarse = Level("1", (8, 8, 8), (2.0, 1.0, 1.0), (10.0, 20.25, 30.25))
    image = replace(IMAGE, levels=(*IMAGE.levels, coarse))
    found = with_place_of(info("labels", None, shape=(8, 8, 8)), image).levels[0]
    assert (found.scale_um, found.translation_um) == (coarse.scale_um, coarse.translation_um)
    other = info("labels", None, shape=(8, 8, 9))
    assert with_place_of(other, image) is other


def test_maps_in_an_image_must_lie_on_the_working_grid(stores, caplog):
    image = info("image", (2.0, 0.5, 0.5))
    size = {"axes": "czyx", "counts": (1, 4), "dtype": "float32"}
    right = stores.image(name="right.zarr", scale=(2.0, 1.0, 1.0), **size)
    check_place_of_maps(right, image, (1.0, 2.0, 2.0))
    assert not caplog.records
    with pytest.raises(InputError, match="on the working grid"):
        check_place_of_maps(right, image, (1.0, 1.0, 1.0))
