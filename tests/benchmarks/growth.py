"""Does the cost by voxel stay flat as volumes grow? ``python -m tests.benchmarks.growth``.

- blocks: the passes of a run through Zarr, on 1 to 64 blocks of one size;
- cells: the mask step on one block with 10 to 10,000 cells;
- resolve: joining, summing, filtering and numbering of synthetic components.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.group.filters import Filters
from bigcp3d.pure.group.objects import dense_ids, keep_objects
from bigcp3d.pure.group.stitch import join_components, seam_pairs
from bigcp3d.pure.in_memory import label_maps
from bigcp3d.pure.track.sinks import Sums
from tests.benchmarks.cases import make_case
from tests.benchmarks.report import Row, show, spend, write_json
from tests.benchmarks.through_zarr import run


def blocks(folder: Path, counts: tuple[int, ...], block: Vec3 = (128, 128, 128)) -> list[Row]:
    """The same tissue again and again, so that only the number of blocks grows."""
    piece = make_case(block)[0]
    run(piece, folder / "warm", block)
    rows = []
    for count in counts:
        times = [1, 1, 1]
        for i in range(count.bit_length() - 1):
            times[i % 3] *= 2
        maps = np.tile(piece, (1, *times))
        passes, _ = run(maps, folder / "run", block)
        spent = {row["pass"]: row["cpu_s"] / maps[0].size * 1e9 for row in passes}
        rows.append({"blocks": count, **{f"{name}, ns/voxel": value for name, value in spent.items()}})
    return rows


def cells(counts: tuple[int, ...], shape: Vec3 = (128, 256, 256)) -> list[Row]:
    """One tissue of small cells, of which some are kept: the rest of the volume is empty."""
    maps, truth = make_case(shape, diameter=11.0)
    ids = np.unique(truth[truth > 0])
    order = np.random.default_rng(0).permutation(ids)
    label_maps(maps[:, :32, :32, :32], 5.0)
    rows = []
    for count in counts:
        kept = np.isin(truth, order[:count])
        some = maps.copy()
        some[0] = np.where(kept, some[0], 0)
        labels, spent = spend(lambda some=some: label_maps(some, 5.0, filters=Filters()), 3)  # type: ignore[misc]
        inside = int(np.count_nonzero(some[0] >= 64))
        rows.append(
            {
                "cells": min(count, len(ids)),
                "found": int(labels.max()),
                "ns/voxel": spent["cpu_s"] / truth.size * 1e9,
                "ns/foreground voxel": spent["cpu_s"] / inside * 1e9,
            }
        )
    return rows


def synthetic(n: int) -> tuple[Sums, NDArray[np.int64], Vec3]:
    """Sums of ``n`` components on a lattice, and a face voxel of each, a tenth of which touch the next."""
    rng, per, step = np.random.default_rng(0), int(np.ceil(n ** (1 / 3))), 20
    at = np.stack(np.unravel_index(np.arange(n), (per,) * 3), axis=1) * step
    voxel = at + rng.integers(0, 3, at.shape)
    touching = np.flatnonzero(rng.random(n - 1) < 0.1) + 1
    voxel[touching] = voxel[touching - 1] + [0, 0, 1]
    sums = Sums.empty(n)
    sums.count[:], sums.first[:], sums.image_vox[:] = 5000, rng.permutation(n), 5000
    sums.coordinates[:], sums.low[:], sums.high[:] = at * 5000, at, at + step
    return sums, voxel, (per * step,) * 3


def resolve(counts: tuple[int, ...]) -> list[Row]:
    """What `bigcp3d.work.passes.resolve` does with the components of all blocks, without its files."""
    rows = []
    for n in counts:
        sums, voxel, shape = synthetic(n)
        pairs, a = spend(lambda: seam_pairs(voxel, np.arange(n), shape))  # noqa: B023
        (objects, m), b = spend(lambda: join_components(pairs, n))  # noqa: B023
        total, c = spend(lambda: sums.group(objects, m))  # noqa: B023
        _, d = spend(lambda: dense_ids(total, keep_objects(total, Filters(min_volume_vox=100))[0]))  # noqa: B023
        steps = {"pairs": a, "join": b, "sums": c, "filters and ids": d}
        each = {f"{name}, ns": spent["cpu_s"] / n * 1e9 for name, spent in steps.items()}
        rows.append({"components": n, "objects": m, **each, "all, ns": sum(each.values())})
    return rows


def main(arguments: list[str] | None = None) -> dict[str, list[Row]]:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, nargs="*", default=(1, 8, 64))
    parser.add_argument("--cells", type=int, nargs="*", default=(10, 100, 1000, 10_000))
    parser.add_argument("--components", type=int, nargs="*", default=(10**4, 10**5, 10**6, 10**7))
    parser.add_argument("--json", type=Path, default=None)
    asked = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="growth_"))
    tables: dict[str, list[Row]] = {}
    try:
        if asked.blocks:
            tables["blocks of 128 x 128 x 128, through zarr, one thread"] = blocks(folder, tuple(asked.blocks))
        if asked.cells:
            tables["cells in a block of 128 x 256 x 256, in memory, one thread"] = cells(tuple(asked.cells))
        if asked.components:
            tables["resolve, by component"] = resolve(tuple(asked.components))
    finally:
        shutil.rmtree(folder)
    for title, rows in tables.items():
        print(show(title, rows))
    write_json(asked.json, tables)
    return tables


if __name__ == "__main__":
    main()
