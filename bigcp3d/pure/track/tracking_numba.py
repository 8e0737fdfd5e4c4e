"""Lanes: hundreds of walkers move in step, so that the compiler turns each line into vector instructions.

One walk is a chain of dependent loads and takes 15 ns a step however fast the processor is; independent walks side by
side take half a nanosecond. What a walk is, and what its end depends on, stands in `bigcp3d.pure.track.tracking`; here
is only how it is computed.

A position is three integers in 1/127 voxel, relative to the start, plus `BIAS`: then it is positive and below 2**15,
and the nearest voxel, also relative to the start and plus `MIDDLE`, is ``position * 33027 >> 22``, which is
``position // 127`` for every number below 2**15. The three flows of a voxel lie in one 32-bit word. Word 0 is no voxel:
its flow is 0, and a walker that leaves its ball stays there for good. All rows lie in one array at fixed distances,
which lets the compiler see that they do not overlap.
"""

from __future__ import annotations

import numpy as np
from numba import njit

UNIT = 127
"""Positions are counted in 1/127 voxel, the unit of the stored flow."""

UNASSIGNED = -128
"""Stored in all three offsets of a voxel that is background, or whose path leaves its ball."""

PAUSE = 12
"""Steps between two looks at whether a path has come to rest; cycles of 1, 2, 3, 4, 6 and 12 steps stand still."""

STILL = 24
"""A path is at rest when `PAUSE` steps move it by no more than this on any axis, in 1/127 voxel. At 2/127 voxel a
step, what is left of 100 steps would move it by 1.6 voxels, less than the closing bridges."""

LANES = 496
"""Walkers side by side; their rows fill a first-level cache. Not 512: rows that lie 4096 bytes apart get in each
other's way (measured: 16 times slower to copy)."""

MIDDLE = 129
"""Number of the start voxel, so that the lowest of a ball of 128 is positive."""

BIAS = UNIT * MIDDLE + UNIT // 2
FAR = 2 * MIDDLE
"""Borders further than this do not matter."""

# where each row begins: position z, y, x; index of the word of the nearest voxel; that word; lowest and highest
# position in the volume; index of the word of voxel (0, 0, 0); position and index as the pause began; whether done
POSITION, AT, WORD, LOW, HIGH = 0, 3 * LANES, 4 * LANES, 5 * LANES, 8 * LANES
BASE, BEFORE, AT_BEFORE, DONE, ROWS = 11 * LANES, 12 * LANES, 15 * LANES, 16 * LANES, 17 * LANES
Y, X = LANES, 2 * LANES

i32 = np.int32
MULTIPLY, SHIFT = i32(33027), i32(22)
LOWEST = i32(-UNIT)
BYTE, UP_Z, UP_Y, UP_X, DOWN = i32(255), i32(24), i32(16), i32(8), i32(24)


@njit(nogil=True, cache=True)
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


@njit(nogil=True, cache=True)
def _advance(words, lanes, last, reach, strides):  # type: ignore[no-untyped-def]
    """One step of the first ``last`` lanes: add the flow, stay in the volume, find the nearest voxel's word."""
    for i in range(last):
        lanes[WORD + i] = words[lanes[AT + i]]
    lowest, span = i32(MIDDLE - reach), np.uint32(2 * reach)
    stride_z, stride_y = i32(strides[0]), i32(strides[1])
    for i in range(last):
        word = lanes[WORD + i]
        z = i32(lanes[POSITION + i] + (i32(word << UP_Z) >> DOWN))
        y = i32(lanes[POSITION + Y + i] + (i32(word << UP_Y) >> DOWN))
        x = i32(lanes[POSITION + X + i] + (i32(word << UP_X) >> DOWN))
        z = min(max(z, lanes[LOW + i]), lanes[HIGH + i])
        y = min(max(y, lanes[LOW + Y + i]), lanes[HIGH + Y + i])
        x = min(max(x, lanes[LOW + X + i]), lanes[HIGH + X + i])
        lanes[POSITION + i], lanes[POSITION + Y + i], lanes[POSITION + X + i] = z, y, x
        vz, vy, vx = i32(z * MULTIPLY) >> SHIFT, i32(y * MULTIPLY) >> SHIFT, i32(x * MULTIPLY) >> SHIFT
        inside = (np.uint32(vz - lowest) <= span) & (np.uint32(vy - lowest) <= span) & (np.uint32(vx - lowest) <= span)
        at = i32(i32(vz * stride_z) + i32(vy * stride_y)) + i32(vx + lanes[BASE + i])
        lanes[AT + i] = i32(at) if inside else i32(0)


