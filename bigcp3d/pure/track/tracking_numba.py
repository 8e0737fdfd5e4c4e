"""Tracking on a processor: hundreds of paths advance together, so that the compiler makes vector instructions.

A single path is a chain of dependent loads and takes 15 ns a step; independent paths side by side take half a
nanosecond. `bigcp3d.pure.track.tracking` defines a path and its end; here it is only computed.

A position is three integers in 1/127 voxel, relative to the start, plus `BIAS`: so it is positive and below 2**15, and
the nearest voxel, relative to the start and plus `MIDDLE`, is ``position * 33027 >> 22``, which equals
``position // 127`` for every number below 2**15. The three flows of a voxel lie in one 32-bit word. Word 0 is no voxel:
its flow is 0, and a path that goes beyond ``reach`` stays there. All rows of ``paths`` lie in one array at fixed
distances, which shows the compiler that they do not overlap.
"""

from __future__ import annotations

import numpy as np

from bigcp3d.pure.compiled import compiled, inlined
from bigcp3d.pure.track.units import UNIT

PAUSE = 12
"""Steps between checks whether a path is at rest; cycles of 1, 2, 3, 4, 6 and 12 steps count as rest."""

STILL = 24
"""A path is at rest when `PAUSE` steps move it by no more than this on any axis, in 1/127 voxel. At 2/127 voxel a
step, 100 more steps would move it by 1.6 voxels, less than the gaps that are closed."""

PATHS = 496
"""Paths side by side; their rows fill a first-level cache. Not 512: rows 4096 bytes apart share cache sets (measured:
16 times slower to copy)."""

MIDDLE = 129
"""Number of the start voxel, so that voxels up to 128 before it are positive."""

BIAS = UNIT * MIDDLE + UNIT // 2
FAR = 2 * MIDDLE
"""Borders further away than this do not matter."""

# where each row begins: position z, y, x; index of the word of the nearest voxel; that word; lowest and highest
# position in the volume; index of the word of voxel (0, 0, 0); position and index as the pause began; whether done
POSITION, AT, WORD, LOW, HIGH = 0, 3 * PATHS, 4 * PATHS, 5 * PATHS, 8 * PATHS
BASE, BEFORE, AT_BEFORE, DONE, ROWS = 11 * PATHS, 12 * PATHS, 15 * PATHS, 16 * PATHS, 17 * PATHS
Y, X = PATHS, 2 * PATHS

i32 = np.int32
MULTIPLY, SHIFT = i32(33027), i32(22)
LOWEST = i32(-UNIT)
BYTE, UP_Z, UP_Y, UP_X, DOWN = i32(255), i32(24), i32(16), i32(8), i32(24)


@compiled
def _pack(maps, start, shape, words):  # type: ignore[no-untyped-def]
    """Fill the words of the box of ``maps`` at ``start``: flow z, y, x in the low bytes, -128 counted as -127."""
    words[0] = 0
    first, stop = start[2], start[2] + shape[2]
    to = 1
    for z in range(start[0], start[0] + shape[0]):
        for y in range(start[1], start[1] + shape[1]):
            row = words[to : to + shape[2]]
            fz, fy, fx = maps[1, z, y, first:stop], maps[2, z, y, first:stop], maps[3, z, y, first:stop]
            for x in range(shape[2]):
                low, middle = max(i32(fx[x]), LOWEST) & BYTE, max(i32(fy[x]), LOWEST) & BYTE
                row[x] = (max(i32(fz[x]), LOWEST) & BYTE) | (middle << UP_X) | (low << UP_Y)
            to += shape[2]


