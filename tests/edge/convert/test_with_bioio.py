"""Files of microscopes through bioio: the real one where it is installed, and a stand-in with its documented API."""

import sys
from collections import namedtuple
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import tifffile

from bigcp3d.edge.convert.open_source import open_source
from bigcp3d.edge.convert.volume import name_volume
from bigcp3d.edge.convert.with_bioio import open_with_bioio
from bigcp3d.errors import InputError
from tests.edge.convert.test_tiff import expected, read_all, stack_of

Sizes = namedtuple("Sizes", "Z Y X")


class Reader:
    def __init__(self, image, chunk_dims=("Z", "Y", "X")):
        self.chunk_dims = chunk_dims


class StandIn:
    """What bioio.BioImage shows of a file with two scenes; the second has voxels."""

    opened: ClassVar = []
    names: ClassVar = ("overview", "stack")

    def __init__(self, path, reader=None, **more):
        StandIn.opened.append(more)
        if path.read_bytes() != b"good":
            raise ValueError("no plugin supports this image")
        self.reader, self.scenes, self._scene = Reader(path, **more), StandIn.names, 0
        self.dims = SimpleNamespace(order="TCZYX")
        self.channel_names, self.physical_pixel_sizes = ["DAPI", "GFP"], Sizes(1.5, 0.5, None)

    def set_scene(self, scene):
        self._scene = self.scenes.index(scene) if isinstance(scene, str) else scene

    @property
    def dask_data(self):
        return stack_of("TCZYX") + (0 if self._scene == 1 else 1)


@pytest.fixture
def stand_in(monkeypatch):
    module = ModuleType("bioio")
    module.BioImage = StandIn
    monkeypatch.setitem(sys.modules, "bioio", module)
    StandIn.opened.clear()


@pytest.mark.parametrize("suffix", [".czi", ".lif", ".nd2"])
def test_a_scene_is_read_plane_by_plane(tmp_path, stand_in, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"good")
    with pytest.raises(InputError, match=r"2 volumes; give one with --series: 0 \(overview\); 1 \(stack\)"):
        open_source(path).__enter__()
    with open_source(path, series="stack") as source:
        assert source.rows == 8
        with pytest.raises(InputError, match=r"along x; give --scale .*\(the file says z 1.5, y 0.5\)"):
            name_volume(source)
        volume = name_volume(source, scale_um=(1.5, 0.5, 0.5))
        assert volume.channel_names == ("DAPI", "GFP")
        np.testing.assert_array_equal(read_all(volume), expected("TCZYX"))
    assert StandIn.opened[-1] == {"chunk_dims": ["Y", "X"]}, "not whole stacks at a time"


def test_scenes_of_one_name_are_told_apart_by_their_number(tmp_path, stand_in, monkeypatch):
    monkeypatch.setattr(StandIn, "names", ("stack", "stack"))
    (tmp_path / "a.lif").write_bytes(b"good")
    with pytest.raises(InputError, match=r"give one with --series: 0 \(stack\); 1 \(stack\)"):
        open_source(tmp_path / "a.lif").__enter__()
    for series in (0, 1):
        with open_source(tmp_path / "a.lif", series=series) as source:
            found = read_all(name_volume(source, scale_um=(1.5, 0.5, 0.5)))
            np.testing.assert_array_equal(found, expected("TCZYX") + 1 - series)


def test_what_no_plugin_reads_is_refused(tmp_path, stand_in):
    (tmp_path / "a.czi").write_bytes(b"bad")
    with pytest.raises(InputError, match=r"a Zeiss file cannot be read by bioio .* no plugin supports this image"):
        open_source(tmp_path / "a.czi").__enter__()


def test_without_bioio_the_way_to_install_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bioio", None)
    (tmp_path / "a.nd2").write_bytes(b"good")
    with pytest.raises(
        InputError, match=r"a Nikon file is read with bioio; install it: pip install 'bigcp3d\[bioio\]'"
    ):
        open_source(tmp_path / "a.nd2").__enter__()


@pytest.mark.filterwarnings("ignore")  # its own
def test_the_real_bioio(tmp_path):
    """By hand where bioio and bioio-ome-tiff are installed: nobody can write CZI, LIF or ND2."""
    pytest.importorskip("bioio_ome_tiff")
    said = {"axes": "TCZYX", "PhysicalSizeZ": 1.5, "PhysicalSizeY": 0.5, "PhysicalSizeX": 0.25}
    said["Channel"] = {"Name": ["DAPI", "GFP"]}
    tifffile.imwrite(tmp_path / "a.ome.tiff", stack_of("TCZYX"), metadata=said, photometric="minisblack")
    source = open_with_bioio(tmp_path / "a.ome.tiff", "an OME-TIFF", None)
    volume = name_volume(source)
    assert (volume.scale_um, volume.channel_names) == ((1.5, 0.5, 0.25), ("DAPI", "GFP"))
    np.testing.assert_array_equal(read_all(volume), expected("TCZYX"))
