"""Does the cost by voxel stay flat as volumes grow? ``python -m tests.benchmarks.growth``.

- blocks: the passes of a run through Zarr, on 1 to 64 blocks of one size;
- cells: the mask step on one block with 10 to 10,000 cells;
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np

from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.group.filters import Filters
from bigcp3d.pure.in_memory import label_maps
from tests.benchmarks.cases import make_case
from tests.benchmarks.report import Row, spend, tell
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


def main(arguments: list[str] | None = None) -> dict[str, list[Row]]:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, nargs="*", default=(1, 8, 64))
    parser.add_argument("--cells", type=int, nargs="*", default=(10, 100, 1000, 10_000))
    parser.add_argument("--json", type=Path, default=None)
    asked = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="growth_"))
    tables: dict[str, list[Row]] = {}
    try:
        if asked.blocks:
            tables["blocks of 128 x 128 x 128, through zarr, one thread"] = blocks(folder, tuple(asked.blocks))
        if asked.cells:
            tables["cells in a block of 128 x 256 x 256, in memory, one thread"] = cells(tuple(asked.cells))
    finally:
        shutil.rmtree(folder)
    tell(tables, asked.json)
    return tables


if __name__ == "__main__":
    main()
