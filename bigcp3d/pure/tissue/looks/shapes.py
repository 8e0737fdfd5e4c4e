"""Shapes of cells and nuclei in a sample: ellipsoids whose surfaces noise dents, cells that meet, nuclei in cells.

As AnyStar does (Dey et al. 2024), one noise field is added to all distances, so that outlines are no ellipsoids. A
second field bends space, so that walls between cells are curved. Each voxel belongs to the nearest object.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Vec3, vec3
from bigcp3d.pure.compiled import compiled
from bigcp3d.pure.learn.targets import label_centroids
from bigcp3d.pure.tissue.deform import draw_noise
from bigcp3d.pure.tissue.looks.places import Places

Floats = NDArray[np.float64]
Float32 = NDArray[np.float32]
Labels = NDArray[np.int32]

MITOTIC = 3.0
"""Brightness of a figure of mitosis relative to other nuclei, at most."""


class Objects(NamedTuple):
    """Objects of a sample before they are stained."""

    labels: Labels
    """Shape (z, y, x): 0 is none, n is object n - 1."""
    depth: Float32
    """Shape (z, y, x): 0 at an object's centre, 1 at its surface, 9 outside."""
    level: Floats
    """Brightness of each object relative to others, shape (n,)."""


class Ellipsoids(NamedTuple):
    """Ellipsoids: the points where ``(p - centre)' form (p - centre)`` is below 1."""

    centre: Floats
    """Shape (n, 3), voxels."""
    form: Floats
    """Shape (n, 3, 3)."""
    level: Floats
    """Shape (n,): brightness."""


@compiled
def _fill(labels, depth, centre, form, extent, dents, bend, limit, owner):  # type: ignore[no-untyped-def]
    """Give each voxel to the object of smallest depth below ``limit``; ``owner`` 0 is free for all objects."""
    shape = labels.shape
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    for n in range(len(centre)):
        for a in range(3):
            low[a] = max(int(centre[n, a] - extent[n, a]), 0)
            high[a] = min(int(centre[n, a] + extent[n, a]) + 2, shape[a])
        m = form[n]
        for z in range(low[0], high[0]):
            for y in range(low[1], high[1]):
                for x in range(low[2], high[2]):
                    if owner[z, y, x] != 0 and owner[z, y, x] != n + 1:
                        continue
                    dz = z - centre[n, 0] + bend[0, z, y, x]
                    dy = y - centre[n, 1] + bend[1, z, y, x]
                    dx = x - centre[n, 2] + bend[2, z, y, x]
                    square = m[0, 0] * dz * dz + m[1, 1] * dy * dy + m[2, 2] * dx * dx
                    square += 2 * (m[0, 1] * dz * dy + m[0, 2] * dz * dx + m[1, 2] * dy * dx)
                    here = np.float32(np.sqrt(square)) + dents[z, y, x]
                    if here < limit and here < depth[z, y, x]:
                        depth[z, y, x] = here
                        labels[z, y, x] = n + 1


def grow(
    rng: np.random.Generator,
    shape: Vec3,
    bodies: Ellipsoids,
    diameter_vox: float,
    *,
    dents: float,
    bend: float,
    limit: float = 1.0,
    owner: Labels | None = None,
) -> Objects:
    """Draw ellipsoids of a sample; ``dents`` (in radii) and ``bend`` (in diameters) are the strengths of the noise.

    With ``limit`` above 1 they grow until they meet. ``owner`` (z, y, x), where given, lets object n have voxels of
    value n + 1 alone.
    """
    labels, depth = np.zeros(shape, np.int32), np.full(shape, 9.0, np.float32)
    field = np.float32(dents) * draw_noise(rng, shape, float(rng.uniform(0.4, 1.2) * diameter_vox))
    wave = float(rng.uniform(0.6, 2.0) * diameter_vox)
    moved = np.stack([np.float32(bend * diameter_vox) * draw_noise(rng, shape, wave) for _ in range(3)])
    width = np.sqrt(np.maximum(np.linalg.inv(bodies.form).diagonal(axis1=1, axis2=2), 0))
    extent = (limit + dents) * width + bend * diameter_vox + 1
    _fill(labels, depth, bodies.centre, bodies.form, extent, field, moved, limit, _anyone(shape, owner))
    return Objects(labels, depth, bodies.level)


def _anyone(shape: Vec3, owner: Labels | None) -> Labels:
    return np.zeros(shape, np.int32) if owner is None else owner


def _turns(rng: np.random.Generator, normal: Floats, random: float) -> Floats:
    """Rotations (n, 3, 3) whose first column is the normal, or for a share ``random`` of them any direction."""
    first = np.where(rng.random((len(normal), 1)) < random, rng.standard_normal(normal.shape), normal)
    first /= np.linalg.norm(first, axis=1, keepdims=True) + 1e-9
    second = np.cross(first, rng.standard_normal(normal.shape))
    second /= np.linalg.norm(second, axis=1, keepdims=True) + 1e-9
    return np.stack([first, second, np.cross(first, second)], axis=2)


