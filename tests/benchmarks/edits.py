"""Time of corrections in 10^9 voxels and 10^6 cells with a table: ``python -m tests.benchmarks.edits``.

Cells are cubes of 10 voxels. Each correction is timed as a user calls it from Python, with its lock, its log and its
files synced; beside it, the time of reading the shards that its cells lie in, which it cannot do without.
``--kills N`` instead kills a process that corrects a small volume N times at random moments, and checks after each that
labels, pyramid, table and log agree.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
import traceback
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
from bigcp3d.work.change_labels import renew_pyramid

SIDE = 10


def make(path: Path, cells: int, shard: int) -> int:
    """Labels of ``cells`` cubes on each axis, with a pyramid and a table; the number of cells."""
    side = cells * SIDE
    image = create_image(path, (side,) * 3, "uint8", scale_um=(1.0, 1.0, 1.0), chunk=(64,) * 3, shard=(shard,) * 3)
    target = plan_labels(image, None, "cells", shard=(shard,) * 3)
    create_labels(target, overwrite=True)
    for index in (grid := BlockGrid((side,) * 3, target.shard)):
        core = grid.core(index)
        z, y, x = (np.arange(a, b) for a, b in zip(core.start, core.stop, strict=True))
        ids = (z[:, None, None] // SIDE * cells + y[:, None] // SIDE) * cells + x // SIDE + 1
        gap = (z[:, None, None] % SIDE == 0) | (y[:, None] % SIDE == 0)
        write_label_box(target, 0, core, np.where(gap, 0, ids).astype(target.dtype))
    renew_pyramid(target, [Box.of_shape(level.shape) for level in target.levels])
    finish_labels(target, attributes={})
    ids = np.arange(1, cells**3 + 1)
    at = np.stack(np.unravel_index(ids - 1, (cells,) * 3), axis=1) * SIDE
    columns: dict[str, np.ndarray] = {"label": ids.astype(np.uint64), "volume_vox": np.full(len(ids), 810)}
    for k, axis in enumerate("zyx"):
        columns |= {f"box_{axis}_start_vox": at[:, k] + (k < 2), f"box_{axis}_stop_vox": at[:, k] + SIDE}
    columns |= {f"number_{k}": np.zeros(len(ids)) for k in range(20)} | {"neighbours": np.full(len(ids), 2)}
    write_label_table(
        open_labels(path, "cells"), columns | {"touches_border": np.zeros(len(ids), bool)}, {"changes": 0}
    )
    return len(ids)


def clock(call) -> float:  # type: ignore[no-untyped-def]
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(folder: Path, cells: int, shard: int, rounds: int) -> None:
    """Time corrections, and print the median and the longest of each kind."""
    path = folder / "cubes.zarr"
    print(
        f"made in {clock(lambda: make(path, cells, shard)):.0f} s: {cells**3:,} cells, {(cells * SIDE) ** 3:,} voxels"
    )
    edits, rng = bigcp3d.edit(path), random.Random(0)
    target = target_of(open_labels(path, "cells"))
    taken = iter(rng.sample(range(1, cells**3, 2), 6 * rounds))
    print(f"the first new id, for which all labels are read: {clock(lambda: edits.split(next(taken), parts=2)):.1f} s")
    grid = BlockGrid(target.levels[0].shape, target.shard)
    reading = [clock(lambda index=index: read_label_box(target, 0, grid.core(index))) for index in [*grid][:3]]
    print(f"reading one shard of {target.shard}: {statistics.median(reading):.2f} s")
    for name, call in {
        "merge": lambda: edits.merge(a := next(taken), a + 1),
        "split": lambda: edits.split(next(taken), parts=2),
        "delete": lambda: edits.delete(next(taken)),
        "undo": lambda: edits.undo(),
    }.items():
        times = [clock(call) for _ in range(rounds)]
        print(f"{name}: {statistics.median(times):.2f} s (median), {max(times):.2f} s (longest of {rounds})")
    print(f"the table with all of it: {clock(lambda: edits.table()):.1f} s")


def kill_rounds(folder: Path, rounds: int) -> int:
    """Kill corrections at random moments; how many left something wrong."""
    from tests.schedule.edits import conftest

    path, rng, wrong, stopped = folder / "balls.zarr", random.Random(1), 0, 0
    conftest.make_balls(path)
    store = conftest.Store(path)
    store.check()
    first = store.levels()
    longest = 0.5
    for _ in range(rounds):
        pid = os.fork()
        if not pid:
            try:
                edits = bigcp3d.edit(path)
                ids = [int(i) for i in np.unique(store.levels()[0]) if i]
                done = [change for change in edits.log() if change.kind != "undo"]
                kind = rng.choice(["merge", "split", "delete", "add", "undo"])
                if kind == "undo" and done:
                    edits.undo()
                elif kind == "merge" and len(ids) > 2:
                    edits.merge(*rng.sample(ids, 2))
                elif kind == "split" and ids:
                    edits.split(rng.choice(ids), parts=2)
                elif kind == "delete" and len(ids) > 3:
                    edits.delete(rng.choice(ids))
                else:
                    edits.add(np.ones((4, 4, 4), bool), at=[rng.randrange(n - 4) for n in conftest.SHAPE])
            except ValueError:
                pass
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        time.sleep(rng.uniform(0, longest))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        rng.random()
        try:
            stopped += bigcp3d.edit(path).settle() is not None
            store.check()
        except Exception:
            traceback.print_exc()
            wrong += 1
    edits = bigcp3d.edit(path)
    left = len([change for change in edits.changes.active() if change.kind != "ids"])
    if left:
        edits.undo(left)
    same = all(np.array_equal(a, b) for a, b in zip(first, store.levels(), strict=True))
    lines = len(edits.log())
    print(f"{rounds} kills, {stopped} in the middle of a change, {lines} lines of the log, {wrong} times wrong; "
          f"after an undo of all, the first labels: {same}")  # fmt: skip
    return wrong + (not same)


def main() -> int:
    """Measure, or kill."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=100, help="cells on each axis")
    parser.add_argument("--shard", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--kills", type=int, default=0)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="edits_"))
    try:
        if asked.kills:
            return kill_rounds(folder, asked.kills)
        measure(folder, asked.cells, asked.shard, asked.rounds)
        return 0
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
