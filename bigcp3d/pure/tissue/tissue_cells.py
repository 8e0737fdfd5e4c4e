"""The cells of a simulated tissue: one for each site of an irregular lattice, drawn from a hash of the site's index.

Space is measured in sites: ``u = (voxel + 0.5) / pitch``, in which cells are round. Odd layers and rows are shifted by
half a site, like bricks, so that a cell has about 14 neighbours. The distance of a point from a cell with centre s is
``(u - s)' M (u - s) - b``. For cells that fill space M is nearly the unit matrix; for nuclei it is the ellipsoid whose
surface has distance 1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.compiled import compiled
from bigcp3d.pure.tissue.position_hashes import join, mix, noise_at, signed

LIMIT = 1.0
"""A voxel at least this far from every cell stays empty."""

CELLS = -1
"""Index of the cells under the tissue's key; smooth noise has indices from 0."""

EMPTY_SITES = 4.0
"""Wavelength of the empty regions, in sites."""


class Cells(NamedTuple):
    """The cells of a box of lattice sites, shape (i, j, k)."""

    seed: NDArray[np.float64]
    """Shape (i, j, k, 3): centre in sites."""
    form: NDArray[np.float64]
    """Shape (i, j, k, 6): zz, yy, xx, zy, zx, yx of M."""
    bias: NDArray[np.float64]
    """b."""
    alive: NDArray[np.bool_]
    """False in empty regions: voxels nearest to such a cell get label 0."""
    key: NDArray[np.uint64]
    """Hash from which all other properties of the cell follow."""
    low: tuple[int, int, int]
    """Lattice index of the first site."""


@compiled
def _set_form(form, key, axes):  # type: ignore[no-untyped-def]
    """Write R' diag(axes) R for a rotation R drawn from ``key`` (a normalised quaternion)."""
    a, b, c, d = signed(join(key, 0)), signed(join(key, 1)), signed(join(key, 2)), signed(join(key, 3))
    norm = math.sqrt(a * a + b * b + c * c + d * d) + 1e-12
    a, b, c, d = a / norm, b / norm, c / norm, d / norm
    rows = (
        (1 - 2 * (c * c + d * d), 2 * (b * c - a * d), 2 * (b * d + a * c)),
        (2 * (b * c + a * d), 1 - 2 * (b * b + d * d), 2 * (c * d - a * b)),
        (2 * (b * d - a * c), 2 * (c * d + a * b), 1 - 2 * (b * b + c * c)),
    )
    form[:] = 0.0
    for m in range(3):
        z, y, x = rows[m]
        w = axes[m]
        form[0] += w * z * z
        form[1] += w * y * y
        form[2] += w * x * x
        form[3] += w * z * y
        form[4] += w * z * x
        form[5] += w * y * x


@compiled
def _fill_cells(cells, key, jitter, radius, variation, elongation, threshold):  # type: ignore[no-untyped-def]
    """Draw the properties of every cell from its lattice index; ``radius`` 0 means cells that fill space."""
    axes = np.empty(3)
    for i, j, k in np.ndindex(cells.bias.shape):
        gi, gj, gk = i + cells.low[0], j + cells.low[1], k + cells.low[2]
        own = join(join(join(join(key, CELLS), gi), gj), gk)
        cells.key[i, j, k] = own
        seed = cells.seed[i, j, k]
        seed[0] = gi + 0.5 + jitter * signed(join(own, 10))
        seed[1] = gj + 0.5 + 0.5 * (gi & 1) + jitter * signed(join(own, 11))
        seed[2] = gk + 0.5 + 0.5 * ((gi + gj) & 1) + jitter * signed(join(own, 12))
        size = 1.0 + variation * signed(join(own, 13))
        for m in range(3):
            stretch = 1.0 + elongation * signed(join(own, 14 + m))
            axes[m] = 1.0 / (radius * size * stretch) ** 2 if radius > 0 else stretch
        _set_form(cells.form[i, j, k], own, axes)
        cells.bias[i, j, k] = 0.0 if radius > 0 else size - 1.0
        here = seed / EMPTY_SITES
        cells.alive[i, j, k] = noise_at(mix(key), here[0], here[1], here[2]) >= threshold


def make_cells(
    low: tuple[int, int, int],
    shape: tuple[int, int, int],
    key: int,
    *,
    jitter: float,
    radius: float,
    variation: float,
    elongation: float,
    threshold: float,
) -> Cells:
    """The cells of the lattice sites ``low`` to ``low + shape``, in a tissue with this ``key`` (below 2**64).

    ``jitter`` is the largest distance of a centre from its site's middle on each axis, in sites, below 0.5. ``radius``
    is the mean half axis of the nuclei in sites; 0 for cells that fill space. ``variation`` is the spread of sizes: of
    a nucleus's half axes relative to the mean, of a cell's b in square sites. ``elongation`` is the relative spread of
    the three axes of a cell. There are no cells where `empty_noise` is below ``threshold``.
    """
    empty = np.empty
    cells = Cells(
        empty((*shape, 3)), empty((*shape, 6)), empty(shape), empty(shape, bool), empty(shape, np.uint64), low
    )
    _fill_cells(cells, np.uint64(key), jitter, radius, variation, elongation, threshold)
    return cells


@compiled
def empty_noise(key, points):  # type: ignore[no-untyped-def]
    """Smooth noise that decides on empty regions, at points in sites, float64 (n, 3)."""
    out = np.empty(points.shape[0])
    for n in range(points.shape[0]):
        here = points[n] / EMPTY_SITES
        out[n] = noise_at(mix(key), here[0], here[1], here[2])
    return out
