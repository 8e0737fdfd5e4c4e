"""Paint images of stained membranes around given cells, to train networks on.

What must not matter to a network is drawn from wide ranges: how walls vary between cells and along themselves, their
thickness, gaps, outer walls, cytoplasm, nuclei and plastids, dark or bright medium, optics and camera.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bigcp3d.pure.learn.targets import dense_labels
from bigcp3d.pure.optics.picture import draw_blur, draw_picture
from bigcp3d.pure.tissue.looks import walls
from bigcp3d.pure.tissue.position_hashes import gaussian_taps
from bigcp3d.pure.tissue.tissue_light import stain_membranes

Float32 = NDArray[np.float32]

INTERIOR = 0.04
"""Share of the images in which cells are bright inside and have dark borders."""


def paint_membranes(
    labels: NDArray[np.integer], rng: np.random.Generator, diameter_vox: float, clip: tuple[float, float]
) -> Float32:
    """Paint a membrane image of labels (z, y, x), float32, normalised by a random range and cut to ``clip``.

    ``diameter_vox`` sets the length over which staining varies.
    """
    dense, ids = dense_labels(labels)
    sigma = draw_blur(rng, diameter_vox)
    if rng.random() < INTERIOR:
        light = walls.stain_interior(dense, rng, len(ids))
    else:
        light = _add_contents(
            _paint_walls(dense, len(ids), rng, diameter_vox, sigma[2]), dense, len(ids), rng, diameter_vox
        )
    return draw_picture(light, rng, sigma, clip)


def _paint_walls(
    dense: NDArray[np.int32], number: int, rng: np.random.Generator, diameter_vox: float, blur_vox: float
) -> Float32:
    """Walls before the blur, after which their brightness is about 1."""
    pitch = np.full(3, float(diameter_vox))
    key = rng.integers(2**63, dtype=np.uint64)
    keys = rng.integers(2**63, size=number + 1, dtype=np.uint64)
    taps = gaussian_taps(blur_vox)
    wall = np.full(3, 1 / float(taps[len(taps) // 2 : len(taps) // 2 + 2].sum()))
    inside = rng.uniform(0, 0.1) if rng.random() < 0.5 else rng.uniform(0, 0.45)
    staining, uneven = rng.uniform(0.1, 0.85), rng.uniform(0.1, 0.85)
    if diameter_vox > 12 and rng.random() < 0.12:
        dense = walls.shrink_cells(dense)
    nearest = np.pad(dense - 1, 1, mode="edge")
    light = stain_membranes(nearest, keys, np.zeros(3, np.int64), pitch, key, wall, inside, staining, uneven)
    base = np.where(dense > 0, np.float32(inside), np.float32(0))
    if rng.random() < 0.5:
        light = walls.stain_outer_walls(light, base, dense, rng)
    if rng.random() < 0.35:
        light = walls.thicken(light, rng, diameter_vox)
    if rng.random() < 0.5:
        light = walls.break_walls(light, base, rng, diameter_vox)
    stained: Float32 = light.astype(np.float32, copy=False)
    return stained


def _add_contents(
    light: Float32, dense: NDArray[np.int32], number: int, rng: np.random.Generator, diameter_vox: float
) -> Float32:
    """Add textured cytoplasm, nuclei, plastids, vesicles, and a medium that glows."""
    if rng.random() < 0.35:
        light = walls.add_cytoplasm(light, dense, rng, diameter_vox)
    if number and rng.random() < 0.3:
        light = walls.add_nuclei(light, dense, rng, number)
    if rng.random() < 0.15:
        light = walls.add_plastids(light, dense, rng, diameter_vox)
    if rng.random() < 0.2:
        light = walls.add_vesicles(light, rng)
    if rng.random() < 0.25:
        light = walls.add_medium(light, dense, rng, diameter_vox)
    filled: Float32 = light.astype(np.float32, copy=False)
    return filled


def add_background_light(
    image: Float32, labels: NDArray[np.integer], rng: np.random.Generator, clip: tuple[float, float]
) -> Float32:
    """Four times in ten, add light and noise outside the cells, as of bright medium."""
    if rng.random() >= 0.4:
        return image
    outside = ndimage.gaussian_filter((labels == 0).astype(np.float32), rng.uniform(0.5, 2.0))
    level, grain = rng.uniform(0.05, 0.6), rng.uniform(0.0, 0.5)
    light = np.float32(level) * (1 + np.float32(grain) * rng.standard_normal(image.shape, np.float32))
    hazy: Float32 = np.clip(image + outside * light, *clip, dtype=np.float32)
    return hazy
