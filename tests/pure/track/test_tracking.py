"""Tracking against plain Euler loops: exact integers in Python, and floats on fields that are smooth."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bigcp3d.pure.boxes import BlockGrid, Box, Vec3
from bigcp3d.pure.track.tracking import tile_shape, track
from bigcp3d.pure.track.tracking_numba import PATHS, PAUSE, STILL
from bigcp3d.pure.track.units import MAX_REACH, UNASSIGNED, UNIT

quick = settings(deadline=None, max_examples=15)
seeds = st.integers(0, 2**32 - 1)


def noise(shape: Vec3, seed: int, strength: int = 127) -> NDArray[np.int8]:
    """Maps of noise: the flow knows no cells, paths wander, cycle and leave."""
    rng = np.random.default_rng(seed)
    maps = rng.integers(-strength, strength + 1, (4, *shape)).astype(np.int8)
    maps[0] = rng.integers(0, 128, shape)
    return maps


def swirl(
    shape: Vec3, centre: tuple[float, float, float], seed: int = 0, noise_level: float = 0.0
) -> NDArray[np.float64]:
    """A smooth flow (3, z, y, x) to one centre, in voxels per step, with a little rotation."""
    way = np.asarray(centre)[:, None, None, None] - np.indices(shape)
    turn = np.stack([0 * way[0], way[2], -way[1]])
    flow = np.tanh((way + 0.3 * turn) / 5)
    return flow + np.random.default_rng(seed).normal(0, noise_level, flow.shape)


def stored(flow: NDArray[np.float64]) -> NDArray[np.int8]:
    """Maps with all of the volume foreground."""
    flow = np.rint(np.clip(flow, -1, 1) * 127)
    return np.concatenate([np.full((1, *flow.shape[1:]), 127), flow]).astype(np.int8)


def exact_walk(maps: NDArray[np.int8], start: Vec3, steps: int, reach: int) -> tuple[int, ...]:
    """The contract with fractions, in coordinates of the volume: list the whole path, then decide where it ends."""
    shape = maps.shape[1:]
    path = [tuple(Fraction(s) for s in start)]
    nearest = [start]
    for _ in range(steps):
        here = maps[(slice(1, None), *nearest[-1])]
        moved = (p + Fraction(int(v), 127) for p, v in zip(path[-1], here, strict=True))
        path.append(tuple(min(max(p, Fraction(0)), Fraction(s - 1)) for p, s in zip(moved, shape, strict=True)))
        nearest.append(tuple(int((p + Fraction(1, 2)) // 1) for p in path[-1]))
        if max(abs(n - s) for n, s in zip(nearest[-1], start, strict=True)) > reach:
            return (UNASSIGNED,) * 3
        window = range(max(0, len(path) - 1 - PAUSE), len(path))
        moves = (abs(p - q) for p, q in zip(path[-1], path[window[0]], strict=True))
        if (len(path) - 1) % PAUSE == 0 and max(moves) <= Fraction(STILL, 127):
            lowest = min(window, key=lambda i: path[i])
            return tuple(n - s for n, s in zip(nearest[lowest], start, strict=True))
    return tuple(n - s for n, s in zip(nearest[-1], start, strict=True))


def exact_track(maps: NDArray[np.int8], foreground: int, steps: int, reach: int) -> NDArray[np.int8]:
    offsets = np.full((3, *maps.shape[1:]), UNASSIGNED, np.int8)
    for start in np.ndindex(maps.shape[1:]):
        if maps[(0, *start)] >= foreground:
            offsets[(slice(None), *start)] = exact_walk(maps, start, steps, reach)  # type: ignore[arg-type]
    return offsets


def track_all(maps: NDArray[np.int8], foreground: int = 64, steps: int = 60, reach: int = 20) -> NDArray[np.int8]:
    whole = Box.of_shape(maps.shape[1:])  # type: ignore[arg-type]
    return track(maps, whole, whole, whole.shape, foreground=foreground, steps=steps, reach=reach)


@quick
@given(st.tuples(*[st.integers(1, 5)] * 3), seeds, st.sampled_from([3, 40, 127]), st.integers(1, 6), st.integers(0, 40))
def test_tracking_is_the_plain_euler_loop_in_exact_fractions(
    shape: Vec3, seed: int, strength: int, reach: int, steps: int
) -> None:
    maps = noise(shape, seed, strength)
    assert np.array_equal(track_all(maps, 64, steps, reach), exact_track(maps, 64, steps, reach))


def test_tracking_to_a_centre_is_the_plain_euler_loop_in_exact_fractions() -> None:
    maps = stored(swirl((6, 9, 10), (2.5, 4.2, 5.7), noise_level=0.2))
    maps[0, :2] = 0
    offsets = track_all(maps, 64, 40, 7)
    assert np.array_equal(offsets, exact_track(maps, 64, 40, 7))
    assert (offsets[0] != UNASSIGNED).mean() > 0.6


def test_a_cycle_ends_at_its_lowest_position_wherever_it_is_entered() -> None:
    maps = stored(np.zeros((3, 1, 1, 8)))
    maps[3, 0, 0] = [127, 127, 127, 127, -127, -127, -127, -127]  # 3 -> 4 -> 3: a cycle of two voxels
    for steps in (30, 31, 60):
        assert (track_all(maps, steps=steps)[2, 0, 0] + np.arange(8) == 3).all()
    for steps in (PAUSE, 2 * PAUSE):  # the last steps of all show that these two are at rest
        assert track_all(maps, steps=steps)[2, 0, 0, 3:5].tolist() == [0, -1]
    ends = {int(e) for n in (10, 11) for e in track_all(maps, steps=n)[2, 0, 0] + np.arange(8)}
    assert ends == {3, 4}  # control: cut off before it was seen to rest, a path is where it happens to be


def test_a_slow_path_still_moves_on() -> None:
    maps = stored(np.zeros((3, 1, 1, 8)))
    maps[3] = STILL // PAUSE + 1
    assert (track_all(maps, steps=100)[2, 0, 0, :5] == 2).all()  # 300 / 127 voxels
    maps[3] = STILL // PAUSE
    assert (track_all(maps, steps=100) == 0).all()  # control: at rest, at its lowest position


def test_minus_128_counts_as_minus_127() -> None:
    maps = noise((4, 5, 6), 3)
    lowest = np.where(maps == -127, -128, maps)
    assert (lowest == -128).any()
    assert np.array_equal(track_all(lowest), track_all(maps))


def float_ends(flow: NDArray[np.floating], starts: NDArray[np.int64], steps: int) -> NDArray[np.floating]:
    """Euler steps in the flow's own precision, absolute positions; no rule about cycles, nothing is quantised."""
    at = starts.astype(flow.dtype)
    most = np.asarray(flow.shape[1:], flow.dtype)[:, None] - 1
    for _ in range(steps):
        at = np.clip(at + flow[(slice(None), *np.floor(at + flow.dtype.type(0.5)).astype(int))], 0, most)
    return at


