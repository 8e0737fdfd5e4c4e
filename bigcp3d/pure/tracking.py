"""Tracking: every foreground voxel walks along the flow to the point where it comes to rest.

The maps are int8, so a step is a whole number of 1/127 voxels and a position, kept relative to the start, is three
integers in that unit. Nothing is ever rounded: the walk of a voxel is the same in every block, on every machine.
127 is odd, so the nearest voxel ``floor((p + 63) / 127)`` is never a tie.

Invariant: an end point depends on the flow within ``reach`` voxels of the start and on the volume's border, and on
nothing else; so a block that reads its core grown by ``reach`` finds what the whole volume finds.

The walk adds the flow (which points to the centre, see `bigcp3d.pure.targets`) and ends

- where the flow is zero or pushes against the volume's border (a fixed point);
- where a position comes back (a cycle): the end is the cycle's lowest position in raster order, whatever the phase;
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


@njit(nogil=True, cache=True, inline="always")
def _nearest(position: int) -> int:
    """Voxel offset nearest to a position in 1/127 voxel."""
    return (position + UNIT // 2) // UNIT


@njit(nogil=True, cache=True, inline="always")
def _clamp(value: int, low: int, high: int) -> int:
    """Value moved into [low, high]."""
    return low if value < low else (high if value > high else value)


@njit(nogil=True, cache=True)
def _step(flow, sz, sy, sx, pz, py, px, low, high):  # type: ignore[no-untyped-def]
    """Add the flow at the voxel nearest to ``start + position``; stay inside the volume."""
    here = flow[sz + _nearest(pz), sy + _nearest(py), sx + _nearest(px)]
    return (
        _clamp(pz + here[1], (low[0] - sz) * UNIT, (high[0] - 1 - sz) * UNIT),
        _clamp(py + here[2], (low[1] - sy) * UNIT, (high[1] - 1 - sy) * UNIT),
        _clamp(px + here[3], (low[2] - sx) * UNIT, (high[2] - 1 - sx) * UNIT),
    )


@njit(nogil=True, cache=True)
def _walk(flow, sz, sy, sx, low, high, steps, reach):  # type: ignore[no-untyped-def]
    """End point of one voxel as an offset, or UNASSIGNED three times."""
    pz = py = px = 0
    mark_z = mark_y = mark_x = 0  # Brent's cycle search: a position to meet again, renewed at 1, 2, 4, ... steps
    since, power = 0, 1
    for _ in range(steps):
        nz, ny, nx = _step(flow, sz, sy, sx, pz, py, px, low, high)
        if nz == pz and ny == py and nx == px:
            break
        pz, py, px = nz, ny, nx
        if abs(_nearest(pz)) > reach or abs(_nearest(py)) > reach or abs(_nearest(px)) > reach:
            return UNASSIGNED, UNASSIGNED, UNASSIGNED
        since += 1
        if pz == mark_z and py == mark_y and px == mark_x:
            for _ in range(since):  # once around, to find the lowest position
                nz, ny, nx = _step(flow, sz, sy, sx, nz, ny, nx, low, high)
                if nz < pz or (nz == pz and (ny < py or (ny == py and nx < px))):
                    pz, py, px = nz, ny, nx
            break
        if since == power:
            mark_z, mark_y, mark_x = pz, py, px
            since, power = 0, 2 * power
    return _nearest(pz), _nearest(py), _nearest(px)


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
    flow = np.ascontiguousarray(np.moveaxis(maps, 0, -1))
    offsets = np.full((3, *core.shape), UNASSIGNED, np.int8)
    core_start = tuple(a - b for a, b in zip(core.start, region.start, strict=True))
    low = tuple(-b for b in region.start)
    high = tuple(s - b for s, b in zip(shape, region.start, strict=True))
    _walk_all(flow, core_start, offsets, low, high, foreground, steps, reach)
    return offsets
