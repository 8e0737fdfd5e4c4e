"""Labels of cells that move together, jitter and divide, with the true parents; also with planted errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

DIAMETER = 12.0
"""Of a cell, in voxels."""


@dataclass(frozen=True, eq=False)
class MovingTissue:
    """``labels`` of each time point (z, y, x), uint32, cell i has the id i + 1; ``parents`` are rows, -1: none."""

    labels: list[NDArray[np.uint32]]
    parents: list[NDArray[np.int64]]


def move_tissue(n: int, times: int, motion: float, *, seed: int = 0, dividing: float = 0.04) -> MovingTissue:
    """About ``n`` cells; ``motion`` is their way from one time point to the next, in diameters."""
    rng = np.random.default_rng(seed)
    side = (n * DIAMETER**3 * 0.75) ** (1 / 3)
    centre, size = _spread(rng.uniform(0, side, (n, 3)), side, 40), np.ones(n)
    wave, phase = rng.normal(size=(3, 3)) * 2 / side, rng.uniform(0, 2 * np.pi, 3)
    tissue = MovingTissue([_draw(centre, size, side)], [np.full(n, -1)])
    for _ in range(times - 1):
        way = np.sin(centre @ wave.T + phase) * 0.7 + rng.normal(0, 0.3 / 3**0.5, centre.shape)
        moved = centre + motion * DIAMETER * way
        divides = rng.random(len(centre)) < dividing
        axis = rng.normal(size=centre.shape)
        axis *= 0.35 * DIAMETER / np.linalg.norm(axis, axis=1, keepdims=True)
        one = moved + axis * divides[:, None]
        centre = np.concatenate([one, (moved - axis)[divides]])
        size = np.concatenate([np.where(divides, 0.8, np.minimum(size + 0.07, 1)), np.full(divides.sum(), 0.8)])
        parent = np.concatenate([np.arange(len(one)), np.flatnonzero(divides)])
        inside = ((centre > 0) & (centre < side)).all(axis=1)
        centre, size, parent = _spread(centre[inside], side, 8), size[inside], parent[inside]
        tissue.labels.append(_draw(centre, size, side))
        tissue.parents.append(parent)
    return tissue


def _spread(centre: NDArray[np.float64], side: float, rounds: int) -> NDArray[np.float64]:
    """Push cells apart that are nearer than 0.8 diameters."""
    for _ in range(rounds):
        pairs = KDTree(centre).query_pairs(0.8 * DIAMETER, output_type="ndarray")
        way = centre[pairs[:, 0]] - centre[pairs[:, 1]]
        far = np.linalg.norm(way, axis=1, keepdims=True) + 1e-9
        push = 0.4 * (0.8 * DIAMETER - far) * way / far
        np.add.at(centre, pairs[:, 0], push)
        np.add.at(centre, pairs[:, 1], -push)
        centre = centre.clip(1, side - 1)
    return centre


def _draw(centre: NDArray[np.float64], size: NDArray[np.float64], side: float) -> NDArray[np.uint32]:
    """Each voxel takes the nearest cell within its radius."""
    shape = (int(np.ceil(side)),) * 3
    far, row = KDTree(centre).query(np.indices(shape).reshape(3, -1).T + 0.5, k=4, distance_upper_bound=DIAMETER / 2)
    ratio = np.where(row < len(centre), far / size[row.clip(max=len(centre) - 1)], np.inf)
    best, voxel = ratio.argmin(axis=1), np.arange(len(far))
    found = np.where(ratio[voxel, best] < DIAMETER / 2, row[voxel, best] + 1, 0)
    return found.astype(np.uint32).reshape(shape)


def edge_f1(links: list[NDArray[np.int64]], tissue: MovingTissue) -> float:
    """F1 of links (rows of parents and daughters) against the true ones."""
    right = found = true = 0
    for joined, parents in zip(links, tissue.parents[1:], strict=True):
        right += int(np.count_nonzero(parents[joined[:, 1]] == joined[:, 0]))
        found, true = found + len(joined), true + len(parents)
    return 2 * right / (found + true)
