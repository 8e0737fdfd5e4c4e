"""Paint images of stained membranes around given cells, to train networks on.

What must not matter to a network is drawn from wide ranges: how walls vary between cells and along themselves, their
thickness, gaps, outer walls, cytoplasm, nuclei and vesicles, dark or bright medium, blur, fading and noise. The optics
are those of `bigcp3d.pure.tissue.tissue`.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

from bigcp3d.pure.boxes import vec3
from bigcp3d.pure.learn.targets import dense_labels, label_centroids
from bigcp3d.pure.tissue.deform import draw_noise
from bigcp3d.pure.tissue.position_hashes import gaussian_taps
from bigcp3d.pure.tissue.tissue_light import expose, stain_membranes

Float32 = NDArray[np.float32]


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _at_surface(dense: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Voxels of cells that share a face with background."""
    outside = np.pad(dense == 0, 1, mode="edge")
    near = np.zeros(dense.shape, bool)
    middle = slice(1, -1)
    for axis in range(3):
        for shifted in (slice(0, -2), slice(2, None)):
            near |= outside[tuple(shifted if a == axis else middle for a in range(3))]
    return near & (dense > 0)


@njit(nogil=True, cache=True)
def _add_balls(light, dense, centre, radius, level):  # type: ignore[no-untyped-def]
    """Add light, such as a nucleus's, to a ball inside each cell; never below 0."""
    for z, y, x in np.ndindex(dense.shape):
        cell = dense[z, y, x]
        if cell > 0:
            d = (z - centre[cell, 0]) ** 2 + (y - centre[cell, 1]) ** 2 + (x - centre[cell, 2]) ** 2
            if d < radius[cell] ** 2:
                light[z, y, x] = max(light[z, y, x] + level[cell], 0.0)


def paint_membranes(
    labels: NDArray[np.integer], rng: np.random.Generator, diameter_vox: float, clip: tuple[float, float]
) -> Float32:
    """Paint a membrane image of labels (z, y, x), float32, normalised by a random range and cut to ``clip``.

    ``diameter_vox`` sets the length over which staining varies.
    """
    dense, ids = dense_labels(labels)
    shape = vec3(dense.shape)
    blur = rng.uniform(0.4, 1.8)
    sigma = (blur * rng.uniform(1.0, 2.2), blur, blur)
    light = _paint_sharp(dense, len(ids), rng, diameter_vox, blur)
    light = _add_contents(light, dense, len(ids), rng, diameter_vox)
    light = ndimage.gaussian_filter(np.maximum(light, 0), sigma, truncate=3.0)
    signal, background = _log_uniform(rng, 100, 4000), rng.uniform(0, 300)
    noise = _log_uniform(rng, 0.02, 0.3)
    fade = np.exp(-rng.uniform(0, 0.8) * np.arange(len(light)) / len(light))
    fade = fade if rng.random() < 0.5 else fade[::-1].copy()
    key = rng.integers(2**63, dtype=np.uint64)
    counts = expose(light, fade, np.zeros(3, np.int64), key, signal, background, noise).astype(np.float32)
    low = background - 0.5 * noise * signal * rng.random()
    normal = (counts - low) / (signal * rng.uniform(0.7, 1.6))
    if rng.random() < 0.15:  # medium as bright as the walls
        outside = 1 - ndimage.gaussian_filter((dense > 0).astype(np.float32), blur)
        level = np.float32(rng.uniform(0.3, 1.0)) * (1 + 0.3 * draw_noise(rng, shape, diameter_vox))
        normal = normal + outside * level
    painted: Float32 = np.clip(normal, *clip, dtype=np.float32)
    return painted


def _paint_sharp(
    dense: NDArray[np.int32], number: int, rng: np.random.Generator, diameter_vox: float, blur: float
) -> Float32:
    """Walls before the blur, after which their brightness is about 1."""
    pitch, shape = np.full(3, float(diameter_vox)), vec3(dense.shape)
    key = rng.integers(2**63, dtype=np.uint64)
    keys = rng.integers(2**63, size=number + 1, dtype=np.uint64)
    taps = gaussian_taps(blur)
    wall = np.full(3, 1 / float(taps[len(taps) // 2 : len(taps) // 2 + 2].sum()))
    inside = rng.uniform(0, 0.1) if rng.random() < 0.5 else rng.uniform(0, 0.45)
    staining, uneven = rng.uniform(0.1, 0.85), rng.uniform(0.1, 0.85)
    nearest = np.pad(dense - 1, 1, mode="edge")
    light = stain_membranes(nearest, keys, np.zeros(3, np.int64), pitch, key, wall, inside, staining, uneven)
    base = np.where(dense > 0, np.float32(inside), np.float32(0))
    if rng.random() < 0.5:  # outer walls: a cuticle, or a single membrane
        outer = np.float32(_log_uniform(rng, 0.2, 2.0))
        light = np.where(_at_surface(dense), base + (light - base) * outer, light)
    if rng.random() < 0.25:
        light = ndimage.maximum_filter(light, footprint=ndimage.generate_binary_structure(3, 1))
    if rng.random() < 0.5:  # stain that is missing in places
        field = draw_noise(rng, shape, float(rng.uniform(0.25, 1.5) * diameter_vox))
        least, where = rng.uniform(0.05, 0.6), rng.uniform(-0.7, 0.2)
        share = np.clip((field - where) / 0.3 + 0.5, 0, 1) * np.float32(1 - least) + np.float32(least)
        light = base + (light - base) * share
    stained: Float32 = light.astype(np.float32, copy=False)
    return stained


def _add_contents(
    light: Float32, dense: NDArray[np.int32], number: int, rng: np.random.Generator, diameter_vox: float
) -> Float32:
    """Add textured cytoplasm, bright or dark nuclei, and vesicles."""
    shape = vec3(dense.shape)
    if rng.random() < 0.35:
        texture = draw_noise(rng, shape, float(rng.uniform(0.1, 0.4) * diameter_vox))
        level = np.float32(rng.uniform(0.05, 0.35))
        light = light + (dense > 0) * level * (np.float32(0.6) + np.float32(0.4) * texture)
    if rng.random() < 0.3:
        count = np.bincount(dense.ravel(), minlength=number + 1)
        radius = 0.62 * np.cbrt(count) * rng.uniform(0.3, 0.65)
        bright = np.full(number + 1, rng.uniform(-0.4, 0.6)) * (rng.random(number + 1) < 0.9)
        middle = label_centroids(dense, number) + rng.normal(0, 0.06 * diameter_vox, (number + 1, 3))
        light = light.astype(np.float32)
        _add_balls(light, dense, middle, radius, bright.astype(np.float32))
    if rng.random() < 0.3:
        dots = rng.random(shape, np.float32) < _log_uniform(rng, 5e-5, 2e-3)
        light = light + (dots * np.float32(rng.uniform(1, 8))).astype(np.float32)
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