def test_on_a_smooth_field_ends_agree_with_a_float64_euler_loop_within_a_voxel() -> None:
    shape = (14, 18, 20)
    flow = swirl(shape, (6.3, 8.8, 9.6))
    starts = np.indices(shape).reshape(3, -1)
    ends = starts + track_all(stored(flow), 64, 100, 30).reshape(3, -1)
    assert np.abs(ends - float_ends(flow, starts, 100)).max() <= 1.5
    assert np.abs(ends - np.array([[6.3], [8.8], [9.6]])).max() <= 1.5
    assert np.abs(ends - float_ends(-flow, starts, 100)).max() > 5  # control: the other sign


@quick
@given(st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.integers(1, 10)] * 3), seeds, st.integers(1, 4))
def test_blocks_that_read_their_reach_find_what_the_whole_volume_finds(
    shape: Vec3, block: Vec3, seed: int, reach: int
) -> None:
    maps = noise(shape, seed, 90)
    whole = track_all(maps, 30, 50, reach)
    grid = BlockGrid(shape, block)
    for index in grid:
        core = grid.core(index)
        region = core.grow(reach).clip(shape)
        part = maps[(slice(None), *region.slices())].copy()  # for a view, numba would compile it all again
        offsets = track(part, region, core, shape, foreground=30, steps=50, reach=reach)
        assert np.array_equal(offsets, whole[(slice(None), *core.slices())])


