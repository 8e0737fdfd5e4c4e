"""Components become cells in any blocks and ranges as in one block and one range: same cells, table, ids and counts."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigcp3d.edge.workdir.records import write_record
from bigcp3d.edge.workdir.tables import read_table, write_table
from bigcp3d.pure.boxes import BlockGrid, Box, Vec3
from bigcp3d.pure.group.cluster import Components, cluster_block
from bigcp3d.pure.group.filters import Filters
from bigcp3d.pure.group.whole_objects import Faces
from bigcp3d.pure.track.sinks import PRODUCTS, Sinks, Sums
from bigcp3d.work.passes.join import first_voxels, join, stitch
from bigcp3d.work.passes.resolve import filter_range, find_ids, gather, resolve
from bigcp3d.work.plan.id_ranges import IdRanges
from bigcp3d.work.run.work_dir import ONCE, WorkDir

SHAPE: Vec3 = (9, 14, 12)
ALL = SHAPE[:2]
"""A bar of all planes and rows: one range."""


def make_sinks(kind: str, seed: int) -> Sinks:
    """End points in a small volume, and sums as whole cells would have: scattered, walls through all of it, or none."""
    rng = np.random.default_rng(seed)
    there = rng.random(SHAPE) < {"none": 0.0, "few": 0.01, "many": 0.08, "walls": 0.02, "full": 0.5}[kind]
    if kind == "walls":
        there[rng.integers(SHAPE[0])] = True
        there[:, rng.integers(SHAPE[1]), :] |= rng.random((SHAPE[0], SHAPE[2])) < 0.9
    voxel = np.argwhere(there)
    rows, sums = len(voxel), Sums.empty(len(voxel))
    sums.count[:], sums.foreground[:] = rng.integers(1, 40, rows), rng.integers(1, 4000, rows)
    sums.first[:] = rng.permutation(np.flatnonzero(np.ones(SHAPE)))[:rows]
    sums.coordinates[:] = voxel * sums.count[:, None]
    for column, (a, b) in enumerate(PRODUCTS):
        sums.products[:, column] = voxel[:, a] * voxel[:, b] * sums.count + (a == b) * rng.integers(0, 9, rows)
    sums.low[:], sums.high[:] = np.maximum(voxel - 1, 0), np.minimum(voxel + 2, SHAPE)
    sums.image_vox[:] = np.where(rng.random(rows) < 0.1, 0, sums.count)
    return Sinks(voxel.astype(np.int32), sums)


def run_of(
    folder: Path, sinks: Sinks, block: Vec3, bar: tuple[int, int], radius: int, filters: Filters
) -> SimpleNamespace:
    """A run whose passes up to `cluster` are done."""
    grid, whole = BlockGrid(SHAPE, block), Box.of_shape(SHAPE)
    plan = SimpleNamespace(
        grid=grid,
        shape=SHAPE,
        filters=filters,
        scope=SimpleNamespace(clustered=whole, tracked=whole, wanted=whole),
        id_ranges=IdRanges(BlockGrid(SHAPE, (*bar, SHAPE[2])), (0, 0, 0), SHAPE),
        stitches=bar != SHAPE[:2],
        checks_flow=False,
        where=SimpleNamespace(roi=None),
        voxel=(1.0, 1.0, 1.0),
        label_grid=lambda level: grid,
    )
    work = WorkDir(folder)
    run = SimpleNamespace(
        plan=plan,
        dir=work,
        read_table=lambda kind, time, index: read_table(work.table(kind, time, index)),
    )
    for index in grid:
        core = grid.core(index)
        components = cluster_block(sinks.within(core.grow(2 * radius)), core, radius=radius)
        write_table(work.table("components", 0, index), **components.arrays())
        write_table(work.table("faces", 0, index), **Faces.of(components).arrays())
    return run


def cells_of(run: SimpleNamespace) -> tuple[dict, dict[str, np.ndarray], dict[tuple, int]]:
    """What `resolve` returns, the table of cells, and the id of each end point."""
    records, parts = run.dir.records(0), [(part, 0, 0) for part in range(run.plan.id_ranges.number)]
    if run.plan.stitches:
        tasks = [("stitch", stitch, list(run.plan.grid)), ("join", join, [ONCE]), ("gather", gather, [ONCE])]
        for name, task, indices in [*tasks, ("filter", filter_range, parts)]:
            for index in indices:
                write_record(records, name, index, task(run, 0, index))
    found = resolve(run, 0, ONCE)
    tables = [read_table(path) for path in run.dir.all_objects(0)]
    columns = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    columns = {name: column[np.argsort(columns["first"])] for name, column in columns.items()}
    ids = {}
    blocks = list(run.plan.grid)
    components = [Components.from_arrays(run.read_table("components", 0, index)) for index in blocks]
    for each, (first, _) in zip(components, first_voxels(run, 0, blocks, list(map(len, components))), strict=True):
        number = find_ids(run, 0, first)[each.sink_component - 1]
        ids |= dict(zip(map(tuple, each.sink_voxel.tolist()), number.tolist(), strict=True))
    return found, columns, ids


@settings(max_examples=4, deadline=None, derandomize=True)
@given(
    st.sampled_from(["none", "few", "many", "walls", "full"]),
    st.integers(0, 2**16),
    st.tuples(st.integers(3, 9), st.integers(5, 14), st.integers(5, 12)),
    st.tuples(st.integers(1, 9), st.integers(1, 13)),
    st.integers(0, 1),
    st.sampled_from([Filters(), Filters(min_volume_vox=25, min_foreground=0.4)]),
)
def test_cells_do_not_depend_on_blocks_and_ranges(kind, seed, block, bar, radius, filters):
    sinks = make_sinks(kind, seed)
    with TemporaryDirectory() as folder:
        found, columns, ids = cells_of(run_of(Path(folder) / "one", sinks, SHAPE, ALL, radius, filters))
        for each, name in ((bar, "many"), (ALL, "blocks")):
            again, rows, numbers = cells_of(run_of(Path(folder) / name, sinks, block, each, radius, filters))
            assert again == found
            assert numbers == ids
            assert all(np.array_equal(rows[column], columns[column]) for column in columns)
    assert found["cells"] == len(columns["first"]) == max(ids.values(), default=0)
    assert np.all(np.diff(columns["first"]) > 0)


def test_control_small_objects_are_whole_and_large_ones_are_left(tmp_path):
    sinks = make_sinks("many", 3)
    run = run_of(tmp_path, sinks, (4, 5, 6), (3, 14), 1, Filters())
    counts = [stitch(run, 0, index) for index in run.plan.grid]
    left, seen = sum(count["left"] for count in counts), sum(count["components"] for count in counts)
    assert 0 < left < seen


@pytest.fixture
def few_files() -> Iterator[None]:
    """This process may open 10 files more than it has open."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = set(map(int, os.listdir("/dev/fd")))
    free = [number for number in range(len(used) + 11) if number not in used]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[10], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("bar", [(5, 14), (2, 2)])
def test_many_blocks_and_ranges_need_few_open_files(tmp_path, few_files, bar):
    sinks = make_sinks("many", 3)
    found, _, _ = cells_of(run_of(tmp_path, sinks, (9, 2, 3), bar, 0, Filters()))
    assert found["cells"] > 30


def test_join_reads_the_tables_of_several_blocks_at_once(tmp_path):
    run, begun, second = run_of(tmp_path, make_sinks("many", 3), (4, 5, 6), ALL, 0, Filters()), [], threading.Event()

    def read(kind, time, index):
        begun.append(index)
        if len(begun) > 1:
            second.set()
        assert second.wait(10), "no other table was read meanwhile"
        return read_table(run.dir.table(kind, time, index))

    run.read_table = read
    assert join(run, 0, ONCE)["components"] > 30
    assert sorted(begun) == list(run.plan.grid)
