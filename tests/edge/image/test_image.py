"""Whatever a store's version, axes, chunks, byte order or flaws, the same voxels and micrometres come out."""

import json
import logging
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import zarr

from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.image.voxels import check_channel, check_level, check_time, missing_chunks, read_box, stored_chunk
from bigcp3d.errors import InputError
from bigcp3d.face.view.served_objects import group_metadata_of
from bigcp3d.pure.boxes import Box

BOX = Box((1, 2, 3), (11, 19, 22))
COMBINATIONS = [
    *[(version, "tczyx") for version in ("0.1", "0.2", "0.3", "0.4", "0.5", "0.6")],
    *[(version, axes) for version in ("0.3", "0.4", "0.5") for axes in ("zyx", "czyx", "tzyx")],
]


def plain(path, level=0):
    """The whole array of a level, by another way than the one under test."""
    return zarr.open_array(path / str(level), mode="r")[...]


def to_06(ome):
    """Axes into a coordinate system, scales into sequences."""
    multiscale = ome["multiscales"][0]
    multiscale["coordinateSystems"] = [
        {"name": "other", "axes": [{"name": "i", "type": "array"}]},
        {"name": "physical", "axes": multiscale.pop("axes")},
    ]
    for dataset in multiscale["datasets"]:
        steps = dataset["coordinateTransformations"]
        dataset["coordinateTransformations"] = [{"type": "sequence", "output": "physical", "transformations": steps}]


@pytest.mark.parametrize(("version", "axes"), COMBINATIONS)
def test_every_version_and_axes_read_the_same(stores, version, axes):
    path = stores.image(version, axes, levels=2, **({"edit": to_06} if version == "0.6" else {}))
    image = open_image(path)
    lead = tuple({"t": 1, "c": 2}[name] for name in axes if name in "tc")
    assert (image.version, image.axes) == (version, tuple(axes))
    assert image.zarr_format == (3 if version >= "0.5" else 2)
    assert (image.times, image.channels) == (2 if "t" in axes else 1, 3 if "c" in axes else 1)
    assert [level.shape for level in image.levels] == [(12, 20, 22), (12, 10, 11)]
    stated = version >= "0.4"
    assert [level.scale_um for level in image.levels] == ([(2.0, 0.5, 0.25), (2.0, 1.0, 0.5)] if stated else [None] * 2)
    channel, time = (2 if "c" in axes else 0), (1 if "t" in axes else 0)
    for level, box in ((0, BOX), (1, Box((0, 0, 0), (12, 10, 11)))):
        voxels = read_box(image, level, box, channel=channel, time=time)
        np.testing.assert_array_equal(voxels, plain(path, level)[lead][box.slices()])
        assert voxels.dtype == "uint16"
        if lead:  # another channel or time point differs, so the index matters
            assert not np.array_equal(voxels, read_box(image, level, box))


@pytest.mark.parametrize("chunks", [(1, 20, 22), (12, 20, 22), (3, 5, 7), (12, 1, 22)])
@pytest.mark.parametrize("separator", ["/", "."])
def test_chunks_and_separators_do_not_matter(stores, chunks, separator):
    path = stores.image("0.4", chunks=chunks, separator=separator)
    np.testing.assert_array_equal(read_box(open_image(path), 0, BOX), plain(path)[BOX.slices()])


def test_shards_do_not_matter(stores):
    path = stores.image("0.5", "czyx", chunks=(3, 5, 4), shards=(6, 10, 8))
    assert plain(path).any()
    np.testing.assert_array_equal(read_box(open_image(path), 0, BOX, channel=1), plain(path)[1][BOX.slices()])


@pytest.mark.parametrize("dtype", [">u2", "<u2", ">f4", "int8", "uint64", "float16", ">i4"])
def test_voxels_come_in_native_byte_order(stores, dtype):
    path = stores.image("0.4", dtype=dtype)
    image = open_image(path)
    assert image.dtype == np.dtype(dtype).newbyteorder("=").name
    voxels = read_box(image, 0, BOX)
    assert voxels.dtype.isnative
    assert voxels.dtype.name == image.dtype
    np.testing.assert_array_equal(voxels, plain(path)[BOX.slices()])