@compiled
def _advance(words, paths, last, reach, strides):  # type: ignore[no-untyped-def]
    """One step of the first ``last`` paths: add the flow, stay in the volume, find the nearest voxel's word."""
    for i in range(last):
        paths[WORD + i] = words[paths[AT + i]]
    lowest, span = i32(MIDDLE - reach), np.uint32(2 * reach)
    stride_z, stride_y = i32(strides[0]), i32(strides[1])
    for i in range(last):
        word = paths[WORD + i]
        z = i32(paths[POSITION + i] + (i32(word << UP_Z) >> DOWN))
        y = i32(paths[POSITION + Y + i] + (i32(word << UP_Y) >> DOWN))
        x = i32(paths[POSITION + X + i] + (i32(word << UP_X) >> DOWN))
        z = min(max(z, paths[LOW + i]), paths[HIGH + i])
        y = min(max(y, paths[LOW + Y + i]), paths[HIGH + Y + i])
        x = min(max(x, paths[LOW + X + i]), paths[HIGH + X + i])
        paths[POSITION + i], paths[POSITION + Y + i], paths[POSITION + X + i] = z, y, x
        vz, vy, vx = i32(z * MULTIPLY) >> SHIFT, i32(y * MULTIPLY) >> SHIFT, i32(x * MULTIPLY) >> SHIFT
        inside = (np.uint32(vz - lowest) <= span) & (np.uint32(vy - lowest) <= span) & (np.uint32(vx - lowest) <= span)
        at = i32(i32(vz * stride_z) + i32(vy * stride_y)) + i32(vx + paths[BASE + i])
        paths[AT + i] = i32(at) if inside else i32(0)


@compiled
def _remember(paths, last):  # type: ignore[no-untyped-def]
    """Keep the positions of paths that still move; a pause begins."""
    for i in range(last):
        done = paths[DONE + i]
        paths[BEFORE + i] = paths[BEFORE + i] if done else paths[POSITION + i]
        paths[BEFORE + Y + i] = paths[BEFORE + Y + i] if done else paths[POSITION + Y + i]
        paths[BEFORE + X + i] = paths[BEFORE + X + i] if done else paths[POSITION + X + i]
        paths[AT_BEFORE + i] = paths[AT_BEFORE + i] if done else paths[AT + i]


@compiled
def _rest(paths, last):  # type: ignore[no-untyped-def]
    """Mark paths at rest or beyond ``reach``; return how many still move. A pause ends."""
    moving = i32(0)
    for i in range(last):
        z = abs(i32(paths[POSITION + i] - paths[BEFORE + i]))
        y = abs(i32(paths[POSITION + Y + i] - paths[BEFORE + Y + i]))
        x = abs(i32(paths[POSITION + X + i] - paths[BEFORE + X + i]))
        done = (max(max(z, y), x) <= i32(STILL)) | (paths[AT + i] == 0) | (paths[DONE + i] != 0)
        paths[DONE + i] = i32(done)
        moving = i32(moving + i32(not done))
    return moving


@compiled
def _set_aside(paths, home, last):  # type: ignore[no-untyped-def]
    """Move the paths that are done behind those that move on; return how many move on."""
    for i in range(last - 1, -1, -1):
        if paths[DONE + i]:
            last -= 1
            home[i], home[last] = home[last], home[i]
            for row in range(0, ROWS, PATHS):
                paths[row + i], paths[row + last] = paths[row + last], paths[row + i]
    return last


@compiled
def _go_back(paths, last):  # type: ignore[no-untyped-def]
    """Put paths that are done back to where their last pause began."""
    for i in range(last):
        done = paths[DONE + i]
        paths[POSITION + i] = paths[BEFORE + i] if done else paths[POSITION + i]
        paths[POSITION + Y + i] = paths[BEFORE + Y + i] if done else paths[POSITION + Y + i]
        paths[POSITION + X + i] = paths[BEFORE + X + i] if done else paths[POSITION + X + i]
        paths[AT + i] = paths[AT_BEFORE + i] if done else paths[AT + i]


@inlined
def _place(paths, i):  # type: ignore[no-untyped-def]
    """Position of a path as one integer that is ordered as in raster order; -1 beyond ``reach``."""
    z, y, x = np.int64(paths[POSITION + i]), np.int64(paths[POSITION + Y + i]), np.int64(paths[POSITION + X + i])
    return (z << 30) | (y << 15) | x if paths[AT + i] else -1


