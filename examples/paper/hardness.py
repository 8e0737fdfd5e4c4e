"""How hard are the simulated volumes beside the real ones? Noise and blur of walls, measured alike on both.

    python examples/paper/hardness.py --data ../shared/data

On the common grid (cells of 20 voxels), relative to the contrast between walls and the inside of cells:

- noise: what a Laplacian leaves of white noise (Immerkaer 1996), median over the insides and over the walls
- half width: distance from the true border, in cell diameters, at which the mean light has fallen by half; blur, thick
  walls and an inexact truth all widen it
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from material import read_resampled
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import find_boundaries
from splits import HARD, Volume, membrane

from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.tissue.tissue import render

BINS = np.linspace(0, 0.3, 13)
"""Distances from the border, in cell diameters."""
LAPLACIAN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], float)


def measure_hardness(image: NDArray[np.floating], labels: NDArray[np.integer], diameter_vox: float) -> dict[str, float]:
    """Noise inside cells and on walls over the contrast; half width of walls in cell diameters."""
    wall, inside = find_boundaries(labels, mode="inner"), labels > 0
    distance = ndimage.distance_transform_edt(~wall) / diameter_vox
    light = np.array([
        image[(distance >= a) & (distance < b) & inside].mean() if ((distance >= a) & (distance < b)).any() else np.nan
        for a, b in pairwise(BINS)
    ])  # fmt: skip
    middle = (BINS[1:] + BINS[:-1]) / 2
    kept = ~np.isnan(light)
    light, middle = light[kept], middle[kept]
    contrast = light[0] - light.min()
    level = (light - light.min()) / contrast
    first = int(np.argmax(level < 0.5))
    share = (level[first - 1] - 0.5) / (level[first - 1] - level[first])
    rough = np.abs(np.stack([ndimage.convolve(plane, LAPLACIAN) for plane in image]))
    noise = [1.4826 * np.median(rough[where]) / 6 / contrast for where in (inside & (distance > 0.12), wall)]
    return {
        "noise inside": float(noise[0]),
        "noise on walls": float(noise[1]),
        "half width": float(middle[first - 1] + share * (middle[first] - middle[first - 1])),
    }


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    split = membrane(parser.parse_args(argv).data)
    for volume in [item for fold in split.folds for item in fold.test if isinstance(item, Volume)]:
        labels = open_labels(volume.path, "truth")
        image, truth = read_resampled(open_image(volume.path), labels, volume.diameter_um, split.diameter_vox)
        assert image is not None
        _print(volume.name, measure_hardness(image, truth, split.diameter_vox))
    tissue = replace(HARD, shape=(48, 96, 96), seed=100)
    counts, truth = render(tissue, Box.of_shape(tissue.shape))
    _print("simulated", measure_hardness(counts.astype(np.float32), truth, split.diameter_vox))


def _print(name: str, numbers: dict[str, float]) -> None:
    print(f"{name:10}", "  ".join(f"{key} {value:.3f}" for key, value in numbers.items()))


if __name__ == "__main__":
    main()
