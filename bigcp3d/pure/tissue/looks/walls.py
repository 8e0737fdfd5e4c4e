"""Stained walls of cells, and what else shines in such images: thick, double and dark walls, plastids, nuclei, haze.

Each function is one thing that an image may show. Labels are dense: 0 is no cell, then 1 to n, (z, y, x), int32. Light
is float32 (z, y, x), not yet blurred; a wall has brightness 1 after the blur.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bigcp3d.pure.boxes import vec3
from bigcp3d.pure.optics.picture import log_uniform
from bigcp3d.pure.tissue.deform import draw_noise
from bigcp3d.pure.tissue.looks.shapes import nuclei_in_cells
from bigcp3d.pure.tissue.looks.stains import draw_granules, draw_levels

Float32 = NDArray[np.float32]
Labels = NDArray[np.int32]


def find_borders(dense: Labels) -> NDArray[np.bool_]:
    """Voxels of cells that share a face with another cell, or with none."""
    padded, near = np.pad(dense, 1, mode="edge"), np.zeros(dense.shape, bool)
    middle = slice(1, -1)
    for axis in range(3):
        for beside in (slice(0, -2), slice(2, None)):
            near |= padded[tuple(beside if a == axis else middle for a in range(3))] != dense
    return near & (dense > 0)


def shrink_cells(dense: Labels) -> Labels:
    """Cells without their outermost voxels, so that each has a membrane of its own beside a dark gap."""
    return np.where(find_borders(dense), np.int32(0), dense)


def stain_outer_walls(light: Float32, base: Float32, dense: Labels, rng: np.random.Generator) -> Float32:
    """Walls at the outside that are brighter, as with a cuticle, or dimmer, as a single membrane.

    ``base`` is the light without walls.
    """
    outer = np.float32(log_uniform(rng, 0.2, 2.0))
    surface = find_borders((dense > 0).astype(np.int32))
    return np.where(surface, base + (light - base) * outer, light)


def thicken(light: Float32, rng: np.random.Generator, diameter_vox: float) -> Float32:
    """Walls that are thicker in places, or everywhere."""
    thick = ndimage.maximum_filter(light, footprint=ndimage.generate_binary_structure(3, 1))
    if rng.random() < 0.4:
        return np.asarray(thick, np.float32)
    field = draw_noise(rng, vec3(light.shape), float(rng.uniform(0.4, 2) * diameter_vox))
    return np.where(field > rng.uniform(-0.3, 0.3), thick, light)


def break_walls(light: Float32, base: Float32, rng: np.random.Generator, diameter_vox: float) -> Float32:
    """Stain that is missing in places, where ``base`` is what is left."""
    field = draw_noise(rng, vec3(light.shape), float(rng.uniform(0.25, 1.5) * diameter_vox))
    least, where = rng.uniform(0.05, 0.6), rng.uniform(-0.7, 0.2)
    share = np.clip((field - where) / 0.3 + 0.5, 0, 1) * np.float32(1 - least) + np.float32(least)
    broken: Float32 = base + (light - base) * share
    return broken


def stain_interior(dense: Labels, rng: np.random.Generator, number: int) -> Float32:
    """Cells that are bright inside and have dark borders, as with a stain of the cytoplasm."""
    levels = draw_levels(rng, number, float(rng.uniform(0, 0.3)))
    return np.where(find_borders(dense), np.float32(rng.uniform(0, 0.2)), levels[dense])


def add_cytoplasm(light: Float32, dense: Labels, rng: np.random.Generator, diameter_vox: float) -> Float32:
    """Textured light in all cells, a twentieth to a third as bright as walls."""
    texture = draw_noise(rng, vec3(dense.shape), float(rng.uniform(0.1, 0.4) * diameter_vox))
    level = np.float32(rng.uniform(0.05, 0.35))
    return light + (dense > 0) * level * (np.float32(0.6) + np.float32(0.4) * texture)


def add_vesicles(light: Float32, rng: np.random.Generator) -> Float32:
    """Single bright voxels anywhere, which the blur turns into dots."""
    dots = rng.random(light.shape, np.float32) < log_uniform(rng, 5e-5, 2e-3)
    return light + (dots * np.float32(rng.uniform(1, 8))).astype(np.float32)


def add_plastids(light: Float32, dense: Labels, rng: np.random.Generator, diameter_vox: float) -> Float32:
    """Bright grains inside the cells, a twentieth to a tenth of a cell in radius."""
    radius = float(rng.uniform(0.5, 0.06 * diameter_vox + 0.6))
    grains = draw_granules(rng, vec3(light.shape), radius, float(rng.uniform(0.002, 0.03)))
    return np.asarray(light + rng.uniform(0.3, 1.5) * np.where(dense > 0, grains, np.float32(0)), np.float32)


def add_nuclei(light: Float32, dense: Labels, rng: np.random.Generator, number: int) -> Float32:
    """Bright nuclei in the cells, or dark ones; never below 0."""
    nuclei = nuclei_in_cells(rng, dense, number, float(rng.uniform(0.3, 0.7)), dents=float(rng.uniform(0, 0.25)))
    level = np.float32(rng.choice([rng.uniform(-0.4, 0.0), rng.uniform(0.1, 1.5)], p=(0.35, 0.65)))
    levels = level * draw_levels(rng, number, 0.2)
    return np.maximum(light + levels[nuclei.labels], 0)


def add_medium(light: Float32, dense: Labels, rng: np.random.Generator, diameter_vox: float) -> Float32:
    """A glowing medium outside the cells, even or in clouds, up to as bright as walls."""
    clouds = draw_noise(rng, vec3(light.shape), float(rng.uniform(0.5, 3) * diameter_vox))
    level = np.float32(rng.uniform(0.05, 1.0)) * (1 + np.float32(rng.uniform(0, 0.8)) * clouds)
    return np.where(dense == 0, light + level, light)
