"""From components to ids: time and memory by number of components. ``python -m tests.benchmarks.resolving``.

Synthetic objects lie on a lattice of 20 voxels, a little shifted, so that block borders cut some into two to eight
components. A quarter is too small and is removed. Components are made where a task reads them, and the time for that is
shown apart; all else are the passes of a run, with their files. ``--cells`` are objects along each side of a block.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.workdir.records import write_record
from bigcp3d.edge.workdir.tables import open_rows, read_table, write_table
from bigcp3d.pure.boxes import BlockGrid, Box, Vec3, vec3
from bigcp3d.pure.group.cluster import Components
from bigcp3d.pure.group.filters import Filters
from bigcp3d.pure.group.whole_objects import Faces
from bigcp3d.pure.track.sinks import Sums
from bigcp3d.work.passes.join import first_voxels, join, stitch
from bigcp3d.work.passes.resolve import filter_range, find_ids, gather, resolve
from bigcp3d.work.plan.id_ranges import IdRanges
from bigcp3d.work.run.work_dir import ONCE, WorkDir
from tests.benchmarks.report import Row, show, write_json

STEP, HALF = 20, 2
FILTERS = Filters(min_volume_vox=4000)
spent_making = 0.0
"""Processor seconds of this process for synthetic components."""


def lattice(low: NDArray[np.int64], high: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Centres of the objects of lattice cells from ``low`` to ``high``, shape (n, 3), and their voxels, shape (n,)."""
    at = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"), axis=-1)
    at = at.reshape(-1, 3)
    mixed = (at * [73856093, 19349663, 83492791]).sum(axis=1)
    mixed = (mixed ^ (mixed >> 13)) * 1274126177 & 0x7FFFFFFF
    shift = np.stack([mixed % 19, mixed // 19 % 19, mixed // 361 % 19], axis=1) - 9
    return at * STEP + STEP // 2 + shift, 3000 + mixed // 6859 % 4000


def make_components(grid: BlockGrid, index: Vec3) -> Components:
    """Components of a block, as `cluster` writes them."""
    core, begin = grid.core(index), time.process_time()
    start, stop = np.array(core.start), np.array(core.stop)
    cells = np.array(grid.shape) // STEP
    centre, voxels = lattice(np.maximum(start // STEP - 1, 0), np.minimum(stop // STEP + 1, cells))
    low = np.clip(centre - HALF, start, stop)
    high = np.clip(centre + HALF + 1, start, stop)
    there = np.all(low < high, axis=1)
    low, high, voxels = low[there], high[there], voxels[there]
    part = np.prod(high - low, axis=1)
    sums = Sums.empty(len(low))
    sums.count[:], sums.image_vox[:] = voxels * part // 125, voxels * part // 125
    sums.foreground[:] = 100 * sums.count
    sums.coordinates[:], sums.low[:], sums.high[:] = low * sums.count[:, None], low, high
    sums.products[:, :3] = low * low * sums.count[:, None] + 20 * sums.count[:, None]
    sums.products[:, 3:] = (
        np.stack([low[:, a] * low[:, b] for a, b in ((0, 1), (0, 2), (1, 2))], 1) * sums.count[:, None]
    )
    sums.first[:] = np.ravel_multi_index(tuple(low.T), grid.shape)
    voxel, owner = face_voxels(low, high, start, stop)
    none = np.empty((0, 3), np.int32)
    made = Components(none, np.empty(0, np.int32), voxel.astype(np.int32), owner.astype(np.int32) + 1, sums)
    global spent_making
    spent_making += time.process_time() - begin
    return made


def face_voxels(
    low: NDArray[np.int64], high: NDArray[np.int64], start: NDArray[np.int64], stop: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Voxels of boxes on the border planes of a core, and the box of each."""
    near = np.flatnonzero(np.any((low == start) | (high == stop), axis=1))
    offsets = np.stack(np.meshgrid(*[np.arange(2 * HALF + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    voxel = low[near, None] + offsets
    inside = np.all(voxel < high[near, None], axis=2) & np.any((voxel == start) | (voxel == stop - 1), axis=2)
    return voxel[inside], np.broadcast_to(near[:, None], inside.shape)[inside]


def make_run(folder: Path, side: int, cells: int) -> Any:
    """A run of ``side`` blocks along each axis, whose components are made where they are read."""
    shape = vec3((side * cells * STEP,) * 3)
    grid, whole, work = BlockGrid(shape, vec3((cells * STEP,) * 3)), Box.of_shape(shape), WorkDir(folder)
    plan = SimpleNamespace(
        grid=grid,
        shape=shape,
        filters=FILTERS,
        scope=SimpleNamespace(clustered=whole, tracked=whole, wanted=whole),
        id_ranges=IdRanges.of(whole, shape, (6 / math.pi * STEP**3) ** (1 / 3)),
        checks_flow=False,
        where=SimpleNamespace(roi=None),
        label_grid=lambda level: grid,
    )
    plan.stitches = plan.id_ranges.number > 1

    def read(kind: str, at: int, index: Vec3) -> dict[str, Any]:
        return (
            make_components(grid, index).arrays() if kind == "components" else read_table(work.table(kind, at, index))
        )

    return SimpleNamespace(plan=plan, dir=work, read_table=read)


def faces(run: Any, at: int, index: Vec3) -> dict[str, Any]:
    """What `cluster` writes beside the components."""
    write_table(run.dir.table("faces", at, index), **Faces.of(make_components(run.plan.grid, index)).arrays())
    return {}


def filter_and_remove(run: Any, at: int, index: Vec3) -> dict[str, Any]:
    """The pass, but its table goes at once, as it fills the disk and nobody reads it here."""
    counts = filter_range(run, at, index)
    run.dir.objects(at, index[0]).unlink()
    return counts


def find_all_ids(run: Any, at: int, index: Vec3) -> dict[str, Any]:
    """The ids of all components of a block, as `label` finds them."""
    ((first, _),) = first_voxels(run, at, [index], [len(make_components(run.plan.grid, index))])
    return {"most": int(find_ids(run, at, first).max())}


Work = Callable[[Any, int, Vec3], dict[str, Any]]
WORK: dict[str, Work] = {
    "faces": faces,
    "stitch": stitch,
    "join": join,
    "gather": gather,
    "filter": filter_and_remove,
    "resolve": resolve,
    "find ids": find_all_ids,
}


def perform(folder: Path, side: int, cells: int, name: str, index: Vec3) -> tuple[float, float, float, dict[str, Any]]:
    """Processor seconds of a task, of them for synthetic components, peak MiB of this process, and what it counted."""
    run, begin, making = make_run(folder, side, cells), time.process_time(), spent_making
    counts = WORK[name](run, 0, index)
    spent = time.process_time() - begin
    if name in ("stitch", "filter"):
        write_record(run.dir.records(0), name, index, counts)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return spent, spent_making - making, peak, counts


def tasks(run: Any, share: int) -> Iterator[tuple[str, list[Vec3]]]:
    """The passes and their tasks; ids are found for one of ``share`` blocks."""
    blocks, plan = list(run.plan.grid), run.plan
    if plan.stitches:
        yield "faces", blocks
        yield "stitch", blocks
        yield "join", [ONCE]
        yield "gather", [ONCE]
        yield "filter", [vec3((part, 0, 0)) for part in range(plan.id_ranges.number)]
    yield "resolve", [ONCE]
    yield "find ids", blocks[::share]


def measure(folder: Path, side: int, cells: int, processes: int) -> list[Row]:
    """A row for each pass."""
    run, rows = make_run(folder, side, cells), []
    number, share = (side * cells) ** 3, max(1, side**3 // 64)
    for name, indices in tasks(run, share):
        begin = time.perf_counter()
        with ProcessPoolExecutor(processes) as pool:
            done = list(pool.map(partial(perform, folder, side, cells, name), indices))
        spent, making = sum(each[0] for each in done), sum(each[1] for each in done)
        if name == "resolve":
            print("cells:", done[0][3]["cells"], "removed:", done[0][3]["removed"], flush=True)
        part = share if name == "find ids" else 1
        rows.append(
            {
                "objects": number,
                "pass": name,
                "tasks": len(indices),
                "CPU s": (spent - making) * part,
                "ns/object": (spent - making) * part / number * 1e9,
                "making, s": making * part,
                "wall s": (time.perf_counter() - begin) * part,
                "peak, MiB": max(each[2] for each in done),
            }
        )
        print(show(f"{number:,} objects", rows[-1:]), flush=True)
    check(run, side * cells)
    return rows


def check(run: Any, cells: int) -> None:
    """Refuse ids that are not those of all objects in the order of their first voxels."""
    first = np.concatenate([open_rows(run.dir.rows("first", 0, part)) for part in range(run.plan.id_ranges.number)])
    seen = len(first)
    assert np.array_equal(find_ids(run, 0, np.sort(first)), np.arange(1, seen + 1))
    large = sum(
        int(
            np.count_nonzero(lattice(np.array([z, 0, 0]), np.array([z + 1, cells, cells]))[1] >= FILTERS.min_volume_vox)
        )
        for z in range(cells)
    )
    print(f"{seen:,} cells; {large:,} objects are large enough before the rounding of parts", flush=True)
    assert 0.95 * large <= seen <= large


def main(arguments: list[str] | None = None) -> dict[str, list[Row]]:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, nargs="*", default=(2, 5), help="blocks along each side of a volume")
    parser.add_argument("--cells", type=int, default=40, help="objects along each side of a block")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=Path, default=None, help="where files are written meanwhile")
    parser.add_argument("--json", type=Path, default=None)
    asked = parser.parse_args(arguments)
    rows: list[Row] = []
    for side in asked.blocks:
        folder = Path(tempfile.mkdtemp(prefix="resolving_", dir=asked.folder))
        try:
            rows += measure(folder, side, asked.cells, asked.processes)
        finally:
            shutil.rmtree(folder)
    tables = {"from components to ids": rows}
    for title, each in tables.items():
        print(show(title, each))
    write_json(asked.json, tables)
    return tables


if __name__ == "__main__":
    main()
