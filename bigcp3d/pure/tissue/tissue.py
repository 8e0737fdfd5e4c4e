r"""Render any box of a simulated tissue: an image and its true labels, the same voxels whatever the boxes.

`render` computes a box from a `Tissue` (a frozen description) and the global voxel indices::

      cells -> nearest cell -> stain -> blur -> fade with depth -> camera noise
      \______ box + halo _________/    \_______________ box ________________/

Invariant: a voxel's value does not depend on the box, so many processes can write a tissue of terabytes chunk by chunk
without seams. The tissue has no end: the volume's border cuts cells, as in real stacks.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.tissue.position_hashes import blur_valid, gaussian_taps
from bigcp3d.pure.tissue.tissue_cells import Cells, empty_noise, make_cells
from bigcp3d.pure.tissue.tissue_light import GRAIN_SITES, expose, stain_membranes, stain_nuclei
from bigcp3d.pure.tissue.tissue_nearest_cell import find_nearest_cells, list_candidates
from bigcp3d.pure.tissue.tissue_settings import Tissue, three


@lru_cache(maxsize=64)
def _threshold(tissue: Tissue) -> float:
    """Value of `empty_noise` below which the fraction ``empty`` of the volume lies."""
    if tissue.empty <= 0:
        return -2.0
    axes = [(np.arange(16) + 0.5) / 16 * n / p for n, p in zip(tissue.shape, tissue.pitch, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    values = np.sort(empty_noise(np.uint64(tissue.seed), points))
    return float(values[math.floor(tissue.empty * values.size)]) if tissue.empty < 1 else 2.0


def _cells(tissue: Tissue, box: Box) -> Cells:
    """The cells that can own voxels of a box."""
    low, shape = tissue.sites(box)
    nuclei, irregularity = tissue.stain == "nuclei", tissue.irregularity
    return make_cells(
        low,
        shape,
        tissue.seed,
        jitter=tissue.jitter,
        radius=0.5 / tissue.spacing if nuclei else 0.0,
        variation=(0.4 if nuclei else 0.5) * irregularity,
        elongation=(0.7 if nuclei else 0.5) * irregularity,
        threshold=_threshold(tissue),
    )


def _name(tissue: Tissue, nearest: NDArray[np.int32], cells: Cells) -> NDArray[np.uint32]:
    """Labels: a cell's raster index in the lattice of the whole volume, plus one."""
    origin, counts = tissue.lattice
    first = [a - b for a, b in zip(cells.low, origin, strict=True)]
    z, y, x = (np.arange(n) + f for n, f in zip(cells.bias.shape, first, strict=True))
    ids = ((z[:, None, None] * counts[1] + y[:, None]) * counts[2] + x + 1).astype(np.uint32).ravel()
    return np.where(nearest < 0, np.uint32(0), ids[nearest])


def _light(
    tissue: Tissue,
    nearest: NDArray[np.int32],
    distance: NDArray[np.float32],
    keys: NDArray[np.uint64],
    start: NDArray[np.int64],
    taps: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Light of stained cells before the blur, which has the weights ``taps`` along x."""
    key, pitch, vary = np.uint64(tissue.seed), np.array(tissue.pitch), (tissue.staining, tissue.uneven)
    if tissue.stain == "membrane":
        # a wall two voxels thick gets brightness 1 after the blur; on an axis of coarser scale it would be thinner than
        # that, so it is darker
        peak = float(taps[len(taps) // 2 : len(taps) // 2 + 2].sum())
        face = min(tissue.scale) / np.array(tissue.scale) / peak
        light = stain_membranes(nearest, keys, start, pitch, key, face, tissue.inside, *vary)
    else:
        grain = np.maximum(GRAIN_SITES * np.array(tissue.diameter), 1.0)
        look = (tissue.rim, tissue.texture)
        light = stain_nuclei(nearest, distance, keys, start, pitch, grain, key, *look, *vary)
    return np.asarray(light)


def render(tissue: Tissue, box: Box) -> tuple[NDArray[np.uint16], NDArray[np.uint32]]:
    """Image (uint16) and true labels (uint32) of one box of a tissue, equal to the bit whatever the box.

    Labels are 0 where there is no cell; ids are unique in the tissue, with gaps. Raises `InputError` if the box is
    empty or leaves the tissue. Memory: about 20 bytes a voxel of the box grown by `Tissue.halo`.
    """
    if box.empty or box.clip(tissue.shape) != box:
        raise InputError(
            f"box {box} is asked of a tissue of {tissue.shape} voxels: ask for a box with voxels inside it."
        )
    wide = box.grow(tissue.halo)
    cells = _cells(tissue, wide)
    key, pitch, start = np.uint64(tissue.seed), np.array(tissue.pitch), np.array(wide.start)
    fineness = max(1, min(4, round(min(tissue.pitch) / 4)))
    nearest, distance = np.empty(wide.shape, np.int32), np.empty(wide.shape, np.float32)
    first, candidates = list_candidates(cells, fineness)
    find_nearest_cells(cells, first, candidates, fineness, start, pitch, tissue.warp, key, nearest, distance)
    labels = _name(tissue, nearest[box.slices(wide.start)], cells)
    return expose_cells(tissue, nearest, distance, cells.key.ravel(), box), labels


def expose_cells(
    tissue: Tissue, nearest: NDArray[np.int32], distance: NDArray[np.float32], keys: NDArray[np.uint64], box: Box
) -> NDArray[np.uint16]:
    """Image (uint16) of a box of given cells, with the stain, the optics and the camera of a tissue.

    ``nearest`` is the cell of each voxel of the box grown by `Tissue.halo`, -1 for none, and a row of ``keys``.
    ``distance`` is the squared distance from its centre, in half axes; only nuclei use it.
    """
    z, y, x = (gaussian_taps(sigma) for sigma in three(tissue.blur_vox))
    start = np.array(box.grow(tissue.halo).start)
    light = _light(tissue, nearest, distance, keys, start, x)
    loss = math.log(1 - tissue.attenuation) / max(1, tissue.shape[0] - 1)
    fade = np.array([math.exp(loss * plane) for plane in range(box.start[0], box.stop[0])])
    camera = (np.uint64(tissue.seed), tissue.signal, tissue.background, tissue.noise)
    image: NDArray[np.uint16] = expose(blur_valid(light, (z, y, x)), fade, np.array(box.start), *camera)
    return image
