"""HDF5 datasets, Imaris files and N5 containers, made by h5py and tensorstore in the layouts of their programs."""

import json
import os
import shutil

import numpy as np
import pytest

from bigcp3d.edge.convert.open_source import open_source, stamp
from bigcp3d.edge.convert.volume import name_volume
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box
from tests.edge.convert.test_tiff import read_all

h5py = pytest.importorskip("h5py")

STACK = np.random.default_rng(0).integers(0, 60000, (12, 9, 10)).astype("uint16")


def test_plantseg_says_its_voxel_size(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("raw", data=STACK, chunks=(4, 4, 4), compression="gzip")
        file["raw"].attrs["element_size_um"] = (0.3, 0.1, 0.1)
    with open_source(tmp_path / "a.h5") as source:
        volume = name_volume(source)
        assert (volume.scale_um, source.rows) == ((0.3, 0.1, 0.1), 4)
        np.testing.assert_array_equal(read_all(volume)[0, 0], STACK)
        box = Box((1, 2, 3), (9, 8, 7))
        np.testing.assert_array_equal(volume.read(0, 0, box), STACK[box.slices()])


def test_one_of_several_datasets_is_named(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["in/raw"], file["label"], file["names"] = STACK, STACK.astype("uint32"), [b"x"]
    with pytest.raises(InputError, match=r"2 volumes; give one with --dataset: in/raw \(12, 9, 10\) uint16; label"):
        open_source(tmp_path / "a.h5").__enter__()
    with pytest.raises(InputError, match="no volume 'rav'; give --dataset"):
        open_source(tmp_path / "a.h5", dataset="rav").__enter__()
    for name in ("in/raw", "/in/raw"):
        with open_source(tmp_path / "a.h5", dataset=name) as source:
            np.testing.assert_array_equal(read_all(name_volume(source, scale_um=(1, 1, 1)))[0, 0], STACK)


@pytest.mark.parametrize("how", ["ilastik", "labels", "neither"])
def test_axes_of_a_dataset(tmp_path, how):
    values = STACK.reshape(2, 6, 9, 10).transpose(1, 2, 3, 0)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        node = file.create_dataset("data", data=values)
        if how == "ilastik":
            node.attrs["axistags"] = json.dumps({"axes": [{"key": key} for key in "zyxc"]})
        if how == "labels":
            for dim, label in zip(node.dims, "ZYXC", strict=True):
                dim.label = label
    with open_source(tmp_path / "a.h5") as source:
        if how == "neither":
            with pytest.raises(InputError, match=r"has 4 axes .* give --axes"):
                name_volume(source, scale_um=(1, 1, 1))
        else:
            volume = name_volume(source, scale_um=(1, 1, 1))
            np.testing.assert_array_equal(read_all(volume)[0], STACK.reshape(2, 6, 9, 10))


def test_files_without_a_volume_or_damaged_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["line"] = [1, 2, 3]
    with pytest.raises(InputError, match="holds no volume"):
        open_source(tmp_path / "a.h5").__enter__()
    (tmp_path / "b.h5").write_bytes(b"\x89HDF nothing more")
    with pytest.raises(InputError, match="this HDF5 file cannot be read"):
        open_source(tmp_path / "b.h5").__enter__()


UNKNOWN_FILTER = {"compression": 40000, "allow_unknown_filter": True}
"""A number for tests: no package has this filter."""

NO_FILTER = r"packed with the HDF5 filter 40000 .* package is missing; install it: pip install 'bigcp3d\[codecs\]'"


def test_a_dataset_with_an_unknown_filter_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("raw", STACK.shape, STACK.dtype, chunks=(4, 4, 4), **UNKNOWN_FILTER)
        file.create_dataset("plain", data=STACK, chunks=(4, 4, 4), compression="lzf", shuffle=True)
    with pytest.raises(InputError, match=f"a.h5: /raw is {NO_FILTER}"):
        open_source(tmp_path / "a.h5", dataset="raw").__enter__()
    with open_source(tmp_path / "a.h5", dataset="plain") as source:
        np.testing.assert_array_equal(read_all(name_volume(source, scale_um=(1, 1, 1)))[0, 0], STACK)


@pytest.mark.parametrize("name", ["LZ4", "Blosc", "Zstd"])
def test_filters_of_hdf5plugin_are_read(tmp_path, name):
    """By hand where hdf5plugin is installed."""
    hdf5plugin = pytest.importorskip("hdf5plugin")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("raw", data=STACK, chunks=(4, 4, 4), compression=getattr(hdf5plugin, name)())
    with open_source(tmp_path / "a.h5") as source:
        np.testing.assert_array_equal(read_all(name_volume(source, scale_um=(1, 1, 1)))[0, 0], STACK)


def write_imaris(path, values):
    """Values (t, c, z, y, x) in the layout of Imaris 5.5, padded to whole chunks as Imaris does."""

    def text(value):
        return np.frombuffer(str(value).encode(), "S1")

    times, channels, *shape = values.shape
    with h5py.File(path, "w") as file:
        for t in range(times):
            for c in range(channels):
                padded = np.pad(values[t, c], [(0, -n % 8) for n in shape])
                group = file.create_group(f"DataSet/ResolutionLevel 0/TimePoint {t}/Channel {c}")
                group.create_dataset("Data", data=padded, chunks=(8, 8, 8), compression="gzip")
        info = file.create_group("DataSetInfo/Image")
        sizes = {"X": shape[2], "Y": shape[1], "Z": shape[0], "Unit": "um"}
        sizes |= {"ExtMin0": -5, "ExtMax0": -5 + 0.25 * shape[2], "ExtMin1": 0, "ExtMax1": 0.5 * shape[1]}
        sizes |= {"ExtMin2": 3, "ExtMax2": 3 + 2.0 * shape[0]}
        for name, value in sizes.items():
            info.attrs[name] = text(value)
        for c in range(channels):
            file.create_group(f"DataSetInfo/Channel {c}").attrs["Name"] = text(f"stain {c}")


def test_imaris(tmp_path):
    values = np.random.default_rng(1).integers(0, 60000, (2, 2, 6, 9, 10)).astype("uint16")
    write_imaris(tmp_path / "a.ims", values)
    with open_source(tmp_path / "a.ims") as source:
        volume = name_volume(source)
        assert volume.scale_um == (2.0, 0.5, 0.25)
        assert volume.channel_names == ("stain 0", "stain 1")
        np.testing.assert_array_equal(read_all(volume), values)
    with h5py.File(tmp_path / "b.ims", "w") as file:
        file["other"] = STACK
    with pytest.raises(InputError, match="does not have the layout of Imaris"):
        open_source(tmp_path / "b.ims").__enter__()
    first = "DataSet/ResolutionLevel 0/TimePoint 0/Channel 0/Data"
    with h5py.File(tmp_path / "a.ims", "r+") as file:
        del file[first]
        file.create_dataset(first, (8, 16, 16), "uint16", chunks=(8, 8, 8), **UNKNOWN_FILTER)
    with pytest.raises(InputError, match=f"{first} is {NO_FILTER}"):
        open_source(tmp_path / "a.ims").__enter__()


def write_n5(container, **datasets):
    """Datasets with `STACK`, and with attributes of their own; a double underscore in a name is a slash."""
    tensorstore = pytest.importorskip("tensorstore")
    for name, attributes in datasets.items():
        folder = container / name.replace("__", "/")
        metadata = {"dataType": "uint16", "dimensions": STACK.shape[::-1], "blockSize": [4, 4, 4]}
        spec = {"driver": "n5", "kvstore": f"file://{folder}"}
        spec["metadata"] = {**metadata, "compression": {"type": "raw"}}
        tensorstore.open(spec, create=True).result().write(STACK.T).result()
        written = json.loads((folder / "attributes.json").read_text())
        (folder / "attributes.json").write_text(json.dumps({**written, **attributes}))


def test_n5(tmp_path):
    write_n5(tmp_path / "a.n5", raw={}, other={})
    with pytest.raises(InputError, match=r"give one with --dataset: other \[10, 9, 12\] \(x y z\) uint16; raw"):
        open_source(tmp_path / "a.n5").__enter__()
    with open_source(tmp_path / "a.n5", dataset="raw") as source:
        np.testing.assert_array_equal(read_all(name_volume(source, scale_um=(1, 1, 1)))[0, 0], STACK)


def test_blocks_of_an_n5_dataset_are_not_searched(tmp_path):
    write_n5(tmp_path / "a.n5", c0__raw={})
    shutil.copy(tmp_path / "a.n5" / "c0" / "raw" / "attributes.json", tmp_path / "a.n5" / "c0" / "raw" / "0")
    with open_source(tmp_path / "a.n5") as source:
        assert source.dataset == "c0/raw"


def said(*sizes, unit="um"):
    return {"pixelResolution": {"dimensions": sizes, "unit": unit}}


@pytest.mark.parametrize(
    ("finest", "coarse", "scale", "noted"),
    [
        (said(0.5, 0.5, 1), said(0.5, 0.5, 1), {"z": 2, "y": 2, "x": 2}, True),
        (said(0.5, 0.5, 1), said(2, 2, 2), {"z": 2, "y": 2, "x": 2}, False),
        (None, said(0.5, 0.5, 1), {"z": 2, "y": 2, "x": 2}, True),
        ({}, {"resolution": [0.5, 0.5, 1], "units": ["um"] * 3}, {"z": 2, "y": 2, "x": 2}, True),
        (said(0.5, 0.5, 1), {**said(0.5, 0.5, 1), "downsamplingFactors": [2]}, {}, False),
        (said(0.5, 0.5, 1), said(0.5, 0.5, 1, unit="pixel"), {}, False),
    ],
)
def test_the_voxel_size_of_a_coarse_n5_level(tmp_path, finest, coarse, scale, noted):
    if finest is not None:
        write_n5(tmp_path / "a.n5", c0__s0=finest)
    write_n5(tmp_path / "a.n5", c0__s2={"downsamplingFactors": [4, 4, 2], **coarse})
    with open_source(tmp_path / "a.n5", dataset="c0/s2") as source:
        assert source.scale_um == scale
        assert any("its resolution times its downsamplingFactors" in note for note in source.notes) == noted


def test_the_finest_n5_level_has_its_own_voxel_size(tmp_path):
    write_n5(tmp_path / "a.n5", s0={"downsamplingFactors": [1, 1, 1], **said(0.5, 0.5, 1)})
    with open_source(tmp_path / "a.n5") as source:
        assert (source.scale_um, source.notes) == ({"z": 1, "y": 0.5, "x": 0.5}, ())


def test_only_the_n5_dataset_that_is_read_is_stamped(tmp_path):
    for name in ("raw", "other"):
        (tmp_path / "a.n5" / name / "0").mkdir(parents=True)
        (tmp_path / "a.n5" / name / "0" / "1").write_bytes(b"block")
    (tmp_path / "a.n5" / "plane.tif").write_bytes(b"not a plane of it")
    before, all_before = stamp(tmp_path / "a.n5", "raw"), stamp(tmp_path / "a.n5")
    assert (before["files"], all_before["files"]) == (1, 3)
    os.utime(tmp_path / "a.n5" / "other" / "0" / "1", (1, 1))
    assert stamp(tmp_path / "a.n5", "raw") == before
    assert stamp(tmp_path / "a.n5") != all_before
    os.utime(tmp_path / "a.n5" / "raw" / "0" / "1", (1, 1))
    assert stamp(tmp_path / "a.n5", "raw") != before


def test_options_of_other_formats_are_refused(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0")
    (tmp_path / "a.h5").write_bytes(b"\x89HDF")
    with pytest.raises(InputError, match="only HDF5 and N5 have a --dataset"):
        open_source(tmp_path / "a.tif", dataset="raw").__enter__()
    with pytest.raises(InputError, match="an HDF5 file, which has no --series"):
        open_source(tmp_path / "a.h5", series=0).__enter__()
