"""Give each voxel of a simulated tissue to the nearest cell closer than `LIMIT`; of equals, the first in raster order.

Distances are those of `bigcp3d.pure.tissue.tissue_cells`. A cell more than `REACH` sites away is never closer than
`LIMIT` (the ranges in `bigcp3d.pure.tissue.tissue_settings` ensure it: on some axis its centre is at least 1.6 sites
away), so the result does not depend on the box. For speed, space is cut into bins, and each bin lists the few cells
that can be nearest in it. A smooth displacement of space makes walls curved.
"""

from __future__ import annotations

import math

import numpy as np

from bigcp3d.pure.compiled import compiled, inlined
from bigcp3d.pure.tissue.position_hashes import join, noise_row
from bigcp3d.pure.tissue.tissue_cells import LIMIT

REACH = 2
WARP_SITES = 1.6
"""Wavelength of the displacement, in sites."""


@inlined
def _distance(seed, form, bias, z, y, x):  # type: ignore[no-untyped-def]
    """Distance of a point from one cell."""
    dz, dy, dx = z - seed[0], y - seed[1], x - seed[2]
    square = form[0] * dz * dz + form[1] * dy * dy + form[2] * dx * dx
    return square + 2.0 * (form[3] * dz * dy + form[4] * dz * dx + form[5] * dy * dx) - bias


@compiled
def list_candidates(cells, fineness):  # type: ignore[no-untyped-def]
    """For each bin of 1 / fineness sites: the cells that can be nearest there, and closer than `LIMIT`.

    A distance plus b is a squared length, which changes between a bin's middle and its corner by at most the half
    diagonal times the square root of the trace of M. Returns (first, candidates): those of bin n are
    ``candidates[first[n]:first[n + 1]]``, flat indices into the cells in raster order. Sites within `REACH` of the edge
    of the box of sites have no bins.
    """
    ni, nj, nk = cells.bias.shape
    inner = (ni - 2 * REACH, nj - 2 * REACH, nk - 2 * REACH)
    side = 2 * REACH + 1
    shape = (inner[0] * fineness, inner[1] * fineness, inner[2] * fineness)
    first = np.zeros(shape[0] * shape[1] * shape[2] + 1, np.int64)
    candidates = np.empty(4 * first.size + side**3, np.int32)
    low = np.empty(side**3)
    who = np.empty(side**3, np.int32)
    half = 0.5 * math.sqrt(3.0) / fineness
    used = 0
    for n, (bz, by, bx) in enumerate(np.ndindex(shape)):
        z = cells.low[0] + REACH + (bz + 0.5) / fineness
        y = cells.low[1] + REACH + (by + 0.5) / fineness
        x = cells.low[2] + REACH + (bx + 0.5) / fineness
        found, best = 0, LIMIT
        si, sj, sk = bz // fineness, by // fineness, bx // fineness
        for i in range(si, si + 2 * REACH + 1):
            for j in range(sj, sj + 2 * REACH + 1):
                for k in range(sk, sk + 2 * REACH + 1):
                    form, bias = cells.form[i, j, k], cells.bias[i, j, k]
                    slack = half * math.sqrt(form[0] + form[1] + form[2])
                    length = math.sqrt(_distance(cells.seed[i, j, k], form, 0.0, z, y, x))
                    least = max(0.0, length - slack) ** 2 - bias
                    if least <= best + 1e-9:
                        low[found], who[found] = least, (i * nj + j) * nk + k
                        found += 1
                        best = min(best, (length + slack) ** 2 - bias)
        if used + found > candidates.size:
            candidates = np.concatenate((candidates, np.empty(candidates.size, np.int32)))
        for m in range(found):
            if low[m] <= best + 1e-9:
                candidates[used] = who[m]
                used += 1
        first[n + 1] = used
    return first, candidates[:used]


@compiled
def find_nearest_cells(  # type: ignore[no-untyped-def]
    cells, first, candidates, fineness, start, pitch, warp, key, nearest, distance
):
    """Fill ``nearest`` (int32) with each voxel's cell (flat index; -1: none) and ``distance`` with its distance.

    ``start`` is the global index of the first voxel, ``warp`` the largest displacement in sites.
    """
    nz, ny, nx = nearest.shape
    _, nj, nk = cells.bias.shape
    shape_y, shape_x = (nj - 2 * REACH) * fineness, (nk - 2 * REACH) * fineness
    wave = pitch * WARP_SITES
    nodes = np.empty(np.int64(nx / wave[2]) + 4)
    bend = np.empty((3, nx))
    seed, form = cells.seed.reshape(-1, 3), cells.form.reshape(-1, 6)
    bias, alive = cells.bias.ravel(), cells.alive.ravel()
    for pz in range(nz):
        for py in range(ny):
            gz, gy = start[0] + pz + 0.5, start[1] + py + 0.5
            for axis in range(3):
                noise_row(join(key, axis), gz / wave[0], gy / wave[1], start[2], wave[2], nodes, bend[axis])
            for px in range(nx):
                z = gz / pitch[0] + warp * bend[0, px]
                y = gy / pitch[1] + warp * bend[1, px]
                x = (start[2] + px + 0.5) / pitch[2] + warp * bend[2, px]
                bz = np.int64((z - cells.low[0] - REACH) * fineness)
                by = np.int64((y - cells.low[1] - REACH) * fineness)
                bx = np.int64((x - cells.low[2] - REACH) * fineness)
                bin_ = (bz * shape_y + by) * shape_x + bx
                best, who = LIMIT, -1
                for n in range(first[bin_], first[bin_ + 1]):
                    c = candidates[n]
                    mine = _distance(seed[c], form[c], bias[c], z, y, x)
                    if mine < best:
                        best, who = mine, c
                nearest[pz, py, px] = who if who >= 0 and alive[who] else -1
                distance[pz, py, px] = best