def test_missing_chunks_are_the_fill_value(stores):
    path = stores.image("0.4", chunks=(6, 10, 11), separator=".")
    (path / "0" / "1.0.1").unlink()
    voxels = read_box(open_image(path), 0, Box.of_shape((12, 20, 22)))
    assert not voxels[6:, :10, 11:].any()
    assert voxels[6:, :10, :11].any()


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        *[("nanometer", 1e-3), ("millimeter", 1e3), ("micrometer", 1), ("angstrom", 1e-4), ("um", 1), ("µm", 1)],
        *[("Micrometre", 1), ("microns", 1), ("nm", 1e-3), ("nanometers", 1e-3), (None, 1)],
        *[("kilometer", 1e9), ("femtometer", 1e-9), ("yard", 914400), ("foot", 304800), ("inch", 25400)],
    ],
)
def test_units_become_micrometres(stores, unit, factor):
    level = open_image(stores.image(unit=unit)).levels[0]
    assert level.scale_um == pytest.approx((2 * factor, 0.5 * factor, 0.25 * factor))


def test_a_missing_unit_is_logged(stores, caplog):
    with caplog.at_level(logging.INFO, "bigcp3d"):
        open_image(stores.image(unit="micrometer"))
        assert "no unit" not in caplog.text
        open_image(stores.image(unit=None, name="other.zarr"))
    assert "no unit" in caplog.text


def test_a_unit_that_is_no_length_leaves_the_scale_unknown(stores, caplog):
    assert open_image(stores.image(unit="pixel")).levels[0].scale_um is None
    assert "pixel" in caplog.text


def test_transformations_are_applied_in_order(stores):
    def edit(ome):
        steps = ome["multiscales"][0]["datasets"][0]["coordinateTransformations"]
        steps.append({"type": "translation", "translation": [1, 2, 3]})
        ome["multiscales"][0]["coordinateTransformations"] = [
            {"type": "identity"},
            {"type": "scale", "scale": [10, 10, 10]},
            {"type": "translation", "translation": [0, 0, 5]},
        ]

    level = open_image(stores.image(scale=(2, 0.5, 0.25), unit="nanometer", edit=edit)).levels[0]
    assert level.scale_um == pytest.approx((0.02, 0.005, 0.0025))
    assert level.translation_um == pytest.approx((0.01, 0.02, 0.035))


