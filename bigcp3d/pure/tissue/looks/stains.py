"""Light of stained nuclei and of all that shines beside them: backgrounds, cytoplasm, granules.

Each function gives the light of one thing, (z, y, x), float32, not yet blurred; a plain nucleus has brightness 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bigcp3d.pure.boxes import Vec3, vec3
from bigcp3d.pure.tissue.deform import draw_noise
from bigcp3d.pure.tissue.looks.shapes import Objects

Float32 = NDArray[np.float32]


def draw_levels(rng: np.random.Generator, number: int, spread: float) -> Float32:
    """Brightness of each object, (number + 1,), its logarithm normal with a ``spread``; row 0 is 0, for background."""
    levels = np.exp(rng.normal(0, spread, number + 1)).astype(np.float32)
    levels[0] = 0
    return levels


def stain_chromatin(objects: Objects, rng: np.random.Generator, diameter_vox: float) -> Float32:
    """Nuclei with chromatin: fine texture, and in some samples dark nucleoli, bright spots or a bright rim."""
    shape = vec3(objects.labels.shape)
    levels = draw_levels(rng, len(objects.level), float(rng.uniform(0, 0.6)))
    levels[1:] *= objects.level
    light = levels[objects.labels]
    fine = draw_noise(rng, shape, float(rng.uniform(0.1, 0.45) * diameter_vox))
    light = light * (1 + np.float32(rng.uniform(0, 0.8)) * fine)
    if rng.random() < 0.3:  # nucleoli
        spots = draw_noise(rng, shape, float(rng.uniform(0.2, 0.45) * diameter_vox))
        hollow = np.clip((spots - 0.25) / 0.15, 0, 1) * (objects.depth < 0.75)
        light = light * (1 - np.float32(rng.uniform(0.3, 0.95)) * hollow)
    if rng.random() < 0.2:  # bright spots, as of a mouse's heterochromatin
        spots = draw_noise(rng, shape, float(rng.uniform(0.12, 0.25) * diameter_vox))
        light = light * (1 + np.float32(rng.uniform(0.5, 2.5)) * np.clip((spots - 0.35) / 0.15, 0, 1))
    if rng.random() < 0.12:  # stain at the envelope, as of lamin
        inner = np.clip((objects.depth - rng.uniform(0.5, 0.8)) / 0.15, 0, 1)
        least = np.float32(rng.uniform(0.05, 0.6))
        light = light * (least + (1 - least) * inner)
    stained: Float32 = np.maximum(light, 0).astype(np.float32, copy=False)
    return stained


def draw_classes(rng: np.random.Generator, shape: Vec3, diameter_vox: float) -> Float32:
    """A background of 2 to 20 random greys, from 0 to 1, in bent regions."""
    field = draw_noise(rng, shape, float(rng.uniform(0.5, 4) * diameter_vox))
    field = field + 0.4 * draw_noise(rng, shape, float(rng.uniform(0.3, 1) * diameter_vox))
    classes = int(rng.integers(2, 21))
    edges = np.quantile(field[::3, ::3, ::3], np.linspace(0, 1, classes + 1)[1:-1])
    return rng.random(classes).astype(np.float32)[np.searchsorted(edges, field)]


def draw_haze(rng: np.random.Generator, shape: Vec3, diameter_vox: float) -> Float32:
    """Smooth light from 0 to 1."""
    field = 0.5 + 0.5 * draw_noise(rng, shape, float(rng.uniform(1, 6) * diameter_vox))
    return np.asarray(field, np.float32)


def draw_granules(rng: np.random.Generator, shape: Vec3, radius_vox: float, share: float) -> Float32:
    """Small bright balls, as of autofluorescence or debris; they fill about the ``share`` of the volume."""
    points = rng.random(shape, np.float32) < share / max(4.2 * radius_vox**3, 1)
    light = points * rng.random(shape, np.float32)
    spread = ndimage.gaussian_filter(light, radius_vox, truncate=3.0)
    return np.asarray(spread * (15.7 * radius_vox**3), np.float32)


def stain_cytoplasm(
    labels: NDArray[np.int32], cells: NDArray[np.int32] | None, rng: np.random.Generator, diameter_vox: float
) -> Float32:
    """Light around nuclei: in the ``cells`` where they are given, else a halo; uneven, and another in each cell."""
    shape = vec3(labels.shape)
    if cells is None:
        inside = ndimage.uniform_filter((labels > 0).astype(np.float32), int(rng.uniform(0.3, 1.2) * diameter_vox) | 1)
        light = np.minimum(3 * inside, 1)
    else:
        light = draw_levels(rng, int(cells.max(initial=0)), 0.3)[cells]
    texture = draw_noise(rng, shape, float(rng.uniform(0.1, 0.6) * diameter_vox))
    uneven: Float32 = light * (1 + np.float32(rng.uniform(0, 0.7)) * texture)
    return np.where(labels > 0, np.float32(0), uneven)


def darken_nuclei(light: Float32, background: Float32, labels: NDArray[np.int32], rng: np.random.Generator) -> Float32:
    """Nuclei that are darker than what surrounds them; ``light`` is theirs, ``background`` adds to the surroundings."""
    around = np.float32(rng.uniform(0.5, 1.0)) + background
    return np.where(labels > 0, np.float32(rng.uniform(0, 0.4)) * light * around, around)
