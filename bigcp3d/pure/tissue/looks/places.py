"""Where the cells of a simulated sample lie, and how large each is.

Sizes in one sample may differ by a factor of 4. Large objects are placed first, small ones between them. Cells fill the
space, or lie in clusters, in a sheet, in a ball or on its surface, as in cultures, embryos and organoids.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.compiled import compiled
from bigcp3d.pure.tissue.deform import draw_noise

Floats = NDArray[np.float64]

MOST = 12_000
"""Candidates for places; more would take longer than painting."""


class Places(NamedTuple):
    """Objects to draw: where each lies, and how large it is."""

    centre: Floats
    """Shape (n, 3), voxels."""
    radius: Floats
    """Shape (n,), voxels."""
    normal: Floats
    """Shape (n, 3), unit length: up from the sheet, out of the ball; anywhere where there is neither."""


@compiled
def _keep_apart(centre, radius, spacing, side, bins):  # type: ignore[no-untyped-def]
    """Which candidates stay, in their order: those at least ``spacing`` times the sum of radii from all before."""
    head = np.full(bins, -1, np.int64)
    following = np.full(len(radius), -1, np.int64)
    kept = np.zeros(len(radius), np.bool_)
    for n in range(len(radius)):
        b = (
            min(max(np.int64(centre[n, 0] / side), 0), bins[0] - 1),
            min(max(np.int64(centre[n, 1] / side), 0), bins[1] - 1),
            min(max(np.int64(centre[n, 2] / side), 0), bins[2] - 1),
        )
        free = True
        for i in range(max(b[0] - 1, 0), min(b[0] + 2, bins[0])):
            for j in range(max(b[1] - 1, 0), min(b[1] + 2, bins[1])):
                for k in range(max(b[2] - 1, 0), min(b[2] + 2, bins[2])):
                    m = head[i, j, k]
                    while m >= 0 and free:
                        d = (
                            (centre[n, 0] - centre[m, 0]) ** 2
                            + (centre[n, 1] - centre[m, 1]) ** 2
                            + (centre[n, 2] - centre[m, 2]) ** 2
                        )
                        free = d >= (spacing * (radius[n] + radius[m])) ** 2
                        m = following[m]
        if free:
            kept[n] = True
            following[n] = head[b]
            head[b] = n
    return kept


def _draw_density(rng: np.random.Generator, points: Floats, shape: Vec3, diameter_vox: float) -> tuple[Floats, Floats]:
    """How likely each candidate is kept (0 to 1), and the direction that is outwards there (n, 3)."""
    size, number = np.array(shape, float), len(points)
    kind = rng.choice(5, p=(0.45, 0.2, 0.15, 0.1, 0.1))
    random = rng.standard_normal((number, 3))
    if kind == 0:
        return np.ones(number), random
    if kind == 1:  # clusters, or a tissue that ends
        field = draw_noise(rng, shape, float(rng.uniform(2, 6) * diameter_vox))
        inside = np.clip(points, 0, size - 1).astype(int)
        threshold = rng.uniform(-0.3, 0.3)
        return (field[tuple(inside.T)] > threshold).astype(float), random
    if kind == 2:  # one or two layers of cells on a bent surface, mostly flat in z
        normal = rng.standard_normal(3) * (0.15 if rng.random() < 0.7 else 1.0) + np.array([1.0, 0, 0])
        normal /= np.linalg.norm(normal)
        height = (points - size * rng.uniform(0.3, 0.7, 3)) @ normal
        wave = np.sin(points @ rng.normal(0, 0.03, 3)) * rng.uniform(0, 0.5) * diameter_vox
        thick = diameter_vox * rng.choice([0.15, 0.3, 1.0])
        return (np.abs(height - wave) < thick).astype(float), np.broadcast_to(normal, points.shape).copy()
    centre = size * rng.uniform(0.2, 0.8, 3)
    out = points - centre
    distance = np.linalg.norm(out * np.exp(rng.normal(0, 0.2, 3)), axis=1)
    radius = size.min() * rng.uniform(0.35, 0.8)
    if kind == 3:  # a ball, such as an early embryo
        return (distance < radius).astype(float), out
    return (np.abs(distance - radius) < 0.5 * diameter_vox).astype(float), out  # its surface


def draw_places(
    rng: np.random.Generator, shape: Vec3, diameter_vox: float, *, spread: float, spacing: float, full: bool = False
) -> Places:
    """Draw places in and around a sample of ``shape`` voxels.

    Diameters lie between ``diameter_vox / spread`` and ``diameter_vox * spread`` (its logarithm is uniform). Centres
    are at least ``spacing`` times the sum of two radii apart: below 1, objects meet. If ``full``, no part is
    left empty.
    """
    edge = 0.5 * diameter_vox * spread
    low, high = -edge, np.array(shape) + edge
    radius = 0.5 * diameter_vox * np.exp(rng.uniform(-np.log(spread), np.log(spread), MOST))
    wanted = min(MOST, int(6 * np.prod(high - low) / np.mean((2 * spacing * radius) ** 3)) + 20)
    radius = radius[:wanted]
    if rng.random() < 0.7:
        radius = np.sort(radius)[::-1].copy()
    centre = rng.uniform(low, high, (wanted, 3))
    chance, normal = _draw_density(rng, centre, shape, diameter_vox)
    stay = np.ones(wanted, bool) if full else chance > rng.random(wanted)
    centre, radius, normal = centre[stay], radius[stay], normal[stay]
    side = max(2 * spacing * float(radius.max(initial=1.0)), 1.0)
    bins = tuple(int(n / side) + 2 for n in high - low)
    kept = _keep_apart(centre - low, radius, spacing, side, bins)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    return Places(centre[kept], radius[kept], normal[kept])