@njit(nogil=True, cache=True)
def _remember(lanes, last):  # type: ignore[no-untyped-def]
    """As a pause begins: keep the positions of those that still walk."""
    for i in range(last):
        done = lanes[DONE + i]
        lanes[BEFORE + i] = lanes[BEFORE + i] if done else lanes[POSITION + i]
        lanes[BEFORE + Y + i] = lanes[BEFORE + Y + i] if done else lanes[POSITION + Y + i]
        lanes[BEFORE + X + i] = lanes[BEFORE + X + i] if done else lanes[POSITION + X + i]
        lanes[AT_BEFORE + i] = lanes[AT_BEFORE + i] if done else lanes[AT + i]


@njit(nogil=True, cache=True)
def _rest(lanes, last):  # type: ignore[no-untyped-def]
    """As a pause ends: mark those that have come to rest, or have left their ball; how many still walk."""
    walking = i32(0)
    for i in range(last):
        z = abs(i32(lanes[POSITION + i] - lanes[BEFORE + i]))
        y = abs(i32(lanes[POSITION + Y + i] - lanes[BEFORE + Y + i]))
        x = abs(i32(lanes[POSITION + X + i] - lanes[BEFORE + X + i]))
        done = (max(max(z, y), x) <= i32(STILL)) | (lanes[AT + i] == 0) | (lanes[DONE + i] != 0)
        lanes[DONE + i] = i32(done)
        walking = i32(walking + i32(not done))
    return walking


@njit(nogil=True, cache=True)
def _set_aside(lanes, home, last):  # type: ignore[no-untyped-def]
    """Move the lanes that are done behind those that walk on; how many these are."""
    for i in range(last - 1, -1, -1):
        if lanes[DONE + i]:
            last -= 1
            home[i], home[last] = home[last], home[i]
            for row in range(0, ROWS, LANES):
                lanes[row + i], lanes[row + last] = lanes[row + last], lanes[row + i]
    return last


@njit(nogil=True, cache=True)
def _go_back(lanes, last):  # type: ignore[no-untyped-def]
    """Put those that are done back to where their last pause began."""
    for i in range(last):
        done = lanes[DONE + i]
        lanes[POSITION + i] = lanes[BEFORE + i] if done else lanes[POSITION + i]
        lanes[POSITION + Y + i] = lanes[BEFORE + Y + i] if done else lanes[POSITION + Y + i]
        lanes[POSITION + X + i] = lanes[BEFORE + X + i] if done else lanes[POSITION + X + i]
        lanes[AT + i] = lanes[AT_BEFORE + i] if done else lanes[AT + i]


@njit(nogil=True, cache=True, inline="always")
def _place(lanes, i):  # type: ignore[no-untyped-def]
    """Position of a lane in one integer, smaller where it comes first in raster order; -1 outside its ball."""
    z, y, x = np.int64(lanes[POSITION + i]), np.int64(lanes[POSITION + Y + i]), np.int64(lanes[POSITION + X + i])
    return (z << 30) | (y << 15) | x if lanes[AT + i] else -1


