"""Volumes and cells beyond what is usual: each works, or is refused with the parameter to change."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

import bigcp3d
from bigcp3d.errors import InputError
from bigcp3d.schedule.running.events import Warned
from tests.schedule.conftest import read_labels, write_image


def rods(n: int, side: int, spacing: int) -> tuple[np.ndarray, np.ndarray]:
    """Given maps and true labels of ``n`` cells in a row along x, each ``side`` long, every ``spacing`` voxels."""
    shape = (3, 4, n * spacing)
    at = np.arange(shape[2]) % spacing
    own = at < side
    labels = np.where(own, np.arange(shape[2]) // spacing + 1, 0)
    maps = np.zeros((4, *shape), np.int8)
    maps[0] = np.where(own, 127, 0)
    maps[3] = np.clip((side // 2 - at) * 127, -127, 127)
    maps[1] = (1 - np.arange(3))[:, None, None] * 127
    maps[2] = np.clip(2 - np.arange(4), -1, 1)[:, None] * 127
    return maps, np.broadcast_to(labels, shape)


def segment_maps(folder, maps, *, block, on_event=None, **more):
    write_image(folder / "image.zarr", maps[0].astype(np.uint8))
    zarr.save_array(folder / "maps.zarr", maps)
    settings = {"maps": folder / "maps.zarr", "min_volume": 1, "executor": "serial", **more}
    summary = bigcp3d.segment(folder / "image.zarr", block=block, on_event=on_event, **settings)
    return read_labels(folder / "image.zarr", "cells"), summary


@pytest.mark.slow
def test_an_axis_of_more_than_65535_voxels_works(tmp_path):
    maps, expected = rods(7001, side=7, spacing=10)
    assert maps.shape[-1] > 65535
    labels, summary = segment_maps(tmp_path, maps, block=(3, 4, 25000), radius_vox=4.0)
    assert summary.blocks == 3
    assert np.array_equal(labels, expected)


def test_ids_that_do_not_fit_in_32_bits_are_written_in_64(tmp_path, monkeypatch):
    from bigcp3d.schedule import segment as module

    maps, expected = rods(12, side=7, spacing=10)
    monkeypatch.setattr(module, "UINT32_MAX", 11)
    labels, _ = segment_maps(tmp_path, maps, block=(3, 4, 50), radius_vox=4.0)
    assert labels.dtype == np.uint64
    assert np.array_equal(labels, expected)


def test_cells_longer_than_the_reach_are_counted_and_the_user_is_told_what_to_change(tmp_path):
    maps, _ = rods(4, side=61, spacing=70)
    said = []
    settings = {"block": (3, 4, 100), "radius_vox": 5.0}
    labels, summary = segment_maps(tmp_path, maps, on_event=said.append, **settings)
    far = np.abs(np.arange(61) - 30) > 15  # three radii
    assert summary.unassigned_vox == 4 * 3 * 4 * np.count_nonzero(far)
    assert np.count_nonzero(labels) == summary.foreground_vox - summary.unassigned_vox
    assert any(isinstance(event, Warned) and "--radius" in event.message for event in said)


def test_a_radius_that_fits_the_cells_finds_them_whole(tmp_path):
    """The control of the test before."""
    maps, expected = rods(4, side=61, spacing=70)
    labels, summary = segment_maps(tmp_path, maps, block=(3, 4, 100), radius_vox=30.0)
    assert summary.unassigned_vox == 0
    assert np.array_equal(labels, expected)


@pytest.mark.parametrize("radius", [43.0, 1e6])
def test_paths_beyond_int8_are_refused_before_any_work(tmp_path, radius):
    maps, _ = rods(2, side=7, spacing=10)
    with pytest.raises(InputError, match="--diameter"):
        segment_maps(tmp_path, maps, block=(3, 4, 20), radius_vox=radius)
    assert not (tmp_path / "image.zarr" / "labels").exists()