@compiled
def _lower(paths, lowest, last):  # type: ignore[no-untyped-def]
    """Keep the lowest place of paths that are done."""
    for i in range(last):
        here = _place(paths, i)
        lowest[i] = here if paths[DONE + i] and here < lowest[i] else lowest[i]


@compiled
def _write(home, lowest, last, offsets):  # type: ignore[no-untyped-def]
    """Nearest voxel minus start voxel, where the path stayed within ``reach``."""
    for i in range(last):
        if lowest[i] >= 0:
            offsets[0, home[i]] = (lowest[i] >> 30) // UNIT - MIDDLE
            offsets[1, home[i]] = ((lowest[i] >> 15) & 0x7FFF) // UNIT - MIDDLE
            offsets[2, home[i]] = (lowest[i] & 0x7FFF) // UNIT - MIDDLE


@compiled
def _follow(words, paths, home, lowest, count, steps, reach, strides, offsets):  # type: ignore[no-untyped-def]
    """Follow ``count`` paths to their ends. Those that are done move along until half of them are."""
    active = moving = count
    paths[DONE : DONE + count] = 0
    while steps > 0 and moving > 0:
        _remember(paths, active)
        for _ in range(min(PAUSE, steps)):
            _advance(words, paths, active, reach, strides)
        if steps >= PAUSE:
            moving = _rest(paths, active)
        if 2 * moving < active:
            active = _set_aside(paths, home, active)
        steps -= PAUSE
    _go_back(paths, count)
    for i in range(count):
        lowest[i] = _place(paths, i)
    for _ in range(PAUSE):  # the same steps again, to find the lowest position of a pause
        _advance(words, paths, count, reach, strides)
        _lower(paths, lowest, count)
    _write(home, lowest, count, offsets)


@compiled
def follow_tile(  # type: ignore[no-untyped-def]
    maps, start, shape, first, stop, origin, low, high, threshold, steps, reach, words, offsets
):
    """Fill the offsets of one tile, the voxels ``first`` to ``stop`` of the core.

    ``start`` and ``shape`` are the box of ``maps`` that the tile reads; ``origin`` is where the core begins in
    ``maps``, ``low`` and ``high`` where the volume's first and last voxel lie (or would lie) in it. ``words`` is
    scratch, one more than the voxels of that box, from numpy, whose huge pages halve the time.
    """
    _, nz, ny, nx = offsets.shape
    flat = offsets.reshape(3, nz * ny * nx)
    _pack(maps, start, shape, words)
    strides = shape[1] * shape[2], shape[2]
    paths, home, lowest = np.empty(ROWS, np.int32), np.empty(PATHS, np.int64), np.empty(PATHS, np.int64)
    count = np.int64(0)  # not 0, for which numba would compile all that it is given to once more
    for cz in range(first[0], stop[0]):
        for cy in range(first[1], stop[1]):
            for cx in range(first[2], stop[2]):
                z, y, x = cz + origin[0], cy + origin[1], cx + origin[2]
                if maps[0, z, y, x] < threshold:
                    continue
                at = 1 + (z - start[0]) * strides[0] + (y - start[1]) * strides[1] + x - start[2]
                paths[AT + count] = at
                paths[BASE + count] = at - MIDDLE * (strides[0] + strides[1] + 1)
                for axis, here in enumerate((z, y, x)):
                    row = axis * PATHS + count
                    paths[POSITION + row] = BIAS
                    paths[LOW + row] = BIAS - UNIT * min(here - low[axis], FAR)
                    paths[HIGH + row] = BIAS + UNIT * min(high[axis] - here, FAR)
                home[count] = (cz * ny + cy) * nx + cx
                count += 1
                if count == PATHS:
                    _follow(words, paths, home, lowest, count, steps, reach, strides, flat)
                    count = np.int64(0)
    _follow(words, paths, home, lowest, count, steps, reach, strides, flat)
