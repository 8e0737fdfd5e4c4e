"""Conversions: voxels, pyramid and metadata; memory; resume after a kill, byte for byte; nothing is overwritten."""

import json
import logging
import os
import shutil
import signal
import tracemalloc

import numpy as np
import pytest
import tifffile
import zarr

import bigcp3d.work.convert.convert as module
from bigcp3d.edge.convert.volume import Volume
from bigcp3d.edge.image.image import open_image
from bigcp3d.edge.image.metadata import ome_part
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.edge.stores.new_store import partial_of
from bigcp3d.errors import InputError, TargetError
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.mean_pool import choose_factors, pool_means
from bigcp3d.work.convert.convert import convert
from bigcp3d.work.convert.pieces import SIDE, choose_block, choose_chunk_and_shard, list_pieces
from tests.processes import PROCESSES

SCALE = (1.0, 0.5, 0.5)


def write_hyperstack(path, shape=(20, 2, 150, 170), axes="ZCYX", dtype="uint16"):
    stack = (np.random.default_rng(3).random(shape) * 60000).astype(dtype)
    said = {"axes": axes, "spacing": 1.0, "unit": "um"}
    tifffile.imwrite(path, stack, imagej=True, resolution=(2, 2), metadata=said)
    return stack


def tree(folder):
    """All files of a folder with their bytes."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(("shape", "axes"), [((20, 2, 150, 170), "ZCYX"), ((3, 9, 2, 30, 40), "TZCYX")])
def test_voxels_pyramid_and_metadata(tmp_path, version, shape, axes):
    stack = write_hyperstack(tmp_path / "a.tif", shape, axes)
    image = convert(tmp_path / "a.tif", tmp_path / "a.zarr", format=version, channels="membrane,nuclei")
    assert (image.version, image.dtype, image.channel_names) == (version, "uint16", ("membrane", "nuclei"))
    assert image.axes == (("t",) if "T" in axes else ()) + ("c", "z", "y", "x")
    assert image.levels[0].scale_um == SCALE
    values = stack if "T" in axes else stack[None]
    for time in range(image.times):
        for channel in range(2):
            below = values[time, :, channel]
            for number, level in enumerate(image.levels):
                if number:
                    below = pool_means(below, choose_factors(values[0, :, 0].shape, SCALE, 64)[number - 1])
                found = read_box(image, number, Box.of_shape(level.shape), channel=channel, time=time)
                np.testing.assert_array_equal(found, below)
    assert max(image.levels[-1].shape) <= 64
    if len(image.levels) > 1:
        assert image.levels[1].scale_um == (1.0, 1.0, 1.0)
        assert image.levels[1].translation_um == (0.0, 0.25, 0.25)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_the_store_is_valid_for_other_readers(tmp_path, version):
    models = pytest.importorskip("ome_zarr_models")
    write_hyperstack(tmp_path / "a.tif")
    convert(tmp_path / "a.tif", tmp_path / "a.zarr", format=version)
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert type(models.open_ome_zarr(group)).__name__ == "Image"
    channels = ome_part(group.attrs.asdict())["omero"]["channels"]
    assert [channel["label"] for channel in channels] == ["channel 0", "channel 1"]
    for window in (channel["window"] for channel in channels):
        assert window["start"] < window["end"] <= window["max"] == 65535


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64", "int64", "bool"])
def test_other_types(tmp_path, dtype):
    stack = (np.random.default_rng(0).random((5, 70, 80)) * 200).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    image = convert(tmp_path / "a.tif", scale_um=SCALE)
    assert image.path == str(tmp_path / "a.zarr")
    assert image.dtype == ("uint8" if dtype == "bool" else dtype)
    np.testing.assert_array_equal(read_box(image, 0, Box.of_shape(stack.shape)), stack.astype(image.dtype))


def test_values_that_are_no_numbers_do_not_spoil_the_contrast(tmp_path):
    stack = np.full((4, 10, 10), np.nan, "float32")
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    image = convert(tmp_path / "a.tif", scale_um=SCALE)
    omero = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())["attributes"]["ome"]["omero"]
    assert omero["channels"][0]["window"] == {"start": 0.0, "end": 1.0, "min": 0.0, "max": 1.0}
    assert np.isnan(read_box(image, 0, Box.of_shape((4, 10, 10)))).all()


class Stopped(Exception):
    pass


def stop_after(count):
    def observe(event):
        if event.done == count:
            raise Stopped

    return observe


@pytest.mark.parametrize("version", [pytest.param("0.4", marks=pytest.mark.slow), "0.5"])
def test_a_stopped_conversion_goes_on_and_equals_one_that_was_not(tmp_path, monkeypatch, version):
    monkeypatch.setattr(module, "BUDGET_BYTES", 2**19)  # several pieces
    write_hyperstack(tmp_path / "a.tif")
    total = []
    convert(tmp_path / "a.tif", tmp_path / "whole" / "a.zarr", format=version, on_event=total.append)
    assert total[-1].done == total[-1].total > 10
    read, reading = [], Volume.read
    monkeypatch.setattr(Volume, "read", lambda self, *at: (read.append(at), reading(self, *at))[1])
    for count in range(1, total[-1].total, 4):
        with pytest.raises(Stopped):
            convert(tmp_path / "a.tif", tmp_path / "a.zarr", format=version, on_event=stop_after(count))
        assert not (tmp_path / "a.zarr").exists()
        with pytest.raises(InputError):
            open_image(tmp_path / "a.zarr")
        with pytest.raises(InputError):
            open_image(partial_of(tmp_path / "a.zarr"))
    convert(tmp_path / "a.tif", tmp_path / "a.zarr", format=version)
    assert tree(tmp_path / "a.zarr") == tree(tmp_path / "whole" / "a.zarr")
    assert not partial_of(tmp_path / "a.zarr").exists()
    assert len(read) == len(set(read)), "no piece was read twice"
    assert sum(box.size for _, _, box in read) == 20 * 2 * 150 * 170, "every voxel was read once"


def convert_until_killed(source, target):
    convert(source, target, on_event=lambda event: event.done == 3 and os.kill(os.getpid(), signal.SIGKILL))


def test_a_killed_process_leaves_nothing_that_looks_finished(tmp_path):
    write_hyperstack(tmp_path / "a.tif")
    convert(tmp_path / "a.tif", tmp_path / "whole" / "a.zarr")
    process = PROCESSES.Process(target=convert_until_killed, args=(tmp_path / "a.tif", tmp_path / "a.zarr"))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "a.zarr").exists()
    convert(tmp_path / "a.tif", tmp_path / "a.zarr")
    assert tree(tmp_path / "a.zarr") == tree(tmp_path / "whole" / "a.zarr")


def test_other_settings_or_another_file_begin_anew(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(module, "BUDGET_BYTES", 2**19)
    write_hyperstack(tmp_path / "a.tif")
    with pytest.raises(Stopped):
        convert(tmp_path / "a.tif", tmp_path / "a.zarr", on_event=stop_after(3))
    image = convert(tmp_path / "a.tif", tmp_path / "a.zarr", scale_um=(3, 1, 1))
    assert image.levels[0].scale_um == (3, 1, 1)
    assert "an unfinished conversion with other settings is discarded" in caplog.text
    with pytest.raises(Stopped):
        convert(tmp_path / "a.tif", tmp_path / "b.zarr", on_event=stop_after(3))
    stack = write_hyperstack(tmp_path / "a.tif", (20, 2, 150, 171))
    found = read_box(convert(tmp_path / "a.tif", tmp_path / "b.zarr"), 0, Box.of_shape((20, 150, 171)))
    np.testing.assert_array_equal(found, stack[:, 0])


def test_a_file_that_changes_meanwhile_is_noticed(tmp_path):
    write_hyperstack(tmp_path / "a.tif")
    with pytest.raises(InputError, match="it changed while it was read; convert it again"):
        convert(tmp_path / "a.tif", on_event=lambda event: os.utime(tmp_path / "a.tif", (1, 1)))
    assert not (tmp_path / "a.zarr").exists()


def test_nothing_is_overwritten(tmp_path):
    write_hyperstack(tmp_path / "a.tif")
    convert(tmp_path / "a.tif", tmp_path / "a.zarr", scale_um=(9, 9, 9))
    before = tree(tmp_path / "a.zarr")
    with pytest.raises(TargetError, match="exists already; give another path, or --overwrite"):
        convert(tmp_path / "a.tif", tmp_path / "a.zarr")
    with pytest.raises(Stopped):
        convert(tmp_path / "a.tif", tmp_path / "a.zarr", overwrite=True, on_event=stop_after(1))
    assert tree(tmp_path / "a.zarr") == before, "the old one stays until the new one is complete"
    assert convert(tmp_path / "a.tif", tmp_path / "a.zarr", overwrite=True).levels[0].scale_um == SCALE
    (tmp_path / "a.zarr" / "labels" / "cells").mkdir(parents=True)
    shutil.rmtree(tmp_path / "a.zarr" / "labels")

    def label(event):
        (tmp_path / "a.zarr" / "labels" / "cells").mkdir(parents=True, exist_ok=True)

    with pytest.raises(TargetError, match="it holds labels, which --overwrite would delete"):
        convert(tmp_path / "a.tif", tmp_path / "a.zarr", overwrite=True, on_event=label)
    assert (tmp_path / "a.zarr" / "labels" / "cells").exists(), "labels that were made meanwhile stay"
    with pytest.raises(TargetError, match="it holds labels, which --overwrite would delete"):
        convert(tmp_path / "a.tif", tmp_path / "a.zarr", overwrite=True)
    (tmp_path / "other").mkdir()
    with pytest.raises(TargetError, match="is not a zarr group, and only zarr groups can be replaced"):
        convert(tmp_path / "a.tif", tmp_path / "other", overwrite=True)
    with pytest.raises(InputError, match="must be a local path"):
        convert(tmp_path / "a.tif", "s3://bucket/a.zarr")
    shutil.rmtree(tmp_path / "a.zarr" / "labels")
    shutil.copy(tmp_path / "a.tif", tmp_path / "a.zarr" / "b.tif")
    with pytest.raises(TargetError, match="cannot lie in its own source, or around it"):
        convert(tmp_path / "a.zarr" / "b.tif", tmp_path / "a.zarr", overwrite=True)


def test_two_conversions_to_one_place_do_not_mix(tmp_path):
    write_hyperstack(tmp_path / "a.tif")

    def again(event):
        with pytest.raises(TargetError, match="another conversion is writing here"):
            convert(tmp_path / "a.tif", tmp_path / "a.zarr")

    convert(tmp_path / "a.tif", tmp_path / "a.zarr", on_event=again)


def test_free_space_is_compared(tmp_path, monkeypatch, caplog):
    write_hyperstack(tmp_path / "a.tif")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10_000))
    with pytest.raises(TargetError, match=r"are needed, and 9\.8 KiB are free"):
        convert(tmp_path / "a.tif")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    with caplog.at_level(logging.WARNING):
        convert(tmp_path / "a.tif")
    assert "are needed if the voxels do not compress" in caplog.text


def test_a_damaged_file_names_its_planes(tmp_path):
    stack = np.random.default_rng(0).integers(0, 60000, (20, 100, 100)).astype("uint16")
    tifffile.imwrite(tmp_path / "a.tif", stack, compression="zlib", photometric="minisblack", metadata=None)
    content = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        middle = file.pages[10].dataoffsets[0]
    content[middle : middle + 2000] = bytes(2000)
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(InputError, match=r"planes 0 to 19 \(channel 0, time 0\) cannot be read"):
        convert(tmp_path / "a.tif", scale_um=SCALE)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_memory_does_not_grow_with_the_volume(tmp_path, monkeypatch, compression):
    """Peaks of two volumes, one four times as deep: measured on what numpy allocates."""
    monkeypatch.setattr(module, "BUDGET_BYTES", 2**20)
    peaks = []
    for depth in (64, 256):
        stack = np.random.default_rng(0).integers(0, 60000, (depth, 128, 128)).astype("uint16")
        path = tmp_path / f"{depth}.tif"
        tifffile.imwrite(path, stack, photometric="minisblack", compression=compression)
        del stack
        tracemalloc.start()
        convert(path, scale_um=SCALE)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]
    assert peaks[1] < 12 * 2**20


@pytest.mark.parametrize("shape", [(500, 3000, 4000), (7, 50, 60), (2000, 130, 20000), (300, 20000, 20000)])
@pytest.mark.parametrize("rows", [1, 64, 3000])
def test_pieces_fit_the_budget_and_are_whole_shards(shape, rows):
    rows, budget = min(rows, shape[1]), 2**28
    chunk, shard = choose_chunk_and_shard(shape, 2, rows, budget)
    block = choose_block(shape, shard, 2, rows, budget)
    assert all(b % s == 0 and s % c == 0 for b, s, c in zip(block, shard, chunk, strict=True))
    cut = [min(b, s) for b, s in zip(block, shape, strict=True)]
    assert 2 * np.prod(cut) <= budget
    assert cut[1] >= rows
    assert cut[2] == shape[2]
    assert max(shard[:2]) <= SIDE
    assert np.prod(shard) >= SIDE**3 or shard[2] >= shape[2], "no small shards"


def test_wide_planes_of_one_strip_do_not_become_millions_of_shards():
    shape = (2000, 10_000, 10_000)
    chunk, shard = choose_chunk_and_shard(shape, 2, 10_000, module.BUDGET_BYTES)
    assert (chunk, shard) == ((1, 64, 64), (1, 128, 10_048))
    assert np.prod([-(-n // s) for n, s in zip(shape, shard, strict=True)]) == 158_000
    assert choose_block(shape, shard, 2, 10_000, module.BUDGET_BYTES)[1] >= 10_000, "each plane is decoded once"


def test_a_volume_with_long_shards_is_converted_as_any_other(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BUDGET_BYTES", 2**18)
    stack = np.random.default_rng(0).integers(0, 60000, (9, 150, 400)).astype("uint16")
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", compression="zlib", rowsperstrip=150)
    image = convert(tmp_path / "a.tif", scale_um=SCALE)
    assert zarr.open_array(tmp_path / "a.zarr" / "0", mode="r").shards == (2, 128, 406)
    np.testing.assert_array_equal(read_box(image, 0, Box.of_shape(stack.shape)), stack)


def test_pieces_cover_each_level_once(tmp_path):
    write_hyperstack(tmp_path / "a.tif")
    image = convert(tmp_path / "a.tif")
    for number, level in enumerate(image.levels):
        seen = np.zeros((image.channels, *level.shape), int)
        for piece in list_pieces(image, (20, 85, 86), 2, 1, 2**18):
            if piece.level == number:
                seen[piece.channel][piece.box.slices()] += 1
        assert (seen == 1).all()