def test_maps_at_the_reach_matter_and_maps_beyond_do_not() -> None:
    reach, maps = 3, stored(np.zeros((3, 1, 1, 10)))
    maps[3] = 127
    ends = []
    for stop in (reach, reach + 1):  # where the straight path finds no flow
        changed = maps.copy()
        changed[3, 0, 0, stop] = 0
        ends.append(int(track_all(changed, reach=reach)[2, 0, 0, 0]))
    assert ends == [reach, UNASSIGNED]


def path_along(axis: int, way: int, steps: tuple[int, int]) -> tuple[NDArray[np.int8], tuple[int, ...]]:
    """A row of seven voxels whose middle one sends its walker ``steps[0]``, its neighbours ``steps[1]``; the middle."""
    shape = [1, 1, 1]
    shape[axis] = 7
    maps = stored(np.zeros((3, *shape)))
    row = maps[1 + axis].reshape(-1)
    row[:] = way * steps[1]
    row[3] = way * steps[0]
    middle = [0, 0, 0]
    middle[axis] = 3
    return maps, tuple(middle)


both_ways = pytest.mark.parametrize(("axis", "way"), [(a, w) for a in range(3) for w in (-1, 1)])


@both_ways
def test_a_walker_within_half_a_voxel_of_the_reach_is_inside_and_one_beyond_never_comes_back(
    axis: int, way: int
) -> None:
    """64 + 63 + 63 is 1.5 voxels less 1/254; 65 + 63 + 63 is just beyond, and nothing moves the walker from there."""
    maps, middle = path_along(axis, way, (64, 63))
    assert track_all(maps, steps=3, reach=1)[(axis, *middle)] == way
    maps, middle = path_along(axis, way, (65, 63))
    for steps in (3, 4, 5, PAUSE):
        assert track_all(maps, steps=steps, reach=1)[(axis, *middle)] == UNASSIGNED
    assert track_all(maps, steps=2, reach=1)[(axis, *middle)] == way  # control


def test_several_tiles_of_a_core_anywhere_in_its_region_are_the_plain_euler_loop() -> None:
    """The core has eight tiles; it begins and ends at another distance from its region's border on every axis."""
    shape: Vec3 = (44, 79, 83)
    region, core, reach = Box((1, 0, 2), (44, 79, 82)), Box((4, 5, 9), (41, 74, 79)), 2
    assert all(tile < side for tile, side in zip(tile_shape(reach), core.shape, strict=True))
    maps = noise(shape, 11, 60)
    maps[0, np.random.default_rng(1).random(shape) < 0.997] = 0
    for corner in (core.start, (35, 68, 72), tuple(s - 1 for s in core.stop)):
        maps[(0, *(slice(c - 1, c + 2) for c in corner))] = 127
    part = maps[(slice(None), *region.slices())].copy()
    offsets = track(part, region, core, shape, foreground=64, steps=25, reach=reach)
    walked = np.argwhere(maps[0] >= 64)
    walked = walked[((walked >= core.start) & (walked < core.stop)).all(axis=1)]
    assert len(walked) > 200
    assert (offsets[0] != UNASSIGNED).sum() <= len(walked)
    for start in walked.tolist():
        here = tuple(s - c for s, c in zip(start, core.start, strict=True))
        assert tuple(offsets[(slice(None), *here)]) == exact_walk(maps, tuple(start), 25, reach)


