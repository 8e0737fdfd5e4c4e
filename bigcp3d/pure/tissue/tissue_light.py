"""From cells to an image: light of the stained cells, and after a blur the camera's counts with their noise.

Both depend on a voxel's cell and its six neighbours' cells, on smooth noise and on hashes of the voxel's global index,
never on the box. The blur between them is `bigcp3d.pure.tissue.position_hashes.blur_valid`.
"""

from __future__ import annotations

import math

import numpy as np

from bigcp3d.pure.compiled import compiled
from bigcp3d.pure.tissue.position_hashes import bell, join, noise_row, signed

UNEVEN_SITES = 2.5
"""Wavelength of slow changes in brightness, in sites."""

GRAIN_SITES = 0.22
"""Wavelength of chromatin's texture, in nuclear diameters."""

UNEVEN, GRAIN, CAMERA, PAIR, CELL = 101, 102, 103, 104, 105


@compiled
def stain_membranes(nearest, keys, start, pitch, key, face, inside, staining, uneven):  # type: ignore[no-untyped-def]
    """Light from cells with stained membranes, float32, one voxel shorter on every side than ``nearest``.

    A voxel is membrane where a neighbour across a face belongs to another cell or to none; its brightness is that of
    ``face`` for the face's axis. Each cell and each pair of cells has its own brightness.
    """
    nz, ny, nx = nearest.shape[0] - 2, nearest.shape[1] - 2, nearest.shape[2] - 2
    out = np.zeros((nz, ny, nx), np.float32)
    wave = pitch * UNEVEN_SITES
    nodes, field = np.empty(np.int64(nx / wave[2]) + 4), np.empty(nx)
    beside = np.empty(6, np.int64)
    for z in range(nz):
        for y in range(ny):
            gz, gy = start[0] + z + 1.5, start[1] + y + 1.5
            noise_row(join(key, UNEVEN), gz / wave[0], gy / wave[1], start[2] + 1, wave[2], nodes, field)
            for x in range(nx):
                own = nearest[z + 1, y + 1, x + 1]
                if own < 0:
                    continue
                cell = 1.0 + staining * signed(join(keys[own], CELL))
                value = inside * cell
                beside[0], beside[1] = nearest[z, y + 1, x + 1], nearest[z + 2, y + 1, x + 1]
                beside[2], beside[3] = nearest[z + 1, y, x + 1], nearest[z + 1, y + 2, x + 1]
                beside[4], beside[5] = nearest[z + 1, y + 1, x], nearest[z + 1, y + 1, x + 2]
                for side in range(6):
                    other = beside[side]
                    if other != own:
                        pair = keys[own] ^ keys[other] if other >= 0 else keys[own]
                        wall = face[side // 2] * (1.0 + staining * signed(join(pair, PAIR))) * (0.5 + 0.5 * cell)
                        value = max(value, wall)
                out[z, y, x] = value * (1.0 + uneven * field[x])
    return out


@compiled
def stain_nuclei(  # type: ignore[no-untyped-def]
    nearest, distance, keys, start, pitch, grain_vox, key, rim, texture, staining, uneven
):
    """Light from stained nuclei, float32, shape of ``nearest``: chromatin, of which ``rim`` lies at the surface.

    ``distance`` is the squared distance from the centre in half axes; the rim is where it is above 0.6.
    """
    nz, ny, nx = nearest.shape
    out = np.zeros((nz, ny, nx), np.float32)
    wave = pitch * UNEVEN_SITES
    nodes = np.empty(np.int64(nx / min(wave[2], grain_vox[2])) + 4)
    field, grain = np.empty(nx), np.empty(nx)
    for z in range(nz):
        for y in range(ny):
            gz, gy = start[0] + z + 0.5, start[1] + y + 0.5
            if nearest[z, y].max() < 0:
                continue
            noise_row(join(key, UNEVEN), gz / wave[0], gy / wave[1], start[2], wave[2], nodes, field)
            noise_row(join(key, GRAIN), gz / grain_vox[0], gy / grain_vox[1], start[2], grain_vox[2], nodes, grain)
            for x in range(nx):
                own = nearest[z, y, x]
                if own < 0:
                    continue
                cell = 1.0 + staining * signed(join(keys[own], CELL))
                shell = (1.0 - rim) + rim * (1.5 if distance[z, y, x] > 0.6 else 0.15)
                out[z, y, x] = cell * shell * (1.0 + texture * grain[x]) * (1.0 + uneven * field[x])
    return out


@compiled
def expose(light, fade, start, key, signal, background, noise):  # type: ignore[no-untyped-def]
    """Camera counts, uint16, from blurred light (1: full stain), which fades by the factor ``fade`` of each plane.

    The noise's variance is ``(noise * signal)**2`` at full stain and a twentieth of that in the dark (shot and read
    noise).
    """
    out = np.empty(light.shape, np.uint16)
    for z, y in np.ndindex(light.shape[:2]):
        row = join(join(join(key, CAMERA), start[0] + z), start[1] + y)
        for x in range(light.shape[2]):
            value = np.float64(light[z, y, x]) * fade[z]
            spread = noise * math.sqrt(0.05 + 0.95 * value)
            count = background + signal * (value + spread * bell(join(row, start[2] + x)))
            out[z, y, x] = np.uint16(min(max(count + 0.5, 0.0), 65535.0))
    return out
