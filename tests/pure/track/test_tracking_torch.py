"""Tracking on a device of torch against the tracking of the CPU, element by element."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bigcp3d.pure.boxes import BlockGrid, Box, Vec3
from bigcp3d.pure.track import tracking_torch
from bigcp3d.pure.track.choose_tracker import choose_tracker
from bigcp3d.pure.track.tracking import track
from bigcp3d.pure.track.tracking_numba import PAUSE, STILL
from bigcp3d.pure.track.tracking_torch import track_on_device
from bigcp3d.pure.track.units import UNASSIGNED
from tests.devices import on_devices
from tests.pure.track.test_tracking import both_ways, noise, path_along, seeds, stored, swirl

quick = settings(deadline=None, max_examples=12)
on_cpu = partial(track_on_device, device="cpu")


def both(
    maps: NDArray[np.int8], region: Box, core: Box, shape: Vec3, device: str = "cpu", chunk: int = 50, **limits: int
) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Offsets found by the device, a few paths at a time, and by the CPU."""
    part = maps[(slice(None), *region.slices())].copy()
    found = track_on_device(part, region, core, shape, device=device, chunk=chunk, **limits)
    return found, track(part, region, core, shape, **limits)


@on_devices
@quick
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    block=st.tuples(*[st.integers(1, 10)] * 3),
    seed=seeds,
    strength=st.sampled_from([3, 20, 60, 127]),
    foreground=st.integers(1, 127),
    steps=st.integers(0, 60),
    reach=st.sampled_from([1, 2, 3, 7, 127]),
    chunk=st.sampled_from([1, 7, 10_000]),
)
def test_the_device_finds_what_the_cpu_finds_in_every_block(
    device: str,
    shape: Vec3,
    block: Vec3,
    seed: int,
    strength: int,
    foreground: int,
    steps: int,
    reach: int,
    chunk: int,
) -> None:
    maps = noise(shape, seed, strength)
    maps[:, np.random.default_rng(seed).random(shape) < 0.1] = -128
    grid = BlockGrid(shape, block)
    for core in map(grid.core, list(grid)[:: -(-len(grid) // 6)]):  # the first, and some others
        region = core.grow(reach).clip(shape)
        limits = {"foreground": foreground, "steps": steps, "reach": reach}
        found, expected = both(maps, region, core, shape, device, chunk, **limits)
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected)


@on_devices
@pytest.mark.parametrize("reach", [12, 127])
@pytest.mark.parametrize("steps", [PAUSE - 1, PAUSE, 100, 150])
def test_on_noisy_flow_to_a_centre_the_device_finds_what_the_cpu_finds(device: str, steps: int, reach: int) -> None:
    shape: Vec3 = (6, 24, 300)
    maps = stored(swirl(shape, (2.3, 11.1, 120.4), noise_level=0.4))
    core = Box((2, 0, 130), (6, 20, 300))
    found, expected = both(
        maps, core.grow(reach).clip(shape), core, shape, device, 5000, foreground=64, steps=steps, reach=reach
    )
    assert np.array_equal(found, expected)
    assert (expected == UNASSIGNED).any() == (steps > reach)
    assert (expected[2] < -5).any()


def walk_to_the_border(shape: Vec3) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Ends of paths along x in a core that does not touch the border."""
    maps = stored(np.zeros((3, 1, 1, 12)))
    maps[3] = 100
    region = Box((0, 0, 0), (1, 1, 9))
    return both(maps, region, Box((0, 0, 3), (1, 1, 5)), shape, foreground=64, steps=60, reach=4)


def test_paths_stop_at_the_volume_s_border_and_not_at_a_block_s() -> None:
    ends = {size: walk_to_the_border((1, 1, size)) for size in (9, 12)}
    for found, expected in ends.values():
        assert np.array_equal(found, expected)
    assert (ends[12][0] == UNASSIGNED).all()
    assert ends[9][0][2, 0, 0].tolist() == [UNASSIGNED, 4]  # control: a volume that ends there


@both_ways
@pytest.mark.parametrize("first", [64, 65])
def test_the_reach_ends_half_a_voxel_on_as_on_the_cpu(axis: int, way: int, first: int) -> None:
    maps, middle = path_along(axis, way, (first, 63))
    whole = Box.of_shape(maps.shape[1:])  # type: ignore[arg-type]
    found, expected = both(maps, whole, whole, whole.shape, foreground=64, steps=3, reach=1)
    assert np.array_equal(found, expected)
    assert found[(axis, *middle)] == (way if first == 64 else UNASSIGNED)


@pytest.mark.parametrize("change", ["STILL", "PAUSE"])
def test_control_another_rule_would_be_seen(monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    monkeypatch.setattr(tracking_torch, change, {"STILL": STILL + 1, "PAUSE": PAUSE + 1}[change])
    maps = stored(swirl((8, 20, 20), (4, 9.4, 9.8), noise_level=0.4))
    whole = Box.of_shape((8, 20, 20))
    found, expected = both(maps, whole, whole, whole.shape, foreground=64, steps=100, reach=20)
    assert not np.array_equal(found, expected)


def test_words_hold_three_flows_and_minus_127_for_minus_128() -> None:
    maps = np.array([[5, 5], [-128, 1], [-127, 127], [-1, 0]], np.int8).reshape(4, 1, 1, 2)
    words = tracking_torch.pack_words(maps, "cpu").numpy()
    assert words.dtype == np.int32
    assert words.view(np.int8).reshape(3, 4)[:, :3].tolist() == [[0, 0, 0], [-127, -127, -1], [1, 127, 0]]


def test_a_worker_without_a_gpu_tracks_on_the_cpu_and_loads_no_torch() -> None:
    assert choose_tracker("cpu") is track
    chosen = choose_tracker("cuda")
    assert isinstance(chosen, partial)
    assert chosen.func is track_on_device
    assert chosen.keywords == {"device": "cuda"}
    code = (
        "import sys, bigcp3d.work.passes.passes as p; p.choose_tracker('cpu'); assert 'torch' not in sys.modules;"
        "sys.modules['torch'] = None; p.choose_tracker('cuda')"  # the control: now it is imported
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "import of torch halted" in done.stderr


@pytest.mark.parametrize("function", [on_cpu, track], ids=["device", "cpu"])
def test_the_same_requests_are_refused(function) -> None:  # type: ignore[no-untyped-def]
    shape: Vec3 = (1, 1, 12)
    core, region = Box((0, 0, 0), (1, 1, 4)), Box((0, 0, 0), (1, 1, 6))
    maps = np.zeros((4, *region.shape), np.int8)
    with pytest.raises(ValueError, match="cover"):
        function(maps, region, core, shape, foreground=64, steps=5, reach=3)
    for reach in (0, 128):
        with pytest.raises(ValueError, match=str(reach)):
            function(maps, region, core, shape, foreground=64, steps=5, reach=reach)
    assert (function(maps, region, core, shape, foreground=64, steps=5, reach=2) == UNASSIGNED).all()


def test_nothing_to_walk_is_walked() -> None:
    empty = Box((0, 0, 0), (0, 0, 0))
    maps = np.zeros((4, 3, 3, 3), np.int8)
    found, expected = both(maps, Box.of_shape((3, 3, 3)), empty, (3, 3, 3), foreground=64, steps=5, reach=2)
    assert found.shape == expected.shape == (3, 0, 0, 0)
