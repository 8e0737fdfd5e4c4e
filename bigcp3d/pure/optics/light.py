"""What a microscope's optics do to an image: blur, haze, coarse planes, ringing, deconvolution, shadows.

Each function takes an image (z, y, x), float32, and gives a new one of the same shape. Functions that draw random
numbers take a generator; the others say what they do by their arguments. `examples/pictures/looks.py` draws each.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Float32 = NDArray[np.float32]


def blur(image: Float32, sigma_vox: tuple[float, float, float]) -> Float32:
    """A Gaussian point spread function, sigma for each axis; an axis below 0.2 voxels is left as it is."""
    blurred = image
    for axis, sigma in enumerate(sigma_vox):
        if sigma >= 0.2:
            blurred = ndimage.gaussian_filter1d(blurred, sigma, axis, truncate=3.0)
    return np.asarray(blurred, np.float32)


def _depth(planes: int, *, from_below: bool) -> Float32:
    """The depth of each plane, from 0 at the surface to 1, shape (z, 1, 1)."""
    depth = np.linspace(0, 1, planes, dtype=np.float32)[:, None, None]
    return depth[::-1] if from_below else depth


def blur_with_depth(
    image: Float32,
    sigma_vox: tuple[float, float, float],
    deep_vox: tuple[float, float, float],
    *,
    from_below: bool = False,
) -> Float32:
    """Blur that grows from the first plane (``sigma_vox``) to the last (``deep_vox``); the two are mixed between."""
    share = _depth(len(image), from_below=from_below)
    mixed: Float32 = blur(image, sigma_vox) * (1 - share) + blur(image, deep_vox) * share
    return mixed


def scatter_with_depth(image: Float32, strength: float, *, from_below: bool = False) -> Float32:
    """Light that deep planes lose to a haze around it: up to the share ``strength`` of it, at the deepest plane."""
    share = np.float32(strength) * _depth(len(image), from_below=from_below)
    wide = ndimage.uniform_filter(image, (9, 15, 15))
    hazy: Float32 = image * (1 - share) + wide * share
    return hazy


def add_out_of_focus(image: Float32, strength: float) -> Float32:
    """Light of planes above and below, as of a wide-field microscope."""
    hazy: Float32 = image + np.float32(strength) * ndimage.uniform_filter(image, (15, 9, 9))
    return hazy


def fade(image: Float32, loss: float, *, from_below: bool = False) -> Float32:
    """Light that is lost with depth: the share ``loss`` of it at the deepest plane, evenly in between."""
    kept = np.exp(np.log1p(-np.float32(loss)) * _depth(len(image), from_below=from_below))
    faded: Float32 = image * kept
    return faded


def coarsen_z(image: Float32, step: int, *, thin: bool = False) -> Float32:
    """Planes ``step`` voxels apart, with linear interpolation between them, as if z were coarse.

    A plane is the mean of ``step`` planes, or, if ``thin``, one of them, as of a confocal microscope.
    """
    depth = image.shape[0]
    planes = -(-depth // step)
    if thin:
        coarse = image[[min(k * step + step // 2, depth - 1) for k in range(planes)]]
    else:
        coarse = np.stack([image[k * step : (k + 1) * step].mean(axis=0) for k in range(planes)])
    position = np.clip((np.arange(depth) + 0.5) / step - 0.5, 0, planes - 1)
    low = np.minimum(position.astype(int), max(planes - 2, 0))
    share = (position - low).astype(np.float32)[:, None, None]
    fine: Float32 = coarse[low] * (1 - share) + coarse[np.minimum(low + 1, planes - 1)] * share
    return fine


def ring(image: Float32, kept: float) -> Float32:
    """Gibbs ringing: frequencies above the share ``kept`` of the highest are cut off sharply in y and x."""
    spectrum = np.fft.rfft2(image, axes=(1, 2))
    high = np.abs(np.fft.fftfreq(image.shape[1]))[:, None] > 0.5 * kept
    spectrum[:, high | (np.fft.rfftfreq(image.shape[2]) > 0.5 * kept)] = 0
    return np.asarray(np.fft.irfft2(spectrum, image.shape[1:], axes=(1, 2)), np.float32)


def deconvolve_look(image: Float32, sigma_vox: float, strength: float) -> Float32:
    """As deconvolved: edges overshoot, and what falls below 0 is cut off."""
    sharp = image + np.float32(strength) * (image - blur(image, (sigma_vox,) * 3))
    cut: Float32 = np.maximum(sharp, np.float32(0))
    return cut


def shade(image: Float32, rng: np.random.Generator, strength: float) -> Float32:
    """Uneven lighting: a smooth field, its logarithm up to ``strength``, over the whole image."""
    nodes = rng.uniform(-1, 1, (3, 3, 3)).astype(np.float32)
    zoom = [n / 3 for n in image.shape]
    field = ndimage.zoom(nodes, zoom, order=1, mode="nearest", grid_mode=True)
    shaded: Float32 = image * np.exp(np.float32(strength) * field)
    return shaded


def add_stripes(image: Float32, rng: np.random.Generator, strength: float) -> Float32:
    """Shadows along x, as of a light sheet that meets pigment; 1 to 6 voxels wide, some with another angle a plane."""
    depth, height, _ = image.shape
    width = rng.uniform(0.5, 3.0)
    rows = ndimage.gaussian_filter(rng.standard_normal((depth, height)), (rng.choice([0.0, 1.0, 3.0]), width))
    rows *= strength / max(float(rows.std()), 1e-6)
    striped: Float32 = image * np.exp(np.minimum(rows, 0.3)).astype(np.float32)[:, :, None]
    return striped


def flicker(image: Float32, rng: np.random.Generator, strength: float) -> Float32:
    """Planes of uneven brightness, as of an unsteady lamp."""
    uneven: Float32 = image * np.exp(rng.normal(0, strength, (len(image), 1, 1))).astype(np.float32)
    return uneven


def shift_planes(image: Float32, rng: np.random.Generator, share: float) -> Float32:
    """Some planes lie a voxel to one side, as where the stage or the animal moved."""
    moved = image.copy()
    for z in np.flatnonzero(rng.random(len(image)) < share):
        moved[z] = np.roll(image[z], rng.integers(-1, 2, 2), axis=(0, 1))
    return moved
