"""Paint images of stained nuclei, to train networks on.

What must not matter is drawn from wide ranges: how nuclei differ, their texture, what shines beside them, whether they
are brighter than what surrounds them or (seldom) darker, the optics and the camera.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import vec3
from bigcp3d.pure.optics.picture import draw_blur, draw_picture
from bigcp3d.pure.tissue.looks.shapes import Objects
from bigcp3d.pure.tissue.looks.stains import (
    darken_nuclei,
    draw_classes,
    draw_granules,
    draw_haze,
    stain_chromatin,
    stain_cytoplasm,
)

Float32 = NDArray[np.float32]

DARK = 0.06
"""Share of the images whose nuclei are darker than what surrounds them."""


def draw_background(
    objects: Objects, cells: NDArray[np.int32] | None, rng: np.random.Generator, diameter_vox: float
) -> Float32:
    """Light outside the nuclei, mostly below that of a nucleus: none, haze, random classes, cytoplasm."""
    shape = vec3(objects.labels.shape)
    light = np.zeros(shape, np.float32)
    if rng.random() < 0.35:
        light += np.float32(rng.uniform(0, 0.5)) * draw_haze(rng, shape, diameter_vox)
    if rng.random() < 0.25:
        light += np.float32(rng.uniform(0.05, 0.6)) * draw_classes(rng, shape, diameter_vox)
    if rng.random() < 0.4:
        level = rng.uniform(0.05, 0.6)
        light += np.float32(level) * stain_cytoplasm(objects.labels, cells, rng, diameter_vox)
    return light


def draw_debris(objects: Objects, rng: np.random.Generator, diameter_vox: float) -> Float32:
    """Granules that may be as bright as nuclei, and are no cells."""
    radius = float(rng.uniform(0.5, 0.06 * diameter_vox + 0.6))
    granules = draw_granules(rng, vec3(objects.labels.shape), radius, float(rng.uniform(2e-4, 4e-3)))
    return np.float32(rng.uniform(0.3, 2.0)) * granules


def paint_nuclei(
    objects: Objects,
    rng: np.random.Generator,
    diameter_vox: float,
    clip: tuple[float, float],
    cells: NDArray[np.int32] | None = None,
) -> Float32:
    """Paint an image of nuclei (z, y, x), float32, normalised by a random range and cut to ``clip``.

    ``cells`` are the cells around the nuclei, where they are known; cytoplasm is painted in them.
    """
    background, inside = draw_background(objects, cells, rng, diameter_vox), objects.labels > 0
    nuclei = stain_chromatin(objects, rng, diameter_vox)
    if rng.random() < DARK:
        light = darken_nuclei(nuclei, background, objects.labels, rng)
    else:
        if inside.any():  # dim nuclei stay brighter than most of what surrounds them
            dim, bright = float(np.quantile(nuclei[inside], 0.25)), float(np.quantile(background[::3, ::3, ::3], 0.98))
            background *= np.float32(min(1.0, rng.uniform(0.3, 0.9) * dim / max(bright, 1e-6)))
        through = np.float32(rng.choice([0.0, 1.0]))  # whether background shines through nuclei
        light = nuclei + np.where(inside, through * background, background)
        if rng.random() < 0.15:
            light = light + draw_debris(objects, rng, diameter_vox)
    return draw_picture(light, rng, draw_blur(rng, diameter_vox), clip)
