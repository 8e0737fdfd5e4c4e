"""Labels and images as TIFF files: voxels as in the store, voxel size, region, level; what a format cannot hold."""

import logging
import tracemalloc

import numpy as np
import pytest
import tifffile
import zarr

from bigcp3d.edge.image.image import open_image
from bigcp3d.edge.image.new_image import create_image, write_image_box
from bigcp3d.edge.labels.label_plan import plan_labels
from bigcp3d.edge.labels.labels import create_labels, finish_labels, write_label_box
from bigcp3d.edge.stores.zarr_write import edit_attributes
from bigcp3d.errors import InputError, TargetError
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.mean_pool import pool_means
from bigcp3d.schedule import export as export_module
from bigcp3d.schedule.edits.edit import edit
from bigcp3d.schedule.export import export
from bigcp3d.work.convert.convert import convert

SHAPE, SCALE = (20, 30, 40), (2.0, 0.5, 0.25)


def write_store(path, *, largest=300, times=1, channels=1, dtype="uint16"):
    """An image and labels of random voxels: the store, the image (t, c, z, y, x) and the labels (t, z, y, x)."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 200, (times, channels, *SHAPE)).astype(dtype)
    kind = "uint32" if largest < 2**32 else "uint64"
    ids = rng.integers(0, largest + 1, (times, *SHAPE)).astype(kind)
    ids[0, 0, 0, 0] = largest
    shape = {"chunk": (8, 16, 16), "shard": (8, 16, 16)}
    image = create_image(
        path, SHAPE, dtype, scale_um=SCALE, times=times, channels=channels, factors=[(1, 2, 2)], **shape
    )
    target = plan_labels(image, None, "cells", dtype=kind, shard=SHAPE)
    create_labels(target, overwrite=False)
    whole, half = Box.of_shape(SHAPE), Box.of_shape(image.levels[1].shape)
    for t in range(times):
        for c in range(channels):
            write_image_box(image, whole, values[t, c], time=t, channel=c)
            write_image_box(image, half, pool_means(values[t, c], (1, 2, 2)), level=1, time=t, channel=c)
        write_label_box(target, 0, whole, ids[t], time=t)
    finish_labels(target, attributes={})
    return path, values, ids


def test_voxels_that_were_not_annotated_are_background(tmp_path):
    ids = np.random.default_rng(1).integers(-1, 9, SHAPE).astype("int32")
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.create_array("0", data=ids, dimension_names=("z", "y", "x"))
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    levels = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": SCALE}]}]
    group.attrs["ome"] = {"version": "0.5", "image-label": {}, "multiscales": [{"axes": axes, "datasets": levels}]}
    export(tmp_path / "a.zarr", tmp_path / "a.ome.tif")
    assert np.array_equal(tifffile.imread(tmp_path / "a.ome.tif").reshape(SHAPE), np.maximum(ids, 0))


def read_imagej(path):
    """Voxels as (t, z, c, y, x), and voxel size."""
    with tifffile.TiffFile(path) as file:
        assert file.is_imagej
        series, tags = file.series[0], file.pages[0].tags
        sizes = dict(zip(series.axes, series.shape, strict=True))
        about = file.imagej_metadata
        size = [tags[f"{a}Resolution"].value[1] / tags[f"{a}Resolution"].value[0] for a in "YX"]
        assert about["unit"] == "um"
        return series.asarray().reshape([sizes.get(a, 1) for a in "TZCYX"]), (about["spacing"], *size)


@pytest.mark.parametrize(("times", "channels"), [(1, 1), (1, 2), (3, 2), (3, 1)])
def test_an_image_for_imagej(tmp_path, times, channels):
    store, values, _ = write_store(tmp_path / "a.zarr", times=times, channels=channels)
    done = export(store, tmp_path / "a.tif", what="image")
    assert (done.shape, done.dtype, done.scale_um) == ((times, channels, *SHAPE), "uint16", SCALE)
    found, size = read_imagej(tmp_path / "a.tif")
    np.testing.assert_array_equal(found, values.transpose(0, 2, 1, 3, 4))
    assert size == pytest.approx(SCALE)


@pytest.mark.parametrize(("times", "channels"), [(1, 1), (1, 2), (3, 2)])
def test_an_image_as_ome_tiff_comes_back_by_convert(tmp_path, times, channels):
    store, values, _ = write_store(tmp_path / "a.zarr", times=times, channels=channels)
    names = [{"label": f"stain {c}"} for c in range(channels)]
    edit_attributes(store, 3, lambda old: {**old, "ome": {**old["ome"], "omero": {"channels": names}}})
    export(store, tmp_path / "a.ome.tif", what="image")
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        assert file.is_ome
        np.testing.assert_array_equal(file.series[0].asarray().reshape(values.shape), values)
    again = convert(tmp_path / "a.ome.tif", tmp_path / "b.zarr")
    before = open_image(store)
    assert again.levels[0].scale_um == SCALE
    assert (again.axes, again.channels, again.times) == (before.axes, channels, times)
    if channels > 1:
        assert again.channel_names == ("stain 0", "stain 1")


@pytest.mark.parametrize(("largest", "imagej", "ome"), [(300, "uint16", "uint16"), (70000, "float32", "uint32")])
def test_ids_stay_as_they_are(tmp_path, caplog, largest, imagej, ome):
    store, _, ids = write_store(tmp_path / "a.zarr", largest=largest)
    with caplog.at_level(logging.WARNING):
        assert export(store, tmp_path / "a.tif").dtype == imagej
    assert ("go up to 70000, so they are written as float32" in caplog.text) == (largest > 65535)
    np.testing.assert_array_equal(read_imagej(tmp_path / "a.tif")[0][0, :, 0], ids[0])
    assert export(store, tmp_path / "a.ome.tif").dtype == ome
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.ome.tif"), ids[0])


def test_ids_that_float32_does_not_hold_are_refused_for_imagej(tmp_path):
    store, _, ids = write_store(tmp_path / "a.zarr", largest=2**24 + 1)
    with pytest.raises(InputError, match=r"go up to 16,777,217, and ImageJ holds .* a name that ends in \.ome\.tif"):
        export(store, tmp_path / "a.tif")
    assert not (tmp_path / "a.tif").exists()
    export(store, tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.ome.tif"), ids[0])


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
def test_ids_that_no_tiff_holds_are_refused_with_a_cure_that_helps(tmp_path, name):
    store, _, _ = write_store(tmp_path / "a.zarr", largest=2**32)
    with pytest.raises(InputError, match=r"TIFF holds up to 4,294,967,295.*bigcp3d edit STORE renumber"):
        export(store, tmp_path / name)
    edit(store).renumber()
    assert export(store, tmp_path / name).dtype == "uint16"


def test_a_region_a_level_a_time_and_a_channel(tmp_path):
    store, values, ids = write_store(tmp_path / "a.zarr", times=3, channels=2)
    done = export(store, tmp_path / "a.tif", roi="5:17,4:20,:", time="1:3")
    assert done.shape == (2, 1, 12, 16, 40)
    np.testing.assert_array_equal(read_imagej(tmp_path / "a.tif")[0][:, :, 0], ids[1:3, 5:17, 4:20])
    options = {"what": "image", "level": 1, "roi": "5:17,4:19,:", "channel": 1, "time": 2}
    assert export(store, tmp_path / "b.tif", **options).scale_um == (2.0, 1.0, 0.5)
    found, size = read_imagej(tmp_path / "b.tif")
    np.testing.assert_array_equal(found[0, :, 0], pool_means(values[2, 1], (1, 2, 2))[5:17, 2:10])
    assert size == pytest.approx((2.0, 1.0, 0.5))


def test_a_region_in_micrometres(tmp_path):
    store, _, ids = write_store(tmp_path / "a.zarr")
    export(store, tmp_path / "a.tif", roi="10:20,:,:5um")
    np.testing.assert_array_equal(read_imagej(tmp_path / "a.tif")[0][0, :, 0], ids[0, 5:10, :, :20])


def test_a_layer_that_does_not_fit_into_memory_is_refused(tmp_path, monkeypatch):
    write_store(tmp_path / "image.zarr")
    monkeypatch.setattr(export_module, "memory_per_worker", lambda workers: 1000)
    with pytest.raises(InputError, match=r"a layer of the image's chunks needs .* export a part"):
        export(tmp_path / "image.zarr", tmp_path / "out.tif", what="image")


def test_a_voxel_size_can_be_given(tmp_path):
    store, _, _ = write_store(tmp_path / "a.zarr")
    options = {"what": "image", "level": 1, "scale_um": (3, 1, 1)}
    assert export(store, tmp_path / "a.tif", **options).scale_um == (3, 2, 2)
    assert read_imagej(tmp_path / "a.tif")[1] == pytest.approx((3, 2, 2))


@pytest.mark.parametrize(
    ("options", "name", "message"),
    [
        ({}, "a.png", "export writes a TIFF file or a zip archive; give a name that ends in"),
        ({"name": "nothing"}, "a.tif", "no labels 'nothing'"),
        ({"channel": 0}, "a.tif", "labels have no channels"),
        ({"what": "image", "channel": 7}, "a.tif", "there is no channel 7"),
        ({"level": 5}, "a.tif", "there is no level 5"),
        ({"scale_um": (0, 1, 1)}, "a.tif", "give positive numbers"),
        ({"what": "both"}, "a.tif", "what is 'both'"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(tmp_path, options, name, message):
    store, _, _ = write_store(tmp_path / "a.zarr")
    with pytest.raises(InputError, match=message):
        export(store, tmp_path / name, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


@pytest.mark.parametrize(("dtype", "name"), [("int32", "a.tif"), ("int64", "a.ome.tif")])
def test_types_that_a_format_lacks_are_refused(tmp_path, dtype, name):
    store, _, _ = write_store(tmp_path / "a.zarr", dtype=dtype)
    with pytest.raises(InputError, match=f"its dtype is {dtype}"):
        export(store, tmp_path / name, what="image")


def test_nothing_is_overwritten_and_a_stopped_export_leaves_nothing(tmp_path):
    store, _, _ = write_store(tmp_path / "a.zarr")

    def stop(event):
        if event.done > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(store, tmp_path / "a.tif", what="image", on_event=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]
    (tmp_path / "a.tif").write_text("mine")
    with pytest.raises(TargetError, match="exists already; give --overwrite"):
        export(store, tmp_path / "a.tif")
    events = []
    export(store, tmp_path / "a.tif", overwrite=True, on_event=events.append)
    assert events[-1].done == events[-1].total
    read_imagej(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
def test_memory_does_not_grow_with_the_volume(tmp_path, name):
    peaks = []
    for depth in (64, 512):
        shape, chunk = (depth, 64, 64), (8, 64, 64)
        image = create_image(tmp_path / f"{depth}.zarr", shape, "uint16", scale_um=SCALE, chunk=chunk, shard=chunk)
        write_image_box(image, Box.of_shape(shape), np.ones(shape, "uint16"))
        tracemalloc.start()
        export(image.path, tmp_path / name, what="image", overwrite=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] + 2**19
