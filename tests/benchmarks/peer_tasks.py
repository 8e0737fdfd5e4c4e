"""One task of one other program: ``PYTHON tests/benchmarks/peer_tasks.py TASK FOLDER``.

`tests.benchmarks.peers` starts this file with the Python of the other program, so it imports nothing of bigcp3d. It
reads ``maps.npy`` (int8: foreground, flow z, y, x, times 127) and ``cells.npy`` (labels) in FOLDER, writes the labels
that were found as ``TASK.npy``, and prints one line of JSON: seconds, processor seconds, and the memory that the task
added.
"""

from __future__ import annotations

import importlib
import itertools
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

BLOCK = (48, 96, 96)
OVERLAP = 24
"""Voxels that a tile sees beyond its border: a diameter of a cell."""


def number_cells(tile: Any) -> Any:
    """A perfect segmentation of a tile: its true cells, with ids of the tile's own."""
    ids, inverse = np.unique(tile, return_inverse=True)
    numbers = np.arange(len(ids)) + (ids[0] != 0)
    return numbers[inverse].reshape(tile.shape).astype(np.uint32)


def dask_image(folder: Path) -> Any:
    """Connected components of the foreground, on blocks."""
    import dask.array
    from dask_image.ndmeasure import label

    mask = dask.array.from_array(np.load(folder / "maps.npy", mmap_mode="r")[0] >= 64, chunks=BLOCK)
    labels, _ = label(mask)
    return labels.compute(scheduler="threads", num_workers=2)


def bioimage_py(folder: Path) -> Any:
    """The same."""
    from bioimage_py.segmentation import label

    mask = np.load(folder / "maps.npy", mmap_mode="r")[0] >= 64
    return label(mask.astype(np.uint8), block_shape=BLOCK, num_workers=2)


def patchworks_touch(folder: Path, how: str = "touch") -> Any:
    """Join cells of tiles whose faces touch."""
    import dask.array
    from patchworks import tile_process

    cells = dask.array.from_array(np.load(folder / "cells.npy", mmap_mode="r"), chunks=BLOCK)
    with tempfile.TemporaryDirectory() as place:
        settings: dict[str, Any] = {"tile_shape": BLOCK, "overlap": OVERLAP, "max_workers": 2, "progress": False}
        found = tile_process(cells, number_cells, stitch=how, write_to=f"{place}/out.zarr", stage_dir=place, **settings)
        return np.asarray(found)


def patchworks_iou(folder: Path) -> Any:
    """Join cells of tiles whose masks agree in the overlap."""
    return patchworks_touch(folder, "iou")


def ngio(folder: Path) -> Any:
    """The same, by ngio."""
    from ngio import create_ome_zarr_from_array
    from ngio.iterators import SegmentationIterator, StitchConfig, ThreadedMapper

    with tempfile.TemporaryDirectory() as place:
        image = create_ome_zarr_from_array(f"{place}/image.zarr", np.load(folder / "cells.npy"), 1.0, levels=1)
        label = image.derive_label("cells")
        tiles = SegmentationIterator(image.get_image(), label)
        sides, halo = ({f"{word}{axis}": n for axis, n in zip("zyx", numbers, strict=True)} for word, numbers in (("size_", BLOCK), ("", (OVERLAP,) * 3)))  # noqa: E501 # fmt: skip
        tiles = tiles.by_grid(**sides).with_halo(**halo).with_stitch(StitchConfig())
        tiles.map(lambda tile: number_cells(tile), mapper=ThreadedMapper(max_workers=2))
        return label.get_as_numpy()


def cellpose(folder: Path, box: tuple[slice, ...] = (slice(None),) * 3) -> Any:
    """Cellpose's step from flows to labels, on the whole volume; its network predicts five times our flow."""
    import torch
    from cellpose.dynamics import compute_masks

    torch.set_num_threads(2)
    maps = np.load(folder / "maps.npy", mmap_mode="r")[(slice(None), *box)]
    flow, inside = maps[1:].astype(np.float32) * (5 / 127), maps[0].astype(np.float32) / 127
    return compute_masks(flow, inside, niter=200, cellprob_threshold=0.5, do_3D=True)


def cellpose_blocks(folder: Path) -> Any:
    """The same on overlapping blocks, joined as its distributed mode does."""
    import cellpose.contrib.distributed_segmentation as theirs

    shape = np.load(folder / "cells.npy", mmap_mode="r").shape
    indices = list(blocks(shape))
    number, faces, used = theirs.get_nblocks(shape, BLOCK), [], []
    labels = np.zeros(shape, np.uint32)
    for index in indices:
        core = [(i * b, min((i + 1) * b, s)) for i, b, s in zip(index, BLOCK, shape, strict=True)]
        seen = tuple(slice(max(0, a - OVERLAP), min(b + OVERLAP, s)) for (a, b), s in zip(core, shape, strict=True))
        inside = tuple(slice(a - s.start, b - s.start) for (a, b), s in zip(core, seen, strict=True))
        found, ids = theirs.global_segment_ids(cellpose(folder, seen)[inside].astype(np.uint32), index, number)
        labels[tuple(slice(*ends) for ends in core)] = found
        faces.append(theirs.block_faces(found))
        used.append(ids)
    return theirs.determine_merge_relabeling(indices, faces, np.concatenate(used))[labels]


def biapy(folder: Path) -> Any:
    """BiaPy's step from flows to labels, on the whole volume."""
    from biapy.data.post_processing.gradient_tracking import cellpose_flows_to_instances

    maps = np.moveaxis(np.load(folder / "maps.npy").astype(np.float32) / 127, 0, -1)
    return cellpose_flows_to_instances(maps, ["F", "Gz", "Gv", "Gh"], fg_channel="F", diameter=21.0, diam_mean=21.0)


def blocks(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Indices of the blocks of a volume."""
    return itertools.product(*(range(-(-s // b)) for s, b in zip(shape, BLOCK, strict=True)))


IMPORTS = {
    "dask_image": ("dask.array", "dask_image.ndmeasure"),
    "bioimage_py": ("bioimage_py.segmentation",),
    "patchworks_touch": ("dask.array", "patchworks"),
    "patchworks_iou": ("dask.array", "patchworks"),
    "ngio": ("ngio.iterators",),
    "cellpose": ("cellpose.dynamics",),
    "cellpose_blocks": ("cellpose.contrib.distributed_segmentation",),
    "biapy": ("biapy.data.post_processing.gradient_tracking",),
}
"""What a task imports; this is not timed."""

TASKS: tuple[Callable[[Path], Any], ...] = (
    *(dask_image, bioimage_py, patchworks_touch, patchworks_iou, ngio),
    *(cellpose, cellpose_blocks, biapy),
)


def _spent() -> tuple[float, int]:
    """Processor seconds, and the largest memory in bytes, of this process and those that it started."""
    each = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in each), 1024 * max(one.ru_maxrss for one in each)


def main(name: str, folder: Path) -> None:
    """Run one task."""
    task = next(task for task in TASKS if task.__name__ == name)
    for module in IMPORTS[name]:
        importlib.import_module(module)
    begun, (cpu, memory) = time.perf_counter(), _spent()
    labels = task(folder)
    wall, (more_cpu, more) = time.perf_counter() - begun, _spent()
    np.save(folder / f"{name}.npy", np.asarray(labels))
    print(json.dumps({"wall_s": wall, "cpu_s": more_cpu - cpu, "MiB": (more - memory) / 2**20}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
