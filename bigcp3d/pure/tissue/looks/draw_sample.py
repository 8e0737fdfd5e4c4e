"""Whole samples drawn at random: image and labels of nuclei or of cells with stained walls, sizes mixed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.learn.targets import dense_labels
from bigcp3d.pure.tissue.looks.paint_nuclei import paint_nuclei
from bigcp3d.pure.tissue.looks.places import Places, draw_places
from bigcp3d.pure.tissue.looks.shapes import Objects, draw_ellipsoids, grow, nuclei_in_cells

Float32 = NDArray[np.float32]
Labels = NDArray[np.int32]

SPREADS = (1.2, 2.0)
"""Largest size of a sample over the middle one: up to a factor of 4 from the smallest cell to the largest."""


def draw_share(rng: np.random.Generator) -> float:
    """Diameter of a nucleus relative to its cell."""
    return float(rng.uniform(0.4, 0.8))


def draw_nuclei(rng: np.random.Generator, shape: Vec3, diameter_vox: float) -> Objects:
    """Nuclei of about that diameter: round, long or flat, apart or in contact, dented, some in mitosis."""
    spread, spacing = float(rng.choice(SPREADS)), float(rng.uniform(0.75, 1.5))
    places = draw_places(rng, shape, diameter_vox, spread=spread, spacing=spacing)
    along = float(rng.choice([1.0, rng.uniform(0.35, 0.8), rng.uniform(1.3, 2.5)], p=(0.5, 0.25, 0.25)))
    mitotic = float(rng.choice([0.0, 0.03, 0.15]))
    bodies = draw_ellipsoids(rng, places, along=along, spread=float(rng.uniform(0.03, 0.25)), mitotic=mitotic)
    dents, bend = float(rng.uniform(0, 0.35)), float(rng.uniform(0, 0.12))
    return grow(rng, shape, bodies, diameter_vox, dents=dents, bend=bend)


def draw_cells(rng: np.random.Generator, shape: Vec3, diameter_vox: float) -> Objects:
    """Cells that meet, of about that diameter and of several sizes; some tissues end inside the sample."""
    spread, full = float(rng.choice(SPREADS)), bool(rng.random() < 0.5)
    places = draw_places(rng, shape, 0.85 * diameter_vox, spread=spread, spacing=0.9, full=full)
    along = float(rng.choice([1.0, rng.uniform(0.4, 0.8), rng.uniform(1.3, 3.0)], p=(0.5, 0.2, 0.3)))
    if along != 1 and rng.random() < 0.5:  # all cells along one direction
        places = Places(places.centre, places.radius, np.broadcast_to(rng.standard_normal(3), places.normal.shape))
    bodies = draw_ellipsoids(rng, places, along=along, spread=float(rng.uniform(0.03, 0.2)))
    limit = 2.2 if full else float(rng.uniform(1.1, 1.8))
    dents, bend = float(rng.uniform(0, 0.2)), float(rng.uniform(0, 0.2))
    return grow(rng, shape, bodies, diameter_vox, dents=dents, bend=bend, limit=limit)


def paint_nuclei_in_cells(
    cells: NDArray[np.integer], share: float, rng: np.random.Generator, diameter_vox: float, clip: tuple[float, float]
) -> tuple[Float32, Labels]:
    """Image and labels of nuclei of ``share`` of the diameter of given cells (z, y, x); cytoplasm fills the cells."""
    dense, ids = dense_labels(cells)
    dents, empty = float(rng.uniform(0, 0.3)), float(rng.choice([0.0, 0.05, 0.3]))
    nuclei = nuclei_in_cells(rng, dense, len(ids), share, dents=dents, empty=empty)
    return paint_nuclei(nuclei, rng, diameter_vox, clip, dense), nuclei.labels
