"""Volumes to measure on: simulated tissue, its flows with noise, as a network might predict them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.pure.learn.targets import heat_flow, tanh_flow
from bigcp3d.pure.tissue.tissue import render
from bigcp3d.pure.tissue.tissue_settings import Tissue

RADIUS = 10.65
"""Of a ball as large as the cells of `nuclei` on average."""


def noisy_maps(truth: NDArray[np.uint32], flow: NDArray[np.float32], noise: float, seed: int = 0) -> NDArray[np.int8]:
    """Maps whose foreground and flow carry noise, half of it smooth over a voxel, half of it not; weak flow outside."""
    rng = np.random.default_rng(seed)
    inside = truth > 0

    def field() -> NDArray[np.float32]:
        smooth = gaussian_filter(rng.standard_normal(truth.shape, np.float32), 1.0)
        return smooth / smooth.std()

    maps = np.empty((4, *truth.shape), np.int8)
    maps[0] = np.rint(127 * np.clip(0.9 * inside + 0.15 * field(), 0, 1))
    for axis in range(3):
        white = rng.standard_normal(truth.shape, np.float32)
        value = np.where(inside, flow[axis] + noise * (field() + white) / 1.4, 0.05 * white)
        maps[axis + 1] = np.rint(127 * np.clip(value, -1, 1))
    return maps


def make_image(
    shape: Vec3, stain: str = "nuclei", diameter: float = 24.0, seed: int = 0
) -> tuple[NDArray[np.uint16], NDArray[np.uint32]]:
    """Image and truth. 128 x 256 x 256 voxels hold about 350 nuclei, a fifth of the volume."""
    nuclei = {"spacing": 1.2, "empty": 0.27} if stain == "nuclei" else {}
    return render(Tissue(shape=shape, stain=stain, diameter_vox=diameter, seed=seed, **nuclei), Box.of_shape(shape))


def make_case(
    shape: Vec3, stain: str = "nuclei", form: str = "tanh", noise: float = 0.3, diameter: float = 24.0, seed: int = 0
) -> tuple[NDArray[np.int8], NDArray[np.uint32]]:
    """Maps and truth."""
    _, truth = make_image(shape, stain, diameter, seed)
    flow = tanh_flow(truth, diameter / 4) if form == "tanh" else heat_flow(truth)
    return noisy_maps(truth, flow, noise, seed), truth
