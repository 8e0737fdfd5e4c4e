"""A microscope and a camera drawn at random: from sharp light to a normalised image, to train networks on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Float3, float3
from bigcp3d.pure.optics import camera
from bigcp3d.pure.optics import light as optics

Float32 = NDArray[np.float32]


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def draw_blur(rng: np.random.Generator, diameter_vox: float) -> Float3:
    """Sigma of a point spread function: a seventieth to a sixth of a cell, 1 to 4 times as much along z."""
    sigma = max(0.3, diameter_vox * (0.015 + 0.15 * float(rng.random()) ** 1.5))
    return sigma * float(rng.choice([rng.uniform(1.0, 2.2), rng.uniform(2.0, 4.0)], p=(0.75, 0.25))), sigma, sigma


def draw_optics(image: Float32, rng: np.random.Generator, sigma: Float3) -> Float32:
    """Blur of ``sigma`` voxels (in some images more of it with depth), haze, fading, shadows."""
    below = bool(rng.random() < 0.5)
    if rng.random() < 0.25:
        deep = float3(s * rng.uniform(1.2, 3.0) for s in sigma)
        image = optics.blur_with_depth(image, sigma, deep, from_below=below)
    else:
        image = optics.blur(image, sigma)
    if rng.random() < 0.15:
        image = optics.scatter_with_depth(image, float(rng.uniform(0.2, 0.8)), from_below=below)
    if rng.random() < 0.6:
        image = optics.fade(image, float(rng.uniform(0, 0.85)), from_below=below)
    if rng.random() < 0.3:
        image = optics.shade(image, rng, float(rng.uniform(0.1, 0.7)))
    return image


def draw_camera(image: Float32, rng: np.random.Generator) -> Float32:
    """Shot noise and read noise of a camera; in some images the gain, and so the noise, grows with depth."""
    if rng.random() < 0.6:
        image = camera.add_shot_noise(image, rng, log_uniform(rng, 4, 800))
    level = log_uniform(rng, 0.005, 0.25)
    if rng.random() < 0.2:
        gain = np.linspace(0, rng.uniform(-2, 2), len(image), dtype=np.float32)
        image = camera.add_read_noise(image, rng, np.float32(level) * np.exp(gain)[:, None, None])
    else:
        image = camera.add_read_noise(image, rng, level)
    if rng.random() < 0.1:
        image = camera.add_fixed_pattern(image, rng, log_uniform(rng, 0.005, 0.08))
    return image


def normalise_at_random(image: Float32, rng: np.random.Generator, clip: tuple[float, float]) -> Float32:
    """Bring an image to the range that percentiles of a whole volume might give it.

    The volume's other parts are unknown. Full stain, at 1, becomes 0.5 to 1.7; an image that is all dim stays dim.
    """
    low, high = np.quantile(image[::2, ::2, ::2], (0.01, 0.995))
    level = high if rng.random() < 0.6 else max(high, 1.0)
    top = max((level - low) * log_uniform(rng, 0.6, 1.8), 0.1)
    normal: Float32 = np.clip((image - np.float32(low)) / np.float32(top), *clip, dtype=np.float32)
    return normal


def draw_picture(image: Float32, rng: np.random.Generator, sigma: Float3, clip: tuple[float, float]) -> Float32:
    """An image (z, y, x) of sharp light (full stain at 1), blurred by ``sigma`` voxels, normalised, cut to ``clip``."""
    image = draw_camera(draw_optics(image, rng, sigma), rng)
    return normalise_at_random(image, rng, clip)
