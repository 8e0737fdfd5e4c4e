"""Intermediates go as soon as nobody reads them and never before; one that has gone is never read as empty."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from bigcp3d.errors import BlockError
from bigcp3d.pure.boxes import Box
from bigcp3d.schedule import segment as segment_module
from bigcp3d.schedule.running import start
from bigcp3d.schedule.running.events import BlockDone
from bigcp3d.schedule.running.start import prepare
from bigcp3d.schedule.running.tasks import count_passes, in_order, label_passes, object_passes
from bigcp3d.work.passes import passes
from bigcp3d.work.plan.plan import Plan
from bigcp3d.work.plan.task_inputs import Inputs
from bigcp3d.work.run import run as run_module
from bigcp3d.work.run.run import Run
from tests.schedule.conftest import ERROR, Case, left, tissue_values, write_image

LONG, LONG_BLOCK = (24, 24, 288), (24, 24, 24)


@pytest.fixture(scope="module")
def long_store(tmp_path_factory) -> str:
    """A volume of 1 x 1 x 12 blocks."""
    path = tmp_path_factory.mktemp("long") / "image.zarr"
    write_image(path, tissue_values(LONG))
    return str(path)


THIN = pytest.mark.parametrize("case", ["thin blocks on another grid"], indirect=True)


def count_left(case: Case, monkeypatch) -> dict[str, Counter[str]]:
    """Files that are left when labels begin, and when they are written; filled by a run."""
    seen = {}
    for moment, name in (("objects", "_create_labels"), ("labels", "finish_labels")):
        function = getattr(segment_module, name)

        def spy(*args, moment=moment, function=function, **more):
            seen[moment] = left(case.work)
            return function(*args, **more)

        monkeypatch.setattr(segment_module, name, spy)
    return seen


def check_left(case: Case, plan: Plan, seen: dict[str, Counter[str]], *, keep: bool) -> None:
    """Sinks are gone when labels begin, and maps that no label needs; all when labels are written."""
    times = len(plan.where.times)
    maps, blocks = len(plan.patch_blocks.grid) * times, len(plan.grid) * times
    gone = {"maps": maps * keep, "sinks": 0, "offsets": 0, "components": 0}
    needed = maps * (keep or plan.resamples)
    assert seen["objects"] == gone | {"maps": needed, "offsets": blocks, "components": blocks}
    assert seen["labels"] == gone
    assert left(case.work)["maps"] == maps * keep


@THIN
def test_maps_stay_that_are_to_be_kept(case, monkeypatch):
    plan, seen = case.plan(), count_left(case, monkeypatch)
    case.segment(keep_maps=True)
    check_left(case, plan, seen, keep=True)


@pytest.mark.parametrize(
    "settings",
    [{}, pytest.param({"keep_maps": True}, marks=pytest.mark.slow), ERROR],
    ids=["plain", "keep maps", "flow error"],
)
def test_a_long_volume_never_holds_all_its_maps_unless_they_are_needed(long_store, random_model, tmp_path, settings):
    case = Case(long_store, random_model, tmp_path, block=LONG_BLOCK, **settings)
    peak: Counter[str] = Counter()

    def watch(event):
        nonlocal peak
        if isinstance(event, BlockDone):
            peak |= left(case.work)

    plan = case.plan()
    assert plan.patch_blocks.grid.counts == plan.grid.counts == (1, 1, 12)
    labels = case.segment(on_event=watch)
    assert peak["sinks"] <= 4
    assert peak["maps"] == 12 if settings else peak["maps"] <= 4
    assert np.array_equal(labels, case.whole())


def test_tasks_read_what_the_geometry_says_and_what_nobody_reads_is_gone(case, monkeypatch):
    found: dict[str, set] = {}
    read, read_table, perform = Run.read, Run.read_table, passes.PASSES.copy()

    def spy_read(run, name, time, box):
        found.setdefault(name, set()).update(run.plan.intermediate_grid(name).touching(box))
        return read(run, name, time, box)

    def spy_table(run, kind, time, index):
        found.setdefault(kind, set()).add(index)
        return read_table(run, kind, time, index)

    def spy(name):
        def task(run, time, index):
            found.clear()
            counts = perform[name](run, time, index)
            assert {kind: sorted(blocks) for kind, blocks in found.items()} == run.inputs.of(name, index)
            return counts

        return task

    monkeypatch.setattr(Run, "read", spy_read)
    monkeypatch.setattr(Run, "read_table", spy_table)
    for name in ("track", "cluster", "check", "label"):
        monkeypatch.setitem(passes.PASSES, name, spy(name))
    plan, seen = case.plan(), count_left(case, monkeypatch)
    case.segment()
    check_left(case, plan, seen, keep=False)


def test_every_task_follows_what_it_waits_for_and_is_counted(case):
    plan, seen, counted = case.plan(), set(), {}
    for task in [*in_order(object_passes(plan)), *in_order(label_passes(plan))]:
        assert seen.issuperset(task.needs)
        assert task.key not in seen
        seen.add(task.key)
        number, voxels = counted.get(task.key[0], (0, 0))
        counted[task.key[0]] = number + 1, voxels + task.voxels
    assert count_passes([*object_passes(plan), *label_passes(plan)]) == counted


@THIN
@pytest.mark.parametrize(("kind", "name"), [("maps", "track"), ("sinks", "cluster"), ("offsets", "label")])
def test_control_a_reader_that_is_left_out_fails_loudly(case, monkeypatch, kind, name):
    readers = Inputs.readers

    def fewer(self, of, block):
        found = list(readers(self, of, block))
        return [reader for reader in found[1:] if reader[0] == name] if of == kind else found

    monkeypatch.setattr(Inputs, "readers", fewer)
    with pytest.raises(BlockError, match=rf"({name}|check) of block[\s\S]*(is gone|No such file)"):
        case.segment()


def test_control_without_looking_the_labels_would_be_wrong(tissue_store, random_model, tmp_path, monkeypatch):
    """What the error above stands for: zarr reads a shard that is gone as zeros."""
    case, readers = Case(tissue_store, random_model, tmp_path), Inputs.readers
    monkeypatch.setattr(Inputs, "readers", lambda self, k, b: list(readers(self, k, b))[k == "maps" :])
    monkeypatch.setattr(run_module, "_missing_shard", lambda array, box: None)
    labels = case.segment()
    monkeypatch.undo()
    assert not np.array_equal(labels, case.whole())


def test_a_shard_of_fill_is_written_and_one_that_goes_while_it_is_read_is_noticed(
    tissue_store, random_model, tmp_path, monkeypatch
):
    plan = Case(tissue_store, random_model, tmp_path).plan()
    run = Run(plan)
    prepare(plan, resumed=False, overwrite=False)
    for name, channels, fill in (("maps", 4, 0), ("offsets", 3, -128)):
        core = plan.intermediate_grid(name).core((0, 0, 0))
        run.write(name, 0, core, np.full((channels, *core.shape), fill, np.int8))
        assert np.all(run.read(name, 0, core) == fill)
        with pytest.raises(FileNotFoundError, match=r"c/0/\d/\d/\d is gone.*same command"):
            run.read(name, 0, Box((0, 0, 0), plan.shape))
        array, path = run.array(name, 0), run.dir.intermediate(name, 0, (0, 0, 0))

        class Going:
            """Loses a shard just before it is read."""

            def __getattr__(self, name, array=array):
                return getattr(array, name)

            def __getitem__(self, box, array=array, path=path):
                path.unlink()
                return array[box]

        going = Going()
        monkeypatch.setattr(run, "array", lambda name, time, going=going: going)
        with pytest.raises(FileNotFoundError, match="is gone"):
            run.read(name, 0, core)
        monkeypatch.undo()


def test_given_maps_are_never_touched(tissue_store, random_model, kept_maps, tmp_path):
    before = {path: path.read_bytes() for path in kept_maps.rglob("*") if path.is_file()}
    labels = Case(tissue_store, random_model, tmp_path, maps=kept_maps, **ERROR).segment()
    assert {path: path.read_bytes() for path in kept_maps.rglob("*") if path.is_file()} == before
    assert labels.any()


def test_what_a_link_in_the_directory_leads_to_stays(tmp_path):
    for name in ("work", "other"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "file").touch()
    (tmp_path / "work" / "link").symlink_to(tmp_path / "other", target_is_directory=True)
    start._remove(tmp_path / "work")
    assert not (tmp_path / "work").exists()
    assert (tmp_path / "other" / "deep" / "file").exists()
