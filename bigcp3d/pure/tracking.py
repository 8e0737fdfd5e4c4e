"""Tracking: every foreground voxel walks along the flow to the point where it comes to rest.

The maps are int8, so a step is a whole number of 1/127 voxels and a position, kept relative to the start, is three
integers in that unit. Nothing is ever rounded: the walk of a voxel is the same in every block, on every machine.
127 is odd, so the nearest voxel ``floor((p + 63) / 127)`` is never a tie. (-128 in the maps counts as -127.)

Invariant: an end point depends on the flow within ``reach`` voxels of the start and on the volume's border, and on
nothing else; so a block that reads its core grown by ``reach`` finds what the whole volume finds.

The walk adds the flow (which points to the centre, see `bigcp3d.pure.targets`) and ends

- where it has come to rest: 12 steps (`PAUSE`) have moved it by less than a fifth of a voxel (`STILL`), as at a fixed
  point, in a short cycle, or circling a centre; the end is the lowest position of those steps in raster order;
- after ``steps`` steps, where it happens to be;
- nowhere, once the nearest voxel is further than ``reach`` from the start on any axis: the voxel is unassigned.

Follows Stringer et al. 2021 (Cellpose, Euler steps along the flow) and Eschweiler and Stegmaier 2021, section 2.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Box, Vec3

UNIT = 127
"""Positions are counted in 1/127 voxel, the unit of the stored flow."""

UNASSIGNED = -128
"""Stored in all three offsets of a voxel that is background, or whose path leaves its ball."""

MAX_REACH = 127

PAUSE = 12
"""Steps between two looks at whether a path has come to rest; cycles of 1, 2, 3, 4, 6 and 12 steps stand still."""

STILL = 24
"""A path is at rest when `PAUSE` steps move it by no more than this on any axis, in 1/127 voxel. At 2/127 voxel a
step, what is left of 100 steps would move it by 1.6 voxels, less than the closing bridges."""

HALF = UNIT // 2


@njit(nogil=True, cache=True, inline="always")
def _move(voxel, rest, flow, low, high):  # type: ignore[no-untyped-def]
    """One axis of a step, without division: nearest voxel, and -63..63 units from its centre; inside [low, high]."""
    rest += flow
    crossed = (rest > HALF) - (rest < -HALF)
    voxel += crossed
    rest -= UNIT * crossed
    if voxel <= low and (voxel < low or rest < 0):
        return low, 0
    if voxel >= high and (voxel > high or rest > 0):
        return high, 0
    return voxel, rest


@njit(nogil=True, cache=True, inline="always")
def _step(flow, at, low, high):  # type: ignore[no-untyped-def]
    """Add the flow at the nearest voxel; ``at`` is (z, y, x, rest z, rest y, rest x)."""
    here = flow[at[0], at[1], at[2]]
    z, rz = _move(at[0], at[3], here[1], low[0], high[0])
    y, ry = _move(at[1], at[4], here[2], low[1], high[1])
    x, rx = _move(at[2], at[5], here[3], low[2], high[2])
    return z, y, x, rz, ry, rx


@njit(nogil=True, cache=True, inline="always")
def _key(at):  # type: ignore[no-untyped-def]
    """Position with the axes in order: smaller keys come first in raster order."""
    return at[0] * UNIT + at[3], at[1] * UNIT + at[4], at[2] * UNIT + at[5]


@njit(nogil=True, cache=True)
def _walk(flow, sz, sy, sx, low, high, steps, reach):  # type: ignore[no-untyped-def]
    """End point of one voxel as an offset, or UNASSIGNED three times."""
    at = (sz, sy, sx, 0, 0, 0)
    while steps > 0:
        before = at
        for _ in range(min(PAUSE, steps)):
            at = _step(flow, at, low, high)
            if abs(at[0] - sz) > reach or abs(at[1] - sy) > reach or abs(at[2] - sx) > reach:
                return UNASSIGNED, UNASSIGNED, UNASSIGNED
        steps -= PAUSE
        was, now = _key(before), _key(at)
        moved = max(abs(now[0] - was[0]), abs(now[1] - was[1]), abs(now[2] - was[2]))
        if steps >= 0 and moved <= STILL:
            at = before
            for _ in range(PAUSE):  # the same steps again, to find the lowest position
                before = _step(flow, before, low, high)
                if _key(before) < _key(at):
                    at = before
            break
    return at[0] - sz, at[1] - sy, at[2] - sx


@njit(nogil=True, cache=True)
def _walk_all(flow, core_start, offsets, low, high, threshold, steps, reach):  # type: ignore[no-untyped-def]
    """Fill ``offsets`` for every voxel of the core."""
    _, nz, ny, nx = offsets.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                sz, sy, sx = z + core_start[0], y + core_start[1], x + core_start[2]
                if flow[sz, sy, sx, 0] < threshold:
                    continue
                dz, dy, dx = _walk(flow, sz, sy, sx, low, high, steps, reach)
                offsets[0, z, y, x] = dz
                offsets[1, z, y, x] = dy
                offsets[2, z, y, x] = dx


def track(
    maps: NDArray[np.int8],
    region: Box,
    core: Box,
    shape: Vec3,
    *,
    foreground: int,
    steps: int,
    reach: int,
) -> NDArray[np.int8]:
    """Walk every foreground voxel of ``core`` to its end point.

    Parameters
    ----------
    maps : ndarray of int8, shape (4, Z, Y, X)
        Foreground and flow (z, y, x) of ``region``, each times 127; the flow in voxels per step.
    region, core : Box
        What ``maps`` covers, and what is wanted; ``region`` holds ``core`` grown by ``reach``, clipped to the volume.
    shape : tuple of int
        The whole volume, in voxels: paths do not leave it.
    foreground : int
        A voxel is foreground where the stored foreground is at least this (0.5 is 64).
    steps : int
        Largest number of Euler steps.
    reach : int
        Chebyshev radius in voxels, 1 to 127.

    Returns
    -------
    offsets : ndarray of int8, shape (3, z, y, x)
        End voxel minus start voxel; -128 in all three where the voxel is background or unassigned.

    Raises
    ------
    ValueError
        If ``reach`` does not fit int8, or ``region`` is too small for ``core`` and ``reach``.

    Notes
    -----
    Exact under blocking; halo ``reach``; deterministic. 4 bytes a voxel of ``region`` beside the input (an
    interleaved copy, so that one step touches one cache line), 3 bytes a voxel of ``core``.
    """
    if not 1 <= reach <= MAX_REACH:
        raise ValueError(f"reach is {reach} voxels; offsets are stored in int8, so 1 to {MAX_REACH} are allowed")
    needed = core.grow(reach).clip(shape)
    if region.intersect(needed) != needed:
        raise ValueError(f"tracking {core} with reach {reach} needs {needed}, but the maps cover {region} only")
    flow = np.maximum(np.moveaxis(maps, 0, -1), -UNIT, order="C")
    offsets = np.full((3, *core.shape), UNASSIGNED, np.int8)
    core_start = tuple(a - b for a, b in zip(core.start, region.start, strict=True))
    low = tuple(-b for b in region.start)
    high = tuple(s - b - 1 for s, b in zip(shape, region.start, strict=True))
    _walk_all(flow, core_start, offsets, low, high, foreground, steps, reach)
    return offsets