@njit(nogil=True, cache=True)
def _lower(lanes, lowest, last):  # type: ignore[no-untyped-def]
    """Keep the lowest place of those that are done."""
    for i in range(last):
        here = _place(lanes, i)
        lowest[i] = here if lanes[DONE + i] and here < lowest[i] else lowest[i]


@njit(nogil=True, cache=True)
def _write(home, lowest, last, offsets):  # type: ignore[no-untyped-def]
    """Nearest voxel minus start voxel, where the walker stayed in its ball."""
    for i in range(last):
        if lowest[i] >= 0:
            offsets[0, home[i]] = (lowest[i] >> 30) // UNIT - MIDDLE
            offsets[1, home[i]] = ((lowest[i] >> 15) & 0x7FFF) // UNIT - MIDDLE
            offsets[2, home[i]] = (lowest[i] & 0x7FFF) // UNIT - MIDDLE


@njit(nogil=True, cache=True)
def _walk(words, lanes, home, lowest, count, steps, reach, strides, offsets):  # type: ignore[no-untyped-def]
    """Walk ``count`` lanes to their ends. Those that are done walk along until half of them are."""
    active = walking = count
    lanes[DONE : DONE + count] = 0
    while steps > 0 and walking > 0:
        _remember(lanes, active)
        for _ in range(min(PAUSE, steps)):
            _advance(words, lanes, active, reach, strides)
        if steps >= PAUSE:
            walking = _rest(lanes, active)
        if 2 * walking < active:
            active = _set_aside(lanes, home, active)
        steps -= PAUSE
    _go_back(lanes, count)
    for i in range(count):
        lowest[i] = _place(lanes, i)
    for _ in range(PAUSE):  # the same steps again, to find the lowest position of a pause
        _advance(words, lanes, count, reach, strides)
        _lower(lanes, lowest, count)
    _write(home, lowest, count, offsets)


@njit(nogil=True, cache=True)
def walk_tile(  # type: ignore[no-untyped-def]
    maps, start, shape, first, stop, origin, low, high, threshold, steps, reach, words, offsets
):
    """Fill the offsets of one tile, the voxels ``first`` to ``stop`` of the core.

    ``start`` and ``shape`` are the box of ``maps`` that the tile sees; ``origin`` is where the core begins in ``maps``,
    ``low`` and ``high`` where the volume's first and last voxel lie (or would lie) in it; ``words`` is scratch, one
    more than the voxels that the tile sees (numpy asks for huge pages, numba does not: half of the time).
    """
    _, nz, ny, nx = offsets.shape
    flat = offsets.reshape(3, nz * ny * nx)
    _pack(maps, start, shape, words)
    strides = shape[1] * shape[2], shape[2]
    lanes, home, lowest = np.empty(ROWS, np.int32), np.empty(LANES, np.int64), np.empty(LANES, np.int64)
    count = 0
    for cz in range(first[0], stop[0]):
        for cy in range(first[1], stop[1]):
            for cx in range(first[2], stop[2]):
                z, y, x = cz + origin[0], cy + origin[1], cx + origin[2]
                if maps[0, z, y, x] < threshold:
                    continue
                at = 1 + (z - start[0]) * strides[0] + (y - start[1]) * strides[1] + x - start[2]
                lanes[AT + count] = at
                lanes[BASE + count] = at - MIDDLE * (strides[0] + strides[1] + 1)
                for axis, here in enumerate((z, y, x)):
                    row = axis * LANES + count
                    lanes[POSITION + row] = BIAS
                    lanes[LOW + row] = BIAS - UNIT * min(here - low[axis], FAR)
                    lanes[HIGH + row] = BIAS + UNIT * min(high[axis] - here, FAR)
                home[count] = (cz * ny + cy) * nx + cx
                count += 1
                if count == LANES:
                    _walk(words, lanes, home, lowest, count, steps, reach, strides, flat)
                    count = 0
    _walk(words, lanes, home, lowest, count, steps, reach, strides, flat)