@pytest.mark.parametrize("steps", [1, 13])
def test_more_walkers_than_lanes_are_the_plain_euler_loop(steps: int) -> None:
    maps = noise((9, 10, 12), steps, 90)
    maps[0] = 127
    assert maps[0].size > 2 * PATHS
    assert np.array_equal(track_all(maps, 64, steps, 6), exact_track(maps, 64, steps, 6))


def test_the_numbers_that_decide_where_a_path_ends_are_fixed() -> None:
    """Labels depend on each: whoever changes one makes other labels, and stored offsets invalid."""
    assert (UNIT, UNASSIGNED, PAUSE, STILL, MAX_REACH) == (127, -128, 12, 24, 127)


def test_a_region_that_is_one_voxel_too_small_is_refused() -> None:
    shape: Vec3 = (1, 1, 12)
    core, reach = Box((0, 0, 0), (1, 1, 4)), 3
    for short in (0, 1):
        region = Box((0, 0, 0), (1, 1, 7 - short))
        maps = np.zeros((4, *region.shape), np.int8)
        if short:
            with pytest.raises(ValueError, match="cover"):
                track(maps, region, core, shape, foreground=64, steps=5, reach=reach)
        else:
            assert track(maps, region, core, shape, foreground=64, steps=5, reach=reach).shape == (3, *core.shape)


@pytest.mark.parametrize("reach", [0, 128])
def test_a_reach_that_does_not_fit_int8_is_refused(reach: int) -> None:
    with pytest.raises(ValueError, match=str(reach)):
        track_all(stored(np.zeros((3, 2, 2, 2))), reach=reach)


def test_paths_stop_at_the_volume_s_border_and_not_at_a_block_s() -> None:
    maps = stored(np.zeros((3, 1, 1, 9)))
    maps[3] = 100
    shape: Vec3 = (1, 1, 9)
    core, region = Box((0, 0, 2), (1, 1, 4)), Box((0, 0, 0), (1, 1, 8))
    inside = track(maps[..., :8].copy(), region, core, shape, foreground=64, steps=60, reach=4)
    assert (inside == UNASSIGNED).all()
    assert (track_all(maps, reach=8)[2, 0, 0] == np.arange(9)[::-1]).all()
    assert (track_all(maps[..., :4].copy(), reach=4)[2, 0, 0, 2:] == [1, 0]).all()  # control: a volume that ends there


@pytest.mark.slow
def test_a_view_of_maps_is_tracked_like_a_copy() -> None:
    """Numba compiles all of it once more for a view."""
    maps = noise((4, 5, 12), 5)
    assert np.array_equal(track_all(maps[..., 2:9], reach=4), track_all(maps[..., 2:9].copy(), reach=4))


def test_background_and_weak_foreground_stay_unassigned() -> None:
    maps = stored(np.zeros((3, 1, 1, 3)))
    maps[0, 0, 0] = [63, 64, -5]
    assert track_all(maps)[0, 0, 0].tolist() == [UNASSIGNED, 0, UNASSIGNED]


def test_control_float32_positions_counted_from_a_corner_depend_on_the_corner() -> None:
    shape = (12, 12, 12)
    flow = swirl(shape, (5.3, 5.8, 6.6), noise_level=0.4).astype(np.float32)
    starts = np.indices(shape).reshape(3, -1)
    moved = np.float32(30_000)
    most = np.float32(shape[0] - 1)
    near, far = starts.astype(np.float32), starts.astype(np.float32) + moved
    for _ in range(60):
        near = np.clip(near + flow[(slice(None), *np.rint(near).astype(int))], 0, most)
        here = np.rint(far).astype(int) - int(moved)
        far = np.clip(far + flow[(slice(None), *here)], moved, moved + most)
    assert not np.array_equal(np.rint(near), np.rint(far) - moved)
