"""A store of maps is checked before a run, and read as int8 whatever its dtype, chunks and form."""

import numpy as np
import pytest
import zarr

from bigcp3d.edge.image.given_maps import open_maps, read_maps
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box

SHAPE = (6, 9, 7)


def maps(seed=0, times=()):
    found = np.random.default_rng(seed).integers(-127, 128, (*times, 4, *SHAPE)).astype(np.int8)
    found[..., 0, :, :, :] = np.abs(found[..., 0, :, :, :])
    return found


def write(path, values, **more):
    zarr.create_array(path, data=values, **more)
    return path


@pytest.mark.parametrize("dtype", ["int8", "float16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("form", [{"chunks": (1, 5, 4, 7)}, {"chunks": (4, 2, 9, 3), "zarr_format": 2}])
def test_every_dtype_and_chunk_gives_the_same_int8(tmp_path, dtype, form):
    expected, box = maps(), Box((1, 0, 2), (6, 8, 7))
    stored = expected if dtype == "int8" else (expected / 127).astype(dtype)
    array = open_maps(write(tmp_path / "m.zarr", stored, **form), SHAPE, times=1)
    found = read_maps(array, 0, box)
    assert found.dtype == np.int8
    assert np.array_equal(found, expected[(slice(None), *box.slices())])


def test_time_points_are_told_apart(tmp_path):
    expected = maps(times=(2,))
    array = open_maps(write(tmp_path / "m.zarr", expected), SHAPE, times=2)
    for time in range(2):
        assert np.array_equal(read_maps(array, time, Box.of_shape(SHAPE)), expected[time])
    assert open_maps(write(tmp_path / "one.zarr", expected[:1]), SHAPE, times=1).ndim == 5
    with pytest.raises(InputError, match=r"shape \(4, 6, 9, 7\); use .* shape \(2, 4, 6, 9, 7\)"):
        open_maps(write(tmp_path / "four.zarr", expected[0]), SHAPE, times=2)


def multiscale(path, values, axes):
    kinds = {"t": "time", "c": "channel"}
    group = zarr.create_group(path, zarr_format=3)
    group.create_array("0", data=values)
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [
            {
                "axes": [{"name": a, "type": kinds.get(a, "space")} for a in axes],
                "datasets": [
                    {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0] * len(axes)}]}
                ],
            }
        ],
    }
    return path


def test_an_ome_zarr_image_is_read_at_its_finest_level(tmp_path):
    expected = maps()
    array = open_maps(multiscale(tmp_path / "m.ome.zarr", (expected / 127).astype("f4"), "czyx"), SHAPE, times=1)
    assert np.array_equal(read_maps(array, 0, Box.of_shape(SHAPE)), expected)
    with pytest.raises(InputError, match=r"axes z,y,x; write it again with axes c,z,y,x"):
        open_maps(multiscale(tmp_path / "zyx.zarr", expected[0], "zyx"), SHAPE, times=1)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "bool"])
def test_other_dtypes_are_refused(tmp_path, dtype):
    path = write(tmp_path / "m.zarr", np.zeros((4, *SHAPE), dtype))
    with pytest.raises(
        InputError, match=rf"these maps are {dtype}; convert them to .* int8, float16.*towards the centre"
    ):
        open_maps(path, SHAPE, times=1)


@pytest.mark.parametrize("shape", [SHAPE, (3, *SHAPE), (4, 6, 9, 8), (*SHAPE, 4), (2, 4, *SHAPE)])
def test_other_shapes_are_refused(tmp_path, shape):
    path = write(tmp_path / "m.zarr", np.zeros(shape, np.int8))
    with pytest.raises(InputError, match=r"use .*\(4, 6, 9, 7\).*resampled image.*--diameter") as caught:
        open_maps(path, SHAPE, times=1)
    assert str(shape) in str(caught.value)


def test_what_is_no_zarr_is_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "missing.zarr", tmp_path / "folder"):
        with pytest.raises(InputError, match="no zarr array can be opened"):
            open_maps(path, SHAPE, times=1)
    zarr.create_group(tmp_path / "group.zarr")
    with pytest.raises(InputError, match=r"group\.zarr"):
        open_maps(tmp_path / "group.zarr", SHAPE, times=1)


def test_nan_and_logits_are_refused_where_they_are_read(tmp_path):
    values = (maps() / 127).astype("f4")
    values[2, 3, 4, 5] = np.nan
    array = open_maps(write(tmp_path / "m.zarr", values), SHAPE, times=1)
    assert read_maps(array, 0, Box((0, 0, 0), (3, 9, 7))).shape == (4, 3, 9, 7)
    with pytest.raises(InputError, match=r"m.zarr.*box \(2, 4, 0\) to \(5, 9, 7\).*1 NaN"):
        read_maps(array, 0, Box((2, 4, 0), (5, 9, 7)))
