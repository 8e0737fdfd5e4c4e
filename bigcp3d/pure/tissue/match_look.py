"""Simulate what an image looks like: brightness, noise, blur and fading are measured on it and set in a tissue.

The same numbers are measured on the image and on a piece of the tissue, and the tissue's settings are moved until they
agree. So they need no model of the cells in the image, which need no labels::

    image  --measure--> contrast, noise, sharpness, fading
    tissue --render, measure--> the same  --> move noise, blur, background, signal --> render again

What counts as sharp depends on the cells too, so ``diameter_vox`` and ``stain`` must be about right.
"""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box, vec3
from bigcp3d.pure.tissue.tissue import render
from bigcp3d.pure.tissue.tissue_settings import RANGES, Tissue, three

log = logging.getLogger(__name__)

ROUNDS = 12
"""Renderings; noise and blur settle to a few percent in about eight."""

PIECE = (48, 128, 128)
"""Largest piece of the tissue that is rendered in each round."""

FEWEST_COUNTS, COUNTS = 50.0, 1000.0
"""An image with less contrast, such as floats from 0 to 1, is scaled to so many counts."""

FEWEST_VOXELS = 8
"""A look is measured in at least so many voxels on each axis."""

BAND = (0.1, 0.3)
"""Frequencies that tell how sharp an image is, in cycles a voxel; above them is mostly noise."""


class Measured(NamedTuple):
    """How an image looks, whatever it shows."""

    low: float
    """Its 2nd percentile, in counts: about the dark."""
    high: float
    """Its 99th percentile."""
    noise: float
    """Spread of a voxel's noise, relative to ``high - low``."""
    sharpness: tuple[float, float]
    """Power in `BAND` relative to that of lower frequencies, without the noise's: along z, and along y and x."""
    fading: float
    """Logarithm of the brightness that is lost from one plane to the next."""


def measure_look(image: NDArray[np.generic]) -> Measured:
    """Measure an image (z, y, x) of at least 8 voxels a side."""
    counts = image.astype(np.float32)
    low, high = (float(v) for v in np.percentile(counts, (2, 99)))
    contrast = max(high - low, 1e-6)
    spectra = [_power(counts / contrast, axis) for axis in range(3)]
    floor = min(float(np.median(power[frequency > 0.42])) for frequency, power in spectra)
    sharpness = []
    for length, (frequency, power) in zip(counts.shape, spectra, strict=True):
        signal = np.maximum(power - floor, 1e-3 * floor + 1e-12)
        lowest = max(BAND[0], 1.5 / length)  # so that even an axis of 8 voxels has a frequency below it
        band = (frequency >= lowest) & (frequency <= BAND[1])
        sharpness.append(float(signal[band].sum() / signal[(frequency > 0) & (frequency < lowest)].sum()))
    along_z, across = sharpness[0], math.sqrt(sharpness[1] * sharpness[2])
    third = max(1, len(counts) // 3)
    first, last = (max(float(np.percentile(part, 98)) - low, 1e-6) for part in (counts[:third], counts[-third:]))
    fading = max(0.0, math.log(first / last) / max(1, len(counts) - third))
    return Measured(low, high, math.sqrt(floor), (along_z, across), fading)


def _power(image: NDArray[np.float32], axis: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Frequencies along an axis, and the mean power of each; white noise of variance v has the power v."""
    length = image.shape[axis]
    window = np.hanning(length + 2)[1:-1].reshape([-1 if a == axis else 1 for a in range(3)])
    flat = (image - image.mean(axis=axis, keepdims=True)) * window
    power = np.square(np.abs(np.fft.rfft(flat, axis=axis))) / np.square(window).sum()
    mean = power.mean(axis=tuple(a for a in range(3) if a != axis), dtype=np.float64)
    return np.fft.rfftfreq(length).astype(np.float64), mean


def match_look(tissue: Tissue, image: NDArray[np.generic]) -> Tissue:
    """The tissue with noise, blur, fading, background and signal set so that it looks like an image (z, y, x).

    The image has the tissue's voxel size. Settings stay in their ranges, so that an extreme image is matched in part.
    An image of little contrast, such as floats from 0 to 1, is scaled to `COUNTS` first. NaN and infinities count as
    the lowest intensity. `InputError` where there is no other.
    """
    image = _as_counts(image)
    wanted = measure_look(image)
    loss = 1 - math.exp(-wanted.fading * max(1, tissue.shape[0] - 1))
    tissue = replace(tissue, attenuation=_within("attenuation", loss))
    shape = vec3(max(n, FEWEST_VOXELS) for n in tissue.shape)  # that a look can be measured in
    size = vec3(min(sides) for sides in zip(PIECE, shape, image.shape, strict=True))
    start = vec3((a - b) // 2 for a, b in zip(shape, size, strict=True))
    for _ in range(ROUNDS):
        found = measure_look(render(replace(tissue, shape=shape), Box.of_shape(size).shift(start))[0])
        gain = (wanted.high - wanted.low) / max(found.high - found.low, 1e-6)
        signal = _within("signal", tissue.signal * gain)
        blur_z, blur = (
            _within("blur_vox", max(sigma, 0.2) * min(max((now / then) ** 0.35, 0.6), 1.6))
            for sigma, now, then in zip(three(tissue.blur_vox)[:2], found.sharpness, wanted.sharpness, strict=True)
        )
        tissue = replace(
            tissue,
            signal=signal,
            background=_within("background", wanted.low - gain * (found.low - tissue.background)),
            noise=_within("noise", max(tissue.noise, 1e-3) * min(max(wanted.noise / max(found.noise, 1e-6), 0.5), 2.0)),
            blur_vox=(blur_z, blur, blur),
        )
    return tissue


def _as_counts(image: NDArray[np.generic]) -> NDArray[np.float32]:
    """The image as finite numbers with enough contrast for a camera's counts."""
    counts = image.astype(np.float32)
    finite = np.isfinite(counts)
    if not finite.any():
        raise InputError("all voxels of the image to match are NaN or infinite; give an image with intensities")
    counts[~finite] = counts[finite].min()
    low, high = (float(v) for v in np.percentile(counts, (2, 99)))
    if not 0 < high - low < FEWEST_COUNTS:
        return counts
    log.info("intensities from %.3g to %.3g are scaled to %g counts, as whole numbers need", low, high, COUNTS)
    dark = float(Tissue.background)
    return (counts - np.float32(low)) * np.float32(COUNTS / (high - low)) + np.float32(dark)


def _within(name: str, value: float) -> float:
    """The value, in the range of a setting."""
    low, high = RANGES[name]
    return min(max(value, low), high)