@pytest.mark.parametrize("order", ["xyz", "cxyz", "ctzyx", "zyxc", "ytxcz"])
def test_axes_in_another_order_are_read_as_they_are(tmp_path, order):
    """Voxels, scales, missing chunks and what is served to viewers; chunks that fit no box."""
    lengths, sides = {"t": 2, "c": 3, "z": 6, "y": 9, "x": 11}, {"t": 1, "c": 2, "z": 4, "y": 5, "x": 3}
    scale = {"z": 3.0, "y": 2.0, "x": 0.5}
    values = np.random.default_rng(0).integers(1, 99, [lengths[a] for a in order]).astype("uint16")
    group = zarr.create_group(tmp_path / "a.zarr")
    array = group.create_array("0", shape=values.shape, dtype="uint16", chunks=tuple(sides[a] for a in order))
    array[...] = values
    axes = [{"name": a, "type": {"t": "time", "c": "channel"}.get(a, "space")} for a in order]
    steps = [{"type": "scale", "scale": [scale.get(a, 1.0) for a in order]}]
    multiscale = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": steps}]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale]}
    image = open_image(tmp_path / "a.zarr")
    assert (image.levels[0].shape, image.levels[0].scale_um) == ((6, 9, 11), (3.0, 2.0, 0.5))
    assert stored_chunk(image, 0) == (4, 5, 3)
    channel, time = (image.channels - 1, image.times - 1)
    named = dict(zip(order, range(len(order)), strict=True))
    expected = values.transpose([named[a] for a in "tczyx" if a in named])
    expected = expected[tuple({"t": time, "c": channel}[a] for a in "tc" if a in named)]
    box = Box((1, 2, 3), (6, 9, 8))
    assert np.array_equal(read_box(image, 0, box, channel=channel, time=time), expected[box.slices()])
    index = {"t": time, "c": channel // 2, "z": 1, "y": 0, "x": 2}
    (tmp_path / "a.zarr/0" / array.metadata.encode_chunk_key(tuple(index[a] for a in order))).unlink()
    assert missing_chunks(image, 0, box, channel=channel, time=time) == [Box((4, 0, 6), (6, 5, 9))]
    served = json.loads(group_metadata_of(image)["zarr.json"])["attributes"]["ome"]["multiscales"][0]
    assert [axis["name"] for axis in served["axes"]] == list(order)
    assert served["datasets"][0]["coordinateTransformations"][0] == steps[0]


def test_no_scale_stated_is_none_and_not_one(stores):
    assert open_image(stores.image(scale=None)).levels[0].scale_um is None
    assert open_image(stores.image(scale=(1, 1, 1), name="one.zarr")).levels[0].scale_um == (1.0, 1.0, 1.0)


def test_channel_names_come_from_omero(stores):
    def name(*labels):
        return lambda ome: ome.update(omero={"channels": [{"label": text} for text in labels]})

    named = open_image(stores.image(axes="czyx", edit=name("DAPI", "GFP", "RFP")))
    assert named.channel_names == ("DAPI", "GFP", "RFP")
    assert [check_channel(named, c) for c in (0, 2, "GFP", "1")] == [0, 2, 1, 1]
    few = open_image(stores.image(axes="czyx", edit=name("DAPI"), name="few.zarr"))
    assert few.channel_names == ()
    waves = open_image(stores.image(axes="czyx", edit=name("1", "488", "DAPI"), name="waves.zarr"))
    assert [check_channel(waves, c) for c in (0, 1, "0", "488", "2", "#1", "#0")] == [0, 1, 0, 1, 2, 1, 0]
    with pytest.raises(
        InputError, match=r"'1' may mean channel 0 or 1 \(0 1, 1 488, 2 DAPI\); give '#' and the number"
    ):
        check_channel(waves, "1")
    twice = open_image(stores.image(axes="czyx", edit=name("DAPI", "DAPI", "GFP"), name="twice.zarr"))
    with pytest.raises(InputError, match="'DAPI' may mean channel 0 or 1"):
        check_channel(twice, "DAPI")
    numbers = open_image(stores.image(axes="czyx", edit=name(488, 0, None), name="numbers.zarr"))
    assert numbers.channel_names == ("488", "0", "2")
    with pytest.raises(InputError, match="'0' may mean channel 0 or 1"):
        check_channel(numbers, "0")


def no_type(ome):
    for axis in ome["multiscales"][0]["axes"]:
        del axis["type"]


FLAWS = {
    "omero is null": lambda ome: ome.update(omero=None),
    "omero is text": lambda ome: ome.update(omero="none"),
    "omero's channels are a number": lambda ome: ome.update(omero={"channels": 2}),
    "axes without types": no_type,
    "axes in capitals": lambda ome: [axis.update(name=axis["name"].upper()) for axis in ome["multiscales"][0]["axes"]],
    "axes missing": lambda ome: ome["multiscales"][0].pop("axes"),
    "version missing": lambda ome: (ome.pop("version", None), ome["multiscales"][0].pop("version", None)),
    "a second multiscale": lambda ome: ome["multiscales"].append({"datasets": []}),
    "a development version": lambda ome: "version" in ome and ome.update(version="0.5-dev1"),
    "time scaled by 0": lambda ome: ome["multiscales"][0]["datasets"][0]["coordinateTransformations"][0][
        "scale"
    ].__setitem__(0, 0),
}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("flaw", FLAWS)
def test_flaws_of_common_writers_are_tolerated(stores, version, flaw):
    path = stores.image(version, "tczyx", edit=FLAWS[flaw])
    image = open_image(path)
    assert image.axes == tuple("tczyx")
    assert image.levels[0].scale_um == (2.0, 0.5, 0.25)
    assert image.version == version


def test_metadata_of_0_5_without_the_ome_key_are_found(stores):
    path = stores.image("0.5")
    stores.write(path, stores.read(path)["ome"])
    assert open_image(path).version == "0.5"


def test_stale_consolidated_metadata_do_not_hide_labels(stores):
    path = stores.image("0.5")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(path)
    stores.image("0.5", dtype="uint32", name="image.zarr/labels/late")
    (path / "labels" / "zarr.json").write_text(
        '{"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"labels": ["late", "gone"]}}}'
    )
    assert "labels" not in zarr.open_group(path, mode="r")  # the control: a reader that trusts them
    assert open_image(path).label_names == ("late",)
    assert open_labels(path, "late").dtype == "uint32"


def test_stores_with_both_kinds_of_metadata_read_as_zarr_3(stores):
    path = stores.image("0.5")
    (path / ".zgroup").write_text('{"zarr_format": 2}')
    assert open_image(path).zarr_format == 3


@pytest.mark.parametrize("form", ["{}/", "{}//", "{}/../image.zarr", "~/image.zarr"])
@pytest.mark.parametrize("kind", [str, Path])
def test_paths_may_be_written_in_many_ways(stores, monkeypatch, form, kind):
    path = stores.image()
    monkeypatch.setenv("HOME", str(path.parent))
    assert open_image(kind(form.format(path))).path == str(path)


def test_relative_paths_become_absolute_for_workers_elsewhere(stores, monkeypatch):
    path = stores.image()
    monkeypatch.chdir(path.parent)
    assert open_image("image.zarr").path == str(path)


def test_info_is_frozen_and_travels_to_workers(stores):
    image = open_image(stores.image("0.5", "tczyx", levels=2))
    assert pickle.loads(pickle.dumps(image)) == image
    assert hash(image) == hash(pickle.loads(pickle.dumps(image)))
    assert len(pickle.dumps(image)) < 2000


def test_labels_are_found_from_the_image_the_list_or_themselves(stores):
    path = stores.image("0.5")
    labels = stores.image("0.5", dtype="int32", name="image.zarr/labels/cells")
    (path / "labels" / "zarr.json").write_text(
        '{"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": "0.5", "labels": ["cells"]}}}'
    )
    attributes = stores.read(labels)
    attributes["ome"]["image-label"] = {}
    stores.write(labels, attributes)
    found = [open_labels(path, "cells"), open_labels(path / "labels", "cells"), open_labels(labels, "any")]
    assert [info.path for info in found] == [str(labels)] * 3
    with pytest.raises(InputError, match=r"no labels 'others'; use one of these: cells"):
        open_labels(path, "others")


def test_labels_with_a_channel_axis_of_one_are_read(stores):
    path = stores.image("0.4")
    labels = stores.image("0.4", "czyx", counts=(1, 1), dtype="uint8", name="image.zarr/labels/cells")
    np.testing.assert_array_equal(read_box(open_labels(path, "cells"), 0, BOX), plain(labels)[0][BOX.slices()])


def test_boxes_outside_are_the_callers_error(stores):
    image = open_image(stores.image())
    for box in (Box((0, 0, 0), (13, 2, 2)), Box((-1, 0, 0), (2, 2, 2)), Box((3, 3, 3), (3, 4, 4))):
        with pytest.raises(ValueError, match="is not inside shape"):
            read_box(image, 0, box)


def test_what_the_image_has_passes_the_checks(stores):
    image = open_image(stores.image("0.4", "tczyx", levels=2))
    assert [check_level(image, n) for n in (0, 1)] == [0, 1]
    assert [check_time(image, n) for n in (0, 1)] == [0, 1]


REAL = ["blastocyst.zarr", *(f"membrane/{name}.zarr" for name in ("ovule", "root", "embryo"))]


def test_every_real_volume_opens_and_reads(shared_data):
    paths = [shared_data / name for name in REAL] + sorted((shared_data / "nuclei").glob("emb*.zarr"))
    assert len(paths) == 16
    for path in paths:
        image = open_image(path)
        last = len(image.levels) - 1
        box = Box((10, 20, 20), (20, 50, 50))
        whole = plain(path, image.levels[last].path)
        expected = whole[(0,) * (whole.ndim - 3)][box.slices()]
        np.testing.assert_array_equal(read_box(image, last, box), expected)
        assert expected.any()
        for name in image.label_names:
            labels = open_labels(path, name)
            assert labels.levels[0].shape == image.levels[0].shape
            assert labels.levels[0].scale_um == image.levels[0].scale_um


def test_the_blastocyst_is_read_as_published(shared_data):
    image = open_image(shared_data / "blastocyst.zarr")
    assert (image.version, image.zarr_format, image.axes) == ("0.1", 2, tuple("tczyx"))
    assert image.channel_names == ("LaminB1", "Dapi")
    assert image.label_names == ()  # it lists masks that are not there
    assert {level.scale_um for level in image.levels} == {None}


def test_labels_without_an_image_can_be_read(shared_data):
    info = open_labels(shared_data / "membrane" / "ovule_shapes.zarr", "truth")
    assert info.levels[0].shape == (151, 326, 566)
    with pytest.raises(
        InputError, match=r"labels without an image; give the image that .*ovule_shapes.zarr/labels/truth"
    ):
        open_image(shared_data / "membrane" / "ovule_shapes.zarr")
