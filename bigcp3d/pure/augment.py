"""Augmentation: what the network must not mind, drawn at random, on arrays that carry image and labels together.

Geometry first (flips, quarter turns, a border of the volume), since targets are made from labels that have already been
turned: a flow vector is then right by construction. What changes the image alone comes after: coarse z, blur, gamma,
contrast, offset, noise. All randomness comes from the generator given, so a sample is a function of its seed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.patches import reflected
from bigcp3d.pure.targets import dense_labels
from bigcp3d.pure.tissue_fields import gaussian_taps
from bigcp3d.pure.tissue_light import expose, stain_walls

Float32 = NDArray[np.float32]


class Sample(NamedTuple):
    """A piece of a volume to train on.

    Attributes
    ----------
    image : ndarray of float32, shape (z, y, x)
        Normalised.
    labels : ndarray of int32, shape (z, y, x)
        0 is background.
    known : ndarray of bool, shape (z, y, x)
        Where the labels are the truth; elsewhere no loss is taken.
    """

    image: Float32
    labels: NDArray[np.int32]
    known: NDArray[np.bool_]


def turn(sample: Sample, rng: np.random.Generator) -> Sample:
    """Flip each axis or not, and exchange y and x or not; y and x are equally long."""
    flips = tuple(slice(None, None, -1) if rng.random() < 0.5 else slice(None) for _ in range(3))
    order = (0, 2, 1) if rng.random() < 0.5 else (0, 1, 2)
    image, labels, known = sample
    return Sample(
        np.ascontiguousarray(image.transpose(order)[flips]),
        np.ascontiguousarray(labels.transpose(order)[flips]),
        np.ascontiguousarray(known.transpose(order)[flips]),
    )


def cut_border(sample: Sample, rng: np.random.Generator, probability: float = 0.2) -> Sample:
    """Pretend that the volume ends at a plane of the sample: the image is reflected there, as in prediction.

    Cells end at the plane, so their centres lie in the volume; nothing is known beyond it.
    """
    if rng.random() >= probability:
        return sample
    axis = int(rng.integers(3))
    length = sample.image.shape[axis]
    cut = int(rng.integers(length // 5, length // 2))
    index = reflected(-cut, length - cut, length - cut) + cut
    image = np.take(sample.image, index, axis=axis)
    labels, known = sample.labels.copy(), sample.known.copy()
    beyond = tuple(slice(None, cut) if a == axis else slice(None) for a in range(3))
    labels[beyond], known[beyond] = 0, False
    return Sample(image, labels, known)


def coarsen_z(image: Float32, step: int) -> Float32:
    """Average ``step`` planes at a time and interpolate linearly back: the look of a volume with coarse planes."""
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
    """Another microscope's image of the same thing.

    Parameters
    ----------
    image : ndarray of float32, shape (z, y, x)
        Normalised: the volume's low percentile at 0, its high one at 1.
    rng : numpy.random.Generator
    clip : tuple of float
        Lowest and highest value.

    Returns
    -------
    ndarray of float32, shape (z, y, x)
    """
    if rng.random() < 0.35:
        image = coarsen_z(image, int(rng.integers(2, 5)))
    if rng.random() < 0.3:
        image = ndimage.gaussian_filter(image, rng.uniform(0.3, 1.0))
    if rng.random() < 0.5:
        image = np.sign(image) * np.abs(image) ** np.float32(np.exp(rng.uniform(-0.4, 0.4)))
    image = image * np.float32(np.exp(rng.normal(0, 0.2))) + np.float32(rng.normal(0, 0.05))
    if rng.random() < 0.6:
        level = np.float32(np.exp(rng.uniform(np.log(0.01), np.log(0.15))))
        image = image + level * rng.standard_normal(image.shape, np.float32)
    clipped: Float32 = np.clip(image, *clip, dtype=np.float32)
    return clipped


def paint_walls(
    labels: NDArray[np.integer], rng: np.random.Generator, diameter_vox: float, clip: tuple[float, float]
) -> Float32:
    """A membrane image of given cells, by the same optics as `bigcp3d.pure.tissue`, normalised by a random range.

    Parameters
    ----------
    labels : ndarray of integers, shape (z, y, x)
    rng : numpy.random.Generator
    diameter_vox : float
        Sets the length over which staining varies.
    clip : tuple of float

    Returns
    -------
    ndarray of float32, shape (z, y, x)
    """
    dense, ids = dense_labels(labels)
    key, pitch = rng.integers(2**63, dtype=np.uint64), np.full(3, float(diameter_vox))
    keys = rng.integers(2**63, size=len(ids) + 1, dtype=np.uint64)
    blur = rng.uniform(0.4, 1.6)
    sigma = (blur * rng.uniform(1.0, 2.0), blur, blur)
    taps = gaussian_taps(sigma[2])
    wall = np.full(3, 1 / float(taps[len(taps) // 2 : len(taps) // 2 + 2].sum()))
    winner, start = np.pad(dense - 1, 1, mode="edge"), np.zeros(3, np.int64)
    inside, staining, uneven = rng.uniform(0, 0.3), rng.uniform(0.1, 0.6), rng.uniform(0.1, 0.6)
    light = stain_walls(winner, keys, start, pitch, key, wall, inside, staining, uneven)
    light = ndimage.gaussian_filter(light, sigma)
    signal, background = float(np.exp(rng.uniform(np.log(100), np.log(4000)))), rng.uniform(0, 300)
    noise = float(np.exp(rng.uniform(np.log(0.02), np.log(0.25))))
    fade = np.exp(-rng.uniform(0, 0.5) * np.arange(len(light)) / len(light))
    counts = expose(light, fade, start, key, signal, background, noise).astype(np.float32)
    low = background - 0.5 * noise * signal * rng.random()
    normal = (counts - low) / (signal * rng.uniform(0.8, 1.6))
    painted: Float32 = np.clip(normal, *clip, dtype=np.float32)
    return painted


def add_haze(
    image: Float32, labels: NDArray[np.integer], rng: np.random.Generator, clip: tuple[float, float]
) -> Float32:
    """Four times in ten, light and grain outside the cells, as of medium that is brighter than the cells' insides."""
    if rng.random() >= 0.4:
        return image
    outside = ndimage.gaussian_filter((labels == 0).astype(np.float32), rng.uniform(0.5, 2.0))
    level, grain = rng.uniform(0.05, 0.6), rng.uniform(0.0, 0.5)
    light = np.float32(level) * (1 + np.float32(grain) * rng.standard_normal(image.shape, np.float32))
    hazy: Float32 = np.clip(image + outside * light, *clip, dtype=np.float32)
    return hazy


def pure_noise(shape: Vec3, rng: np.random.Generator) -> Float32:
    """An image of nothing: noise of the camera, a little blurred, and light that varies slowly; not normalised."""
    image = rng.standard_normal(shape, np.float32)
    if rng.random() < 0.5:
        image = ndimage.gaussian_filter(image, rng.uniform(0.3, 1.0))
    slow = [np.sin(np.arange(n) * rng.uniform(0, 0.06) + rng.uniform(0, 6)).astype(np.float32) for n in shape]
    strength = np.float32(rng.choice([0.0, 0.5, 2.0])) * image.std()
    varied: Float32 = image + strength * (slow[0][:, None, None] + slow[1][:, None] + slow[2])
    return varied
