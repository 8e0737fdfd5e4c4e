"""Time of corrections in 10^9 voxels and 10^6 cells with a table: ``python -m tests.benchmarks.edits``.

Cells are cubes of 10 voxels, at three levels. So that the store is made quickly, voxels are written only where the
corrections are (``--drawn``, cells on each axis); the table has all cells. Time of the processor is given too, since it
says more on a busy machine. Each correction is timed as a user calls it from Python, with its lock, its log and its
files synced; beside it, the time of reading the shards that its cells lie in, which it cannot do without.
Kills at random moments are a test (`tests/schedule/edits/test_kills.py`).
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import bigcp3d
from bigcp3d.edge.cell_tables.label_table import write_label_table
from bigcp3d.edge.image.image import open_labels
from bigcp3d.edge.image.new_image import create_image
from bigcp3d.edge.labels.label_plan import plan_labels
from bigcp3d.edge.labels.labels import create_labels, finish_labels, read_label_box, write_label_box
from bigcp3d.edge.labels.labels_to_update import target_of
from bigcp3d.pure.boxes import BlockGrid, Box
from bigcp3d.work.change_labels import changed_boxes, renew_pyramid

SIDE = 10


def make(path: Path, cells: int, shard: int, drawn: int) -> None:
    """Labels of ``cells`` cubes on each axis, with a pyramid and a table; the first ``drawn`` have voxels."""
    side, pieces = cells * SIDE, {"chunk": (64,) * 3, "shard": (shard,) * 3}
    image = create_image(path, (side,) * 3, "uint8", scale_um=(1.0, 1.0, 1.0), factors=[(2, 2, 2), (2, 2, 2)], **pieces)
    target = plan_labels(image, None, "cells", shard=(shard,) * 3)
    create_labels(target, overwrite=True)
    wanted = Box.of_shape((drawn * SIDE,) * 3)
    for index in (grid := BlockGrid((side,) * 3, target.shard)).touching(wanted):
        core = grid.core(index)
        z, y, x = (np.arange(a, b) for a, b in zip(core.start, core.stop, strict=True))
        ids = (z[:, None, None] // SIDE * cells + y[:, None] // SIDE) * cells + x // SIDE + 1
        gap = (z[:, None, None] % SIDE == 0) | (y[:, None] % SIDE == 0)
        write_label_box(target, 0, core, np.where(gap, 0, ids).astype(target.dtype))
    renew_pyramid(target, changed_boxes(target, wanted))
    finish_labels(target, attributes={"bigcp3d": {"cells": cells**3}})  # as a run notes it
    ids = np.arange(1, cells**3 + 1)
    at = np.stack(np.unravel_index(ids - 1, (cells,) * 3), axis=1) * SIDE
    columns: dict[str, np.ndarray] = {"label": ids.astype(np.uint64), "volume_vox": np.full(len(ids), 810)}
    for k, axis in enumerate("zyx"):
        columns |= {f"box_{axis}_start_vox": at[:, k] + (k < 2), f"box_{axis}_stop_vox": at[:, k] + SIDE}
    columns |= {f"number_{k}": np.zeros(len(ids)) for k in range(20)} | {"neighbours": np.full(len(ids), 2)}
    write_label_table(
        open_labels(path, "cells"), columns | {"touches_border": np.zeros(len(ids), bool)}, {"changes": 0}
    )


def clock(call) -> float:  # type: ignore[no-untyped-def]
    return clock_both(call)[0]


def clock_both(call) -> tuple[float, float]:  # type: ignore[no-untyped-def]
    """Seconds, and seconds of the processor."""
    start, busy = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - start, time.process_time() - busy


def measure(folder: Path, cells: int, shard: int, rounds: int, drawn: int) -> None:
    """Time corrections, and print the median and the longest of each kind."""
    path = folder / "cubes.zarr"
    made_s = clock(lambda: make(path, cells, shard, drawn))
    print(f"made in {made_s:.0f} s: {cells**3:,} cells, {(cells * SIDE) ** 3:,} voxels; {drawn**3:,} cells are drawn")
    edits, rng = bigcp3d.edit(path), random.Random(0)
    target = target_of(open_labels(path, "cells"))
    inner = [rng.sample(range(1, drawn - 1), 3) for _ in range(8 * rounds)]
    taken = iter(dict.fromkeys((z * cells + y) * cells + x // 2 * 2 + 1 for z, y, x in inner))
    real, busy = clock_both(lambda: edits.split(next(taken), parts=2))
    print(f"the first correction, with imports, gives the first new id: {real:.2f} s; processor {busy:.2f} s")
    grid = BlockGrid(target.levels[0].shape, target.shard)
    reading = [clock(lambda index=index: read_label_box(target, 0, grid.core(index))) for index in [*grid][:3]]
    print(f"reading one shard of {target.shard}: {statistics.median(reading):.2f} s")
    gaps, cell = [next(taken) for _ in range(rounds)], np.ones((SIDE - 1,) * 3, "uint8")
    for gap in gaps:
        edits.delete(gap)
    places = (np.unravel_index(gap - 1, (cells,) * 3) for gap in gaps)
    free = iter([[int(p) * SIDE + 1 for p in place] for place in places])
    for name, call in {
        "merge": lambda: edits.merge(a := next(taken), a + 1),
        "split": lambda: edits.split(next(taken), parts=2),
        "delete": lambda: edits.delete(next(taken)),
        "add": lambda: edits.add(cell, at=next(free)),
        "undo": lambda: edits.undo(),
    }.items():
        times = [clock_both(call) for _ in range(rounds)]
        real, busy = (statistics.median(column) for column in zip(*times, strict=True))
        longest = max(real for real, _ in times)
        print(f"{name}: {real:.2f} s (median), {longest:.2f} s (longest of {rounds}); processor {busy:.2f} s (median)")
    print(f"the table with all of it: {clock(lambda: edits.table()):.1f} s")


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=100, help="cells on each axis")
    parser.add_argument("--shard", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--drawn", type=int, default=50, help="cells on each axis that have voxels")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="edits_"))
    try:
        measure(folder, asked.cells, asked.shard, asked.rounds, asked.drawn)
        return 0
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
