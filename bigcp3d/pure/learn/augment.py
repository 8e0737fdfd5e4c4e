"""Augmentation: change training samples at random, in ways that must not matter to the network.

Geometry comes first (flips, quarter turns, a border of the volume; `bigcp3d.pure.tissue.deform` does more), since
targets are made from labels that are already turned. Then the image alone changes, as another microscope, camera or
file would change it (`bigcp3d.pure.optics`). All random numbers come from the generator given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.optics import camera
from bigcp3d.pure.optics import light as optics
from bigcp3d.pure.predict.patches import reflected

Float32 = NDArray[np.float32]

SAME = 0.5
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


def cut_border(sample: Sample, rng: np.random.Generator, probability: float = 0.2) -> Sample:
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


def degrade(image: Float32, rng: np.random.Generator, clip: tuple[float, float]) -> Float32:
    """The image (z, y, x) as another microscope would take it; one time in two only its brightness changes.

    ``image`` is float32 with the volume's low percentile at 0 and its high one at 1; ``clip`` is the range of results.
    """
    if rng.random() < SAME:
        shown: Float32 = np.clip(change_contrast(image, rng), *clip, dtype=np.float32)
        return shown
    image = _degrade_light(image, rng)
    if rng.random() < 0.5:
        image = camera.apply_gamma(image, float(np.exp(rng.uniform(-0.5, 0.5))))
    clipped: Float32 = np.clip(_degrade_picture(change_contrast(image, rng), rng), *clip, dtype=np.float32)
    return clipped


def _degrade_light(image: Float32, rng: np.random.Generator) -> Float32:
    """Other optics: each of these in a few images."""
    if rng.random() < 0.15:
        image = optics.add_out_of_focus(image, float(rng.uniform(0.1, 0.6)))
    if rng.random() < 0.35:
        step = int(rng.choice([2, 3, 4, 5, 6, 8], p=(0.25, 0.2, 0.2, 0.2, 0.1, 0.05)))
        image = optics.coarsen_z(image, step, thin=bool(rng.random() < 0.5))
    if rng.random() < 0.3:
        image = optics.blur(image, (float(rng.uniform(0.3, 1.0)),) * 3)
    if rng.random() < 0.08:
        image = optics.deconvolve_look(image, float(rng.uniform(0.8, 2.0)), float(rng.uniform(0.5, 3.0)))
    if rng.random() < 0.05:
        image = optics.ring(image, float(rng.uniform(0.3, 0.8)))
    if rng.random() < 0.1:
        image = optics.flicker(image, rng, 0.1)
    if rng.random() < 0.1:
        image = optics.add_stripes(image, rng, float(rng.uniform(0.05, 0.3)))
    if rng.random() < 0.04:
        image = optics.shift_planes(image, rng, float(rng.uniform(0.05, 0.5)))
    return image


def _degrade_picture(image: Float32, rng: np.random.Generator) -> Float32:
    """Another camera and file: each of these in a few images."""
    if rng.random() < 0.1:
        image = camera.saturate(image, float(rng.uniform(0.005, 0.1)))
    if rng.random() < 0.5:
        level = float(np.exp(rng.uniform(np.log(0.01), np.log(0.2))))
        kinds = (camera.add_read_noise, camera.add_smooth_noise, camera.add_speckle)
        image = kinds[rng.choice(3, p=(0.6, 0.25, 0.15))](image, rng, level)
    if rng.random() < 0.05:
        image = camera.add_hot_pixels(image, rng, float(np.exp(rng.uniform(-9, -5))), float(rng.uniform(0.5, 3)))
    if rng.random() < 0.12:
        image = camera.quantise(image, float(np.exp(rng.uniform(np.log(6), np.log(100)))))
    return image


def change_contrast(image: Float32, rng: np.random.Generator) -> Float32:
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
