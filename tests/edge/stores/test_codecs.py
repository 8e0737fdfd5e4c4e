"""A codec that is not installed is named with its package before any work; a coarser level with one is not needed."""

import json

import numcodecs
import numpy as np
import pytest
import zarr

from bigcp3d.edge.image.given_maps import open_maps
from bigcp3d.edge.image.image import open_image
from bigcp3d.edge.labels.truth import open_truth
from bigcp3d.errors import InputError

BYTES = {"name": "bytes", "configuration": {"endian": "little"}}


def pack(array, codec, *, sharded=False):
    """Change the metadata of an array as if another program had packed it."""
    if (array / ".zarray").exists():
        node = json.loads((array / ".zarray").read_text()) | {"compressor": {"id": codec}}
        (array / ".zarray").write_text(json.dumps(node))
        return
    node = json.loads((array / "zarr.json").read_text())
    codecs = [{"name": codec, "configuration": {}}]
    if "pcodec" not in codec:
        codecs.insert(0, BYTES)
    inner = {"chunk_shape": [1, 1, 1], "codecs": codecs, "index_codecs": [BYTES], "index_location": "end"}
    node["codecs"] = [{"name": "sharding_indexed", "configuration": inner}] if sharded else codecs
    (array / "zarr.json").write_text(json.dumps(node))


@pytest.mark.parametrize(
    ("version", "codec", "package"),
    [
        ("0.4", "zfpy", "numcodecs[zfpy]"),
        ("0.4", "imagecodecs_absent", "imagecodecs"),
        ("0.4", "b2nd", "blosc2"),
        ("0.5", "imagecodecs_absent", "imagecodecs"),
        ("0.5", "numcodecs.absent", "no package"),
    ],
)
@pytest.mark.parametrize("sharded", [False, True])
def test_the_package_of_a_codec_is_named(stores, version, codec, package, sharded):
    path = stores.image(version)
    pack(path / "0", codec, sharded=sharded)
    with pytest.raises(InputError) as error:
        open_image(path)
    assert f"{path}/0: its voxels are packed with the codec {codec!r}" in str(error.value)
    assert package in str(error.value)


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not")
@pytest.mark.parametrize("sharded", [False, True])
def test_a_codec_that_zarr_misses_only_when_it_reads_is_missed_at_once(stores, monkeypatch, sharded):
    import numcodecs

    known = dict(numcodecs.registry.codec_registry)
    known.pop("pcodec", None)
    monkeypatch.setattr(numcodecs.registry, "codec_registry", known)
    monkeypatch.setattr(numcodecs.registry, "entries", {})
    path = stores.image("0.5")
    pack(path / "0", "numcodecs.pcodec", sharded=sharded)
    with pytest.raises(InputError, match=r"numcodecs\[pcodec\]"):
        open_image(path)
    with pytest.raises(InputError, match=r"numcodecs\[pcodec\]"):
        open_truth(path / "0", "truth")
    with pytest.raises(InputError, match=r"numcodecs\[pcodec\]"):
        open_maps(path / "0", (1, 1, 1), 1)


def test_the_finest_level_is_needed_and_a_coarser_one_is_not(stores, caplog):
    path = stores.image("0.4", levels=2)
    pack(path / "1", "zfpy")
    assert [level.path for level in open_image(path).levels] == ["0"]
    assert "1: this level is not used" in caplog.text
    other = stores.image("0.4", levels=2, name="other.zarr")
    pack(other / "0", "zfpy")
    with pytest.raises(InputError, match="zfpy"):
        open_image(other)


def test_control_codecs_that_are_there_are_read(stores):
    assert open_image(stores.image("0.5", shards=(14, 24, 26))).levels[0].shape == (12, 20, 22)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("left", [-1, 20, 16, 10])
def test_a_chunk_of_blosc_that_was_cut_off_is_an_error(tmp_path, zarr_format, left):
    """numcodecs reads beyond the end of such a chunk."""
    values = np.random.default_rng(0).integers(0, 200, (6, 8, 9)).astype(np.uint8)
    blosc = numcodecs.Blosc("lz4") if zarr_format == 2 else zarr.codecs.BloscCodec(cname="lz4")
    zarr.create_array(tmp_path, data=values, chunks=values.shape, zarr_format=zarr_format, compressors=blosc)
    chunk = tmp_path / ("0.0.0" if zarr_format == 2 else "c/0/0/0")
    whole = chunk.read_bytes()

    def read(content):
        chunk.write_bytes(content)
        return zarr.open_array(tmp_path, mode="r")[...]

    for rest in (b"", b"more"):
        np.testing.assert_array_equal(read(whole + rest), values)
    for content in (whole[:left], bytes(len(whole))):
        with pytest.raises(ValueError, match=f"the chunk has {len(content)} bytes, and its header says"):
            read(content)
