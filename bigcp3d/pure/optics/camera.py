"""What a camera and a file do to an image: kinds of noise, hot pixels, saturation, few grey levels, gamma.

Each function takes an image (z, y, x), float32, full stain at about 1, and gives a new one of the same shape. Functions
that draw random numbers take a generator. `examples/pictures/looks.py` draws each.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Float32 = NDArray[np.float32]


def add_read_noise(image: Float32, rng: np.random.Generator, level: float | Float32) -> Float32:
    """Normal noise of one strength everywhere, or of a strength for each plane (z, 1, 1)."""
    noisy: Float32 = image + np.asarray(level, np.float32) * rng.standard_normal(image.shape, np.float32)
    return noisy


def add_shot_noise(image: Float32, rng: np.random.Generator, photons: float) -> Float32:
    """Poisson noise of ``photons`` at brightness 1; what is below 0 has none."""
    counts = rng.poisson(np.maximum(image, 0) * np.float32(photons))
    noisy: Float32 = counts.astype(np.float32) / np.float32(photons) + np.minimum(image, 0)
    return noisy


def add_speckle(image: Float32, rng: np.random.Generator, level: float) -> Float32:
    """Noise in proportion to the brightness."""
    speckled: Float32 = image * (1 + np.float32(level) * rng.standard_normal(image.shape, np.float32))
    return speckled


def add_smooth_noise(image: Float32, rng: np.random.Generator, level: float) -> Float32:
    """Noise whose grains are larger than a voxel, as after compression, denoising or resampling."""
    grain = ndimage.gaussian_filter(rng.standard_normal(image.shape, np.float32), (0, 0.7, 0.7), truncate=3.0) * 2
    noisy: Float32 = image + np.float32(level) * grain
    return noisy


def add_fixed_pattern(image: Float32, rng: np.random.Generator, level: float) -> Float32:
    """The pattern of a camera's pixels and rows, the same in every plane."""
    _, height, width = image.shape
    pattern = rng.standard_normal((1, height, width)) + rng.standard_normal((1, height, 1))
    noisy: Float32 = image + np.float32(level) * pattern.astype(np.float32)
    return noisy


def add_hot_pixels(image: Float32, rng: np.random.Generator, share: float, level: float) -> Float32:
    """Bright pixels of a camera, the same in every plane, and half as often single bright voxels."""
    hot = rng.random(image.shape[1:]) < share
    single = rng.random(image.shape, np.float32) < share / 2
    bright = np.float32(level) * rng.random(image.shape[1:], np.float32)
    return np.where(hot | single, np.maximum(image, bright), image)


def saturate(image: Float32, share: float) -> Float32:
    """The brightest ``share`` of the voxels have one value."""
    return np.minimum(image, np.float32(np.quantile(image[::2, ::2, ::2], 1 - share)), dtype=np.float32)


def quantise(image: Float32, levels: float) -> Float32:
    """Whole numbers of ``levels`` a unit, as in an 8-bit file of a dim image."""
    return np.asarray(np.round(image * np.float32(levels)) / levels, np.float32)


def apply_gamma(image: Float32, power: float) -> Float32:
    """A power of the brightness; the sign is kept."""
    bent: Float32 = np.sign(image) * np.abs(image) ** np.float32(power)
    return bent
