"""Cells of five sizes in one volume: ``python -m tests.benchmarks.mixed_sizes membrane``.

Balls of 10 to 40 voxels are packed at random, and each size has about the same share of the volume. Cells with a
stained membrane then grow until they touch, and a third of the tissue is empty. A model is told its own diameter (20
voxels for membranes, 14 for nuclei). The table gives the mean Dice by size, of cells that no border cuts, and the AP at
an IoU of 0.5 of all cells.

Two ways are compared: the defaults, and two diameters. For two diameters the network runs again on an image that is
half as large, which takes an eighth more time. Where the first foreground is weak and the second is strong, the maps of
the second are taken, a voxel at a time. bigcp3d does not offer this, because it gains little, and because it joins
small nuclei.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage
from torch import nn

from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.edge.models.model_families import load_network
from bigcp3d.pure.boxes import Box, Vec3, vec3
from bigcp3d.pure.grid import resample, working_shape
from bigcp3d.pure.group.filters import Filters
from bigcp3d.pure.in_memory import label_maps
from bigcp3d.pure.predict.normalise import estimate_range, normalise_intensity
from bigcp3d.pure.predict.run_network import fix_arithmetic, predict_whole
from bigcp3d.pure.score.matching import number_cells
from bigcp3d.pure.score.metrics import list_cells, score_groups
from bigcp3d.pure.score.overlaps import count_overlaps
from bigcp3d.pure.tissue.tissue import expose_cells
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.pure.track.radius import smallest_volume
from tests.benchmarks.report import Row, show

SIZES = (10, 14, 20, 28, 40)
SHAPE: Vec3 = (112, 176, 176)
EMPTY = 0.3
"""Share of the tissue without cells."""
TISSUES = {
    "membrane": Tissue(SHAPE, 20.0, blur_vox=(2.0, 1.5, 1.5), noise=0.14, inside=0.3, staining=0.5, uneven=0.6),
    "nuclei": Tissue(SHAPE, 14.0, "nuclei", blur_vox=(2.0, 1.2, 1.2), noise=0.3, attenuation=0.5, staining=0.5),
}
"""As in ``examples/benchmark_models.py``."""
WEAK, STRONG, MORE = 90, 110, 8
"""Foregrounds times 127: the second maps are taken where the first are below `WEAK`, and the second at least `STRONG`
and more than `MORE` above the first."""


@njit(cache=True)
def pack(diameters, shape, gap, rng, tries):  # type: ignore[no-untyped-def]
    """Centres and radii of balls at random places, ``gap`` times the sum of two radii apart; float64 (n, 4)."""
    balls, number = np.empty((len(diameters), 4)), 0
    for diameter in diameters:
        for _ in range(tries):
            z, y, x = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(0, shape[2])
            free = True
            for other in range(number):
                c = balls[other]
                apart = (c[3] + diameter / 2) * gap
                if (c[0] - z) ** 2 + (c[1] - y) ** 2 + (c[2] - x) ** 2 < apart * apart:
                    free = False
                    break
            if free:
                balls[number] = z, y, x, diameter / 2
                number += 1
                break
    return balls[:number]


@njit(cache=True)
def nearest_ball(balls, shape):  # type: ignore[no-untyped-def]
    """The ball of the least power distance of each voxel (-1: none near), and this distance over its squared radius."""
    nearest, power = np.full(shape, -1, np.int32), np.full(shape, 1e9, np.float32)
    for n in range(len(balls)):
        z0, y0, x0, radius = balls[n]
        far = 2 * radius + 6
        for z in range(max(0, int(z0 - far)), min(shape[0], int(z0 + far) + 1)):
            for y in range(max(0, int(y0 - far)), min(shape[1], int(y0 + far) + 1)):
                for x in range(max(0, int(x0 - far)), min(shape[2], int(x0 + far) + 1)):
                    value = (z - z0) ** 2 + (y - y0) ** 2 + (x - x0) ** 2 - radius**2
                    if value < power[z, y, x]:
                        power[z, y, x], nearest[z, y, x] = value, n
    for z, y, x in np.ndindex(shape):
        if nearest[z, y, x] >= 0:
            power[z, y, x] = power[z, y, x] / balls[nearest[z, y, x], 3] ** 2 + 1
    return nearest, power


def make_volume(kind: str, seed: int) -> tuple[NDArray[np.uint16], NDArray[np.uint32], NDArray[np.float64]]:
    """Image, true labels, and the diameter of each label."""
    tissue, rng, walls = replace(TISSUES[kind], seed=seed), np.random.default_rng(seed), kind == "membrane"
    share = math.prod(SHAPE) * (1.0 if walls else 0.6) / len(SIZES)
    diameters = np.concatenate([np.full(max(3, int(share / (math.pi / 6 * s**3))), float(s)) for s in SIZES[::-1]])
    balls = pack(diameters, SHAPE, 0.86 if walls else 1.06, rng, 4000 if walls else 600)
    nearest, power = nearest_ball(balls, SHAPE)
    reach = 1.7**2 + 9 / balls[:, 3] ** 2 if walls else np.ones(len(balls))
    field = ndimage.gaussian_filter(rng.standard_normal(np.array(SHAPE) // 4), 8, mode="wrap")
    at = np.minimum(balls[:, :3].astype(int) // 4, np.array(field.shape) - 1)
    alive = field[tuple(at.T)] >= np.quantile(field, EMPTY)
    nearest = np.where((nearest >= 0) & (power < reach[nearest]) & alive[nearest], nearest, -1).astype(np.int32)
    keys = rng.integers(0, 2**63, len(balls)).astype(np.uint64)
    sizes = np.concatenate([[0.0], 2 * balls[:, 3]])
    return light(tissue, nearest, power, keys), (nearest + 1).astype(np.uint32), sizes


def light(
    tissue: Tissue, nearest: NDArray[np.int32], power: NDArray[np.float32], keys: NDArray[np.uint64]
) -> NDArray[np.uint16]:
    """The image of cells, as `bigcp3d.pure.tissue.tissue.render` makes it; those at the border go on beyond it."""
    around = [(n, n) for n in tissue.halo]
    padded = (np.pad(array, around, mode="edge") for array in (nearest, power))
    return expose_cells(tissue, *padded, keys, Box.of_shape(SHAPE))


def predict(image: NDArray[np.float32], network: nn.Module, card: ModelCard, factor: float) -> NDArray[np.int8]:
    """Maps of a normalised image on a grid with ``factor`` image voxels a voxel."""
    shape = working_shape(vec3(image.shape), (factor,) * 3)
    seen = resample(image, Box.of_shape(vec3(image.shape)), Box.of_shape(shape), (factor,) * 3, vec3(image.shape))
    return predict_whole(seen[None], network, patch=card.patch, margin=card.margin, stride=card.stride)


def join_maps(first: NDArray[np.int8], second: NDArray[np.int8]) -> NDArray[np.int8]:
    """The maps of two diameters as one; the second have half the resolution."""
    shape, half = vec3(first.shape[1:]), vec3(second.shape[1:])
    boxes = Box.of_shape(half), Box.of_shape(shape)
    large = np.stack([resample(m.astype(np.float32), *boxes, (0.5,) * 3, half) for m in second])
    take = (first[0] < WEAK) & (large[0] >= STRONG) & (large[0] > first[0] + float(MORE))
    return np.where(take, np.rint(large), first).astype(np.int8)


def score(labels: NDArray[np.uint32], truth: NDArray[np.uint32], sizes: NDArray[np.float64]) -> Row:
    """AP of all cells, and mean Dice by size of the cells that no border cuts."""
    table = number_cells([count_overlaps(labels, truth)])
    cells = list_cells(table)
    cut = np.unique(np.concatenate([truth.take((0, -1), axis).ravel() for axis in range(3)]))
    ids, dice = cells.cell.astype(int), cells.dice
    whole = ~np.isin(ids, cut)
    by_size = {f"{s} voxels": float(dice[whole & (sizes[ids] == s)].mean()) for s in SIZES}
    return {"AP 0.5": score_groups(table, cells, [None])[0].numbers["ap50"], **by_size}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=tuple(TISSUES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3])
    arguments = parser.parse_args()
    fix_arithmetic()
    network, card = load_network(arguments.kind)
    radius = card.diameter_vox / 2
    filters = Filters(min_volume_vox=smallest_volume(radius), min_foreground=card.min_foreground)
    rows: list[Row] = []
    for seed in arguments.seeds:
        image, truth, sizes = make_volume(arguments.kind, seed)
        low, high = estimate_range([image], card.low_percentile, card.high_percentile)
        seen = normalise_intensity(image, low, high, card.clip)
        one = predict(seen, network, card, 1.0)
        two = join_maps(one, predict(seen, network, card, 2.0))
        for way, maps in (("defaults", one), ("two diameters", two)):
            labels = label_maps(maps, radius, filters=filters)
            rows.append({"seed": seed, "way": way, **score(labels, truth, sizes)})
    print(show(f"mean Dice by size, {arguments.kind}", rows))


if __name__ == "__main__":
    main()