def draw_ellipsoids(
    rng: np.random.Generator, places: Places, *, along: float, spread: float, mitotic: float = 0.0
) -> Ellipsoids:
    """Ellipsoids of the radii of ``places``.

    ``along`` is how much longer they are along the normal than across it, below 1 for flat ones; ``spread`` is the
    spread of their axes. A share ``mitotic`` becomes figures of mitosis: plates, pairs of plates, condensed balls.
    """
    number = len(places.radius)
    axes = np.exp(rng.normal(0, spread, (number, 3)) + np.log(along) * np.array([2 / 3, -1 / 3, -1 / 3]))
    axes *= (places.radius / np.cbrt(axes.prod(axis=1)))[:, None]
    turns = _turns(rng, places.normal, 0.1 if along != 1 else 1.0)
    level, centre = np.ones(number), places.centre.copy()
    kind = np.where(rng.random(number) < mitotic, rng.integers(1, 4, number), 0)
    plate, pair, ball = kind == 1, kind == 2, kind == 3
    axes[plate] = places.radius[plate, None] * np.array([0.35, 1.0, 1.0])
    axes[pair] = places.radius[pair, None] * np.array([0.28, 0.7, 0.7])
    axes[ball] = places.radius[ball, None] * 0.7
    level[kind > 0] = rng.uniform(1.0, MITOTIC, int((kind > 0).sum()))
    apart = rng.uniform(0.45, 0.9, (number, 1)) * places.radius[:, None] * turns[:, :, 0]
    other = centre[pair] - apart[pair]
    centre[pair] += apart[pair]
    centre, axes = np.concatenate([centre, other]), np.concatenate([axes, axes[pair]])
    turns, level = np.concatenate([turns, turns[pair]]), np.concatenate([level, level[pair]])
    form = turns @ (np.eye(3) / np.maximum(axes, 0.7)[:, None, :] ** 2) @ turns.transpose(0, 2, 1)
    return Ellipsoids(centre, form, level)


def nuclei_in_cells(
    rng: np.random.Generator, cells: Labels, number: int, share: float, *, dents: float, empty: float = 0.05
) -> Objects:
    """Nuclei inside given cells (labels 1 to ``number``), of ``share`` of the cell's diameter and much of its form.

    A share ``empty`` of the cells has none. A nucleus never leaves its cell. Its label is that of the cell.
    """
    count = np.bincount(cells.ravel(), minlength=number + 1)[1:]
    centre = label_centroids(cells, number)[1:]
    spread = _moments(cells, centre, number)
    radius = np.cbrt(0.75 / np.pi * np.maximum(count, 1))
    spread += 1e-3 * np.eye(3)
    round_ = (0.2 * radius**2)[:, None, None] * np.eye(3)
    roundness = rng.uniform(0.2, 0.9)
    shape = (1 - roundness) * spread + roundness * round_
    size = np.linalg.det(shape) ** (1 / 6)
    wanted = share * radius * np.exp(rng.normal(0, 0.12, number))
    scale = (wanted / np.maximum(size, 1e-3))[:, None, None]
    form = np.linalg.inv(shape * scale**2)
    moved = rng.normal(0, 0.12, (number, 3)) + rng.choice([0.0, 0.3]) * rng.standard_normal(3) / np.sqrt(3)
    gone = (rng.random(number) < empty) | (count < 30)
    middle = np.where(gone[:, None], -1e6, centre + moved * radius[:, None] * (1 - share))
    bodies = Ellipsoids(middle, form, np.ones(number))
    mean = float(2 * np.median(wanted)) if number else 10.0
    owner = np.where(cells > 0, cells, number + 1)
    return grow(rng, vec3(cells.shape), bodies, mean, dents=dents, bend=0.0, owner=owner)


@compiled
def _moments(cells, centre, number):  # type: ignore[no-untyped-def]
    """Second moments of the voxels of each cell about its centre, (n, 3, 3); one fifth of a ball's squared radius."""
    total = np.zeros((number, 3, 3))
    count = np.zeros(number)
    d = np.empty(3)
    for z, y, x in np.ndindex(cells.shape):
        n = cells[z, y, x] - 1
        if n < 0:
            continue
        d[0], d[1], d[2] = z - centre[n, 0], y - centre[n, 1], x - centre[n, 2]
        for a in range(3):
            for b in range(3):
                total[n, a, b] += d[a] * d[b]
        count[n] += 1
    for n in range(number):
        total[n] /= max(count[n], 1.0)
    return total
