"""Augmentation: change training samples at random, in ways that must not matter to the network.

Geometry comes first (flips, quarter turns, a border of the volume; `bigcp3d.pure.tissue.deform` does more), since
targets are made from labels that are already turned. Then the image alone changes: light out of focus, coarse z, blur,
gamma, contrast, offset, shadows, saturation, noise. All random numbers come from the generator given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.predict.patches import reflected

Float32 = NDArray[np.float32]

SAME = 0.25
"""Share of the samples whose image keeps its quality: a network that sees degraded ones alone finds too few cells."""


class Sample(NamedTuple):
    """A piece of a volume to train on."""

    image: Float32
    """Shape (c, z, y, x): normalised, channel by channel."""
    labels: NDArray[np.int32]
    """Shape (z, y, x): 0 is background."""
    known: NDArray[np.bool_]
    """Shape (z, y, x): where the labels are the truth; elsewhere no loss is taken."""

    def each(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Sample:
        """The sample with labels, known voxels and each channel of the image changed alike."""
        return Sample(np.stack([change(channel) for channel in self.image]), change(self.labels), change(self.known))


def turn(sample: Sample, rng: np.random.Generator) -> Sample:
    """Flip each axis or not; exchange y and x or not, if they are equally long."""
    flips = tuple(slice(None, None, -1) if rng.random() < 0.5 else slice(None) for _ in range(3))
    _, height, width = sample.labels.shape
    order = (0, 2, 1) if rng.random() < 0.5 and height == width else (0, 1, 2)
    return sample.each(lambda array: np.ascontiguousarray(array.transpose(order)[flips]))


def cut_border(sample: Sample, rng: np.random.Generator, probability: float = 0.12) -> Sample:
    """Let the volume end inside the sample, with the given probability at each end of each axis.

    The image is reflected there. Cells end at the border, and nothing is known beyond it.
    """
    for axis, length in enumerate(sample.labels.shape):
        low, high = (
            int(rng.integers(length // 5, 9 * length // 20)) if rng.random() < probability else 0 for _ in range(2)
        )
        sample = _cut(sample, axis, low, high) if low or high else sample
    return sample


def _cut(sample: Sample, axis: int, low: int, high: int) -> Sample:
    """Cut ``low`` and ``high`` voxels off the ends of an axis."""
    length = sample.labels.shape[axis]
    image = np.take(sample.image, reflected(-low, length - low, length - low - high) + low, axis=1 + axis)
    labels, known = sample.labels.copy(), sample.known.copy()
    for gone in (slice(None, low), slice(length - high, None)):
        beyond = tuple(gone if a == axis else slice(None) for a in range(3))
        labels[beyond], known[beyond] = 0, False
    return Sample(image, labels, known)


def coarsen_z(image: Float32, step: int) -> Float32:
    """Average ``step`` planes at a time and interpolate linearly back, as if z were coarse."""
    depth = image.shape[0]
    planes = -(-depth // step)
    groups = [image[k * step : (k + 1) * step].mean(axis=0) for k in range(planes)]
    position = np.clip((np.arange(depth) + 0.5) / step - 0.5, 0, planes - 1)
    low = np.minimum(position.astype(int), max(planes - 2, 0))
    share = (position - low).astype(np.float32)[:, None, None]
    coarse = np.stack(groups)
    fine: Float32 = coarse[low] * (1 - share) + coarse[np.minimum(low + 1, planes - 1)] * share
    return fine


def degrade(image: Float32, rng: np.random.Generator, clip: tuple[float, float]) -> Float32:
    """The image (z, y, x) as another microscope would take it; one time in four only its brightness changes.

    ``image`` is float32 with the volume's low percentile at 0 and its high one at 1; ``clip`` is the range of results.
    """
    shape = image.shape
    if rng.random() < SAME:
        shown: Float32 = np.clip(_expose(image, rng), *clip, dtype=np.float32)
        return shown
    if rng.random() < 0.2:  # light from out of focus
        image = image + np.float32(rng.uniform(0.1, 0.6)) * ndimage.uniform_filter(image, (15, 9, 9))
    if rng.random() < 0.35:
        image = coarsen_z(image, int(rng.integers(2, 6)))
    if rng.random() < 0.3:
        image = ndimage.gaussian_filter(image, rng.uniform(0.3, 1.0), truncate=3.0)
    if rng.random() < 0.5:
        image = np.sign(image) * np.abs(image) ** np.float32(np.exp(rng.uniform(-0.5, 0.5)))
    if rng.random() < 0.15:  # planes of uneven brightness, as of a flickering lamp
        image = image * np.exp(rng.normal(0, 0.1, (shape[0], 1, 1))).astype(np.float32)
    if rng.random() < 0.1:  # shadows along an axis, as of a light sheet
        image = image * np.exp(rng.normal(0, 0.1, (shape[0], shape[1], 1))).astype(np.float32)
    image = _expose(image, rng)
    if rng.random() < 0.1:
        image = np.minimum(image, np.float32(np.quantile(image, rng.uniform(0.9, 0.995))))
    if rng.random() < 0.6:
        level = np.float32(np.exp(rng.uniform(np.log(0.01), np.log(0.2))))
        grain = rng.standard_normal(shape, np.float32)
        if rng.random() < 0.25:  # noise that a camera's or a file's compression has smoothed
            grain = ndimage.gaussian_filter(grain, (0, 0.7, 0.7), truncate=3.0) * 2
        image = image + level * grain
    clipped: Float32 = np.clip(image, *clip, dtype=np.float32)
    return clipped


def _expose(image: Float32, rng: np.random.Generator) -> Float32:
    """Change contrast and offset, as another normalisation would."""
    return image * np.float32(np.exp(rng.normal(0, 0.3))) + np.float32(rng.normal(0, 0.06))


def pure_noise(shape: Vec3, rng: np.random.Generator) -> Float32:
    """An image without cells: camera noise, perhaps blurred, and slowly varying light; not normalised."""
    image = rng.standard_normal(shape, np.float32)
    if rng.random() < 0.5:
        image = ndimage.gaussian_filter(image, rng.uniform(0.3, 1.0))
    slow = [np.sin(np.arange(n) * rng.uniform(0, 0.06) + rng.uniform(0, 6)).astype(np.float32) for n in shape]
    strength = np.float32(rng.choice([0.0, 0.5, 2.0])) * image.std()
    varied: Float32 = image + strength * (slow[0][:, None, None] + slow[1][:, None] + slow[2])
    return varied
