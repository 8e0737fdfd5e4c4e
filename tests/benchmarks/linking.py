"""Links of simulated cells that move and divide: how many are right, and how long many cells take.

python -m tests.benchmarks.linking              also LapTrack, if it is installed
python -m tests.benchmarks.linking --cells 10000 100000 1000000
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.lineage.links import PlacedCells, link_cells
from bigcp3d.pure.score.overlaps import Overlaps, between_cells, count_overlaps
from tests.moving_tissue import DIAMETER, MovingTissue, edge_f1, move_tissue

Method = Callable[[MovingTissue], list[NDArray[np.int64]]]
MOTIONS = (0.1, 0.3, 0.5, 0.7)


def place(labels: NDArray[np.uint32]) -> PlacedCells:
    """Cells of an array; all ids from 1 to the largest are there."""
    count = np.bincount(labels.ravel())[1:]
    places = np.indices(labels.shape)
    centre = np.stack([np.bincount(labels.ravel(), axis.ravel())[1:] / np.maximum(count, 1) for axis in places], axis=1)
    return PlacedCells(np.arange(1, len(count) + 1, dtype=np.uint64), centre, np.maximum(count, 1))


def share(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> Overlaps:
    """Overlaps without background."""
    return between_cells(count_overlaps(one, other))


def ours(tissue: MovingTissue) -> list[NDArray[np.int64]]:
    """Links of this package."""
    pairs = zip(tissue.labels, tissue.labels[1:], strict=False)
    return [link_cells(place(a), place(b), share(a, b), diameter=DIAMETER, reach=DIAMETER) for a, b in pairs]


def laptrack(tissue: MovingTissue) -> list[NDArray[np.int64]]:
    """Links of LapTrack, by distance, with splits."""
    from laptrack import LapTrack

    settings = {"metric": "euclidean", "splitting_metric": "euclidean", "gap_closing_cutoff": False}
    tracker = LapTrack(**settings, cutoff=DIAMETER, splitting_cutoff=DIAMETER)
    edges = [sorted(edge) for edge in tracker.predict([place(one).centre for one in tissue.labels]).edges()]
    times = range(len(tissue.labels) - 1)
    return [np.array([(a[1], b[1]) for a, b in edges if a[0] == t], np.int64).reshape(-1, 2) for t in times]


def score() -> None:
    """F1 of links over motion."""
    methods: list[Method] = [ours, *([laptrack] if importlib.util.find_spec("laptrack") else [])]
    print("motion (diameters) | " + " | ".join(f"{one.__name__}: F1 of links, s" for one in methods))
    for motion in MOTIONS:
        tissue, row = move_tissue(500, 4, motion), []
        for method in methods:
            began = time.perf_counter()
            f1 = edge_f1(method(tissue), tissue)
            row.append(f"{f1:.3f}, {time.perf_counter() - began:.2f}")
        print(f"{motion} | " + " | ".join(row), flush=True)


def grow(counts: list[int]) -> None:
    """Time and memory of one pair of time points."""
    for n in counts:
        rng = np.random.default_rng(0)
        side = round(n ** (1 / 3))
        grid = np.indices((side,) * 3).reshape(3, -1).T * DIAMETER * 0.9
        ids, voxels = np.arange(1, len(grid) + 1, dtype=np.uint64), np.full(len(grid), 900)
        one, other = (PlacedCells(ids, grid + rng.normal(0, 1.5, grid.shape), voxels) for _ in range(2))
        began = time.perf_counter()
        links = link_cells(one, other, Overlaps(ids, ids, voxels // 2), diameter=DIAMETER, reach=DIAMETER)
        right = np.count_nonzero(links[:, 0] == links[:, 1]) / len(grid)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"{len(grid):,} cells: {time.perf_counter() - began:.1f} s, {memory:.2f} GiB, {right:.4f} right", flush=True
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="*", default=[])
    arguments = parser.parse_args()
    if arguments.cells:
        grow(arguments.cells)
    else:
        score()


if __name__ == "__main__":
    main()
