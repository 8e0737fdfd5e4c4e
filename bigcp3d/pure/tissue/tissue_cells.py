"""The cells of a simulated tissue: one per site of a jittered lattice, each property a hash of the site's index.

Space is measured in sites: ``u = (voxel + 0.5) / pitch``, in which cells are round. Odd layers and rows are shifted by
half a site, like bricks, so that a cell has about 14 neighbours and not 6. Cell c claims a point of space with ``(u -
s)' M (u - s) - b``, s being its seed; `bigcp3d.pure.tissue.tissue_claims` gives each voxel to the lowest claim below
`LIMIT`. For cells that fill space M is nearly the unit matrix; for nuclei it is the ellipsoid whose surface is claim 1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bigcp3d.pure.tissue.tissue_fields import field_at, join, mix, signed

LIMIT = 1.0
"""Claims from here on are not granted: the place stays empty."""
CELLS = -1
"""Index of the cells under the tissue's key; fields have their own, from 0."""
EMPTY_SITES = 4.0
"""Wavelength of the empty regions in sites."""


class Cells(NamedTuple):
    """The cells of a box of sites, in raster order; site ``(i, j, k)`` of the lattice is row ``i - low[0]``, ...

    Attributes
    ----------
    seed : ndarray of float64, shape (i, j, k, 3)
        Centre in sites.
    form : ndarray of float64, shape (i, j, k, 6)
        zz, yy, xx, zy, zx, yx of M.
    bias : ndarray of float64, shape (i, j, k)
        b.
    alive : ndarray of bool, shape (i, j, k)
        False in empty regions: the claim is made, but the voxels get label 0.
    key : ndarray of uint64, shape (i, j, k)
        Hash that all other properties of the cell come from.
    low : tuple of int
        Lattice index of the first site.
    """

    seed: NDArray[np.float64]
    form: NDArray[np.float64]
    bias: NDArray[np.float64]
    alive: NDArray[np.bool_]
    key: NDArray[np.uint64]
    low: tuple[int, int, int]


@njit(nogil=True, cache=True)
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


@njit(nogil=True, cache=True)
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
        cells.alive[i, j, k] = field_at(mix(key), here[0], here[1], here[2]) >= threshold


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
    """The cells of the lattice sites ``low`` to ``low + shape``.

    Parameters
    ----------
    low, shape : tuple of int
        Box of sites.
    key : int
        Key of the tissue, below 2**64.
    jitter : float
        Most that a seed lies off its site's middle on each axis, in sites, below 0.5.
    radius : float
        Mean half axis of the nuclei in sites; 0 for cells that fill space.
    variation : float
        Spread of sizes: of a nucleus's half axes relative to the mean, of a cell's b in square sites.
    elongation : float
        Spread of the three axes of a cell, relative.
    threshold : float
        Cells whose seed lies where the field of empty regions is below this are not there.

    Returns
    -------
    Cells
    """
    empty = np.empty
    cells = Cells(
        empty((*shape, 3)), empty((*shape, 6)), empty(shape), empty(shape, bool), empty(shape, np.uint64), low
    )
    _fill_cells(cells, np.uint64(key), jitter, radius, variation, elongation, threshold)
    return cells


@njit(nogil=True, cache=True)
def empty_field(key, points):  # type: ignore[no-untyped-def]
    """Field that decides on empty regions at points in sites, float64 (n, 3)."""
    out = np.empty(points.shape[0])
    for n in range(points.shape[0]):
        here = points[n] / EMPTY_SITES
        out[n] = field_at(mix(key), here[0], here[1], here[2])
    return out
