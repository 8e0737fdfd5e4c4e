"""Chunks of the input that are damaged or missing: the block fails by name, or what is lost is background.

What is skipped are stored chunks, so the labels are those of the whole volume without these chunks, for all blocks.
"""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
import zarr

import bigcp3d
from bigcp3d.edge.image import voxels
from bigcp3d.edge.image.new_image import create_image, write_image_box
from bigcp3d.errors import BlockError, InputError, TargetError
from bigcp3d.pure.boxes import BlockGrid, Box
from bigcp3d.pure.grid import working_box, working_shape
from bigcp3d.schedule.running.events import BlockDone, RunFinished, Warned
from bigcp3d.work.passes import normalise_pass, passes
from bigcp3d.work.run import run as run_module
from bigcp3d.work.run import unreadable_input as lost
from bigcp3d.work.run.run import Run
from tests.schedule.conftest import SHAPE, Case, read_labels, tissue_values

CHUNK = (17, 15, 17)
WHOLE = {"block": (99, 99, 99)}


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def scramble(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size))


DAMAGES = [truncate, empty, scramble]


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    """What cannot be read is tried again at once."""
    monkeypatch.setattr(lost, "PAUSE_S", 0.0)


@pytest.fixture(scope="module")
def good_store(tmp_path_factory) -> Path:
    """The tissue of `tissue_store`, in chunks that fit no block."""
    store = tmp_path_factory.mktemp("good") / "image.zarr"
    image = create_image(store, SHAPE, "uint16", scale_um=(1.0, 0.5, 0.5), chunk=CHUNK, shard=CHUNK)
    grid, values = BlockGrid(SHAPE, CHUNK), tissue_values()
    for index in grid:
        write_image_box(image, grid.core(index), values[grid.core(index).slices()])
    return store


@pytest.fixture
def case(good_store, random_model, tmp_path) -> Case:
    """A copy, whose chunks a test may damage."""
    return Case(str(shutil.copytree(good_store, tmp_path / "image.zarr")), random_model, tmp_path)


@pytest.fixture
def whole(tissue_store, random_model, tmp_path) -> np.ndarray:
    """Labels of all chunks."""
    return Case(tissue_store, random_model, tmp_path).whole()


def take_small_sample(patch) -> None:
    one = (BlockGrid(SHAPE, CHUNK).core((0, 1, 0)),)
    patch.setattr(normalise_pass, "sample_boxes", lambda shape, margin=None: one)


@pytest.fixture
def small_sample(monkeypatch):
    """The percentiles come from one chunk, as in a volume that is larger than its sample."""
    take_small_sample(monkeypatch)


@pytest.fixture(scope="module")
def small_sample_whole(good_store, random_model, tmp_path_factory) -> np.ndarray:
    """Labels of all chunks with the percentiles of `small_sample`."""
    with pytest.MonkeyPatch.context() as patch:
        take_small_sample(patch)
        return Case(str(good_store), random_model, tmp_path_factory.mktemp("whole")).segment(**WHOLE)


def chunk(case: Case, index=(1, 2, 1)) -> Path:
    return Path(case.store) / "0" / "c" / "/".join(map(str, index))


def chunk_box(index=(1, 2, 1)) -> tuple[slice, ...]:
    return BlockGrid(SHAPE, CHUNK).core(index).slices()


def test_a_damaged_chunk_fails_its_blocks_by_name_and_all_else_is_finished(small_sample, small_sample_whole, case):
    last = chunk(case, (1, 3, 2))
    good = last.read_bytes()
    for damage in DAMAGES[::2]:
        damage(last)
        with pytest.raises(BlockError, match=r"predict of block \(1, 1, 1\).*image.zarr/0: voxels cannot") as failed:
            case.segment()
        assert failed.value.exit_code == 4
        assert failed.value.__cause__ is not None
        done = {path.stem for path in case.work.glob("run-*/t0/records/predict/*.json")}
        assert done == {"0.0.0", "0.0.1", "1.0.0", "1.0.1"}
        last.write_bytes(good)

    events = []
    assert np.array_equal(case.segment(on_event=events.append), small_sample_whole)
    again = {
        ".".join(map(str, e.index)) for e in events if isinstance(e, BlockDone) and e.seconds and e.name == "predict"
    }
    assert again.isdisjoint(done)


@pytest.mark.parametrize(
    "settings",
    [pytest.param({}, marks=pytest.mark.slow), {"diameter_um": 3.0, "block": (60, 40, 9), "max_flow_error": 2.0}],
)
def test_skipped_chunks_are_background_and_the_rest_does_not_depend_on_blocks(
    tissue_store, case, request, monkeypatch, settings
):
    whole = Case(tissue_store, case.settings["model"], case.folder, **settings).whole()
    for index, damage in zip(((1, 2, 1), (0, 1, 2)), DAMAGES, strict=False):
        damage(chunk(case, index))
    labels = {}
    for name, more in (("one", WHOLE), ("blocks", {} if settings else request.getfixturevalue("two_workers"))):
        events = []
        more = {**settings, **more, "on_error": "skip", "on_event": events.append}
        monkeypatch.setattr(lost, "MOST_LOST", 1 if name == "blocks" else 1000)
        labels[name] = case.segment(f"{name}.zarr", **more)
        assert any("2 chunks could not be read" in e.message for e in events if isinstance(e, Warned))
        summary = next(e.summary for e in events if isinstance(e, RunFinished))
        assert (summary.lost_chunks, len(summary.lost)) == (2, 1 if name == "blocks" else 2)
    for index in ((1, 2, 1), (0, 1, 2)):
        assert not labels["one"][chunk_box(index)].any()
        assert whole[chunk_box(index)].any(), "the control: there were cells"
    assert labels["one"].any()
    assert np.array_equal(labels["one"], labels["blocks"])
    for name, listed in {"one": 2, "blocks": 1}.items():
        said = zarr.open_group(case.folder / f"{name}.zarr" / "labels" / "cells").attrs["bigcp3d"]
        assert [piece["start"] for piece in said["lost"]] == [[0, 15, 34], [17, 30, 17]][:listed]
        assert all(piece["error"] for piece in said["lost"])
        assert said["lost_chunks"] == 2


def test_a_run_that_failed_is_carried_on_with_skip_and_not_back(small_sample, case, monkeypatch):
    truncate(chunk(case))
    with pytest.raises(BlockError):
        case.segment()
    with monkeypatch.context() as patch:
        patch.setitem(passes.PASSES, "cluster", lambda *_: 1 / 0)
        with pytest.raises(BlockError):
            case.segment(on_error="skip")
    with pytest.raises(TargetError, match=r"could not read 1 chunk \(image, channel 0, time 0, voxels \(17, 30, 17\)"):
        case.segment()
    assert np.array_equal(case.segment(on_error="skip"), case.segment("one.zarr", on_error="skip", **WHOLE))


def test_what_was_given_up_once_is_given_up_for_all(case, monkeypatch):
    """A chunk that comes back: the task that saw it away decides, since others would see another image."""
    read, tries = lost.read_box, []

    def flaky(image, level, box, **more):
        if not box.intersect(BlockGrid(SHAPE, CHUNK).core((1, 2, 1))).empty and len(tries) < 1 + lost.TRIES:
            tries.append(box)
            raise InputError("away")
        return read(image, level, box, **more)

    monkeypatch.setattr(lost, "read_box", flaky)
    labels = case.segment(on_error="skip")
    assert not labels[chunk_box()].any()


def test_a_chunk_that_fails_now_and_then_is_read_again(case, whole, monkeypatch):
    read, tries = lost.read_box, []

    def flaky(image, level, box, **more):
        tries.append(box)
        if len(tries) % 3 == 0:
            raise InputError("away") if len(tries) % 2 else OSError(errno.EMFILE, "Too many open files")
        return read(image, level, box, **more)

    monkeypatch.setattr(lost, "read_box", flaky)
    assert np.array_equal(case.segment(on_error="skip"), whole)


def test_a_lost_chunk_is_no_matter_for_boxes_that_do_not_meet_it(case, monkeypatch):
    run, near = Run(case.plan(on_error="skip")), Box((0, 0, 0), (17, 30, 34))
    truncate(chunk(case))
    _, gone = lost.read_image(run, 0, 0, Box.of_shape(SHAPE))
    assert [box.slices() for box in gone] == [chunk_box()]
    assert lost.lost_voxels(run, 0, Box.of_shape(SHAPE)) == gone
    read, reads, looks = lost.read_box, [], []
    monkeypatch.setattr(lost, "read_box", lambda *what, **more: [reads.append(what[2]), read(*what, **more)][1])
    monkeypatch.setattr(lost, "read_record", lambda *what: looks.append(what[2]))
    assert lost.read_image(run, 0, 0, near)[1] == []
    assert reads == [near], "one read"
    assert looks == BlockGrid(SHAPE, CHUNK).touching(near), "no record of another chunk is looked for"
    looks.clear()
    assert lost.lost_voxels(run, 0, near) == []
    assert set(looks) == set(BlockGrid(SHAPE, CHUNK).touching(near.grow(1)))


@pytest.mark.parametrize("factor", [0.37, 1.0, 1.01, 1.5, 2.7])
def test_each_lost_chunk_that_gives_a_box_its_labels_is_found(monkeypatch, factor):
    factors, image_shape = (factor,) * 3, (7, 9, 8)
    shape = working_shape(image_shape, factors)
    monkeypatch.setattr(lost, "read_record", lambda records, label, index: {})
    run = SimpleNamespace(plan=MagicMock(shape=shape, image_shape=image_shape), dir=MagicMock())
    run.plan.sampling.factors, run.plan.source.channels = factors, (0,)
    for chunk in ((1, 1, 1), (3, 5, 4)):
        chunks, blocks = BlockGrid(image_shape, chunk), BlockGrid(shape, (4, 7, 5))
        monkeypatch.setattr(lost, "_image_chunks", lambda plan, chunks=chunks: chunks)
        for box in map(blocks.core, blocks):
            every = (working_box(chunks.core(index), factors, shape).intersect(box) for index in chunks)
            assert lost.lost_voxels(run, 0, box) == [part for part in every if not part.empty]


def test_no_chunk_is_given_up_for_want_of_open_files(case, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(zarr.Array, "__getitem__", fail)
    run = Run(case.plan(on_error="skip"))
    with pytest.raises(OSError, match="Too many open files"):
        lost.read_image(run, 0, 0, BlockGrid(SHAPE, CHUNK).core((1, 2, 1)))
    assert lost.read_lost(run.dir, run.plan) == (0, [])


def test_given_maps_that_are_damaged_fail_or_are_background(case, kept_maps):
    maps = shutil.copytree(kept_maps, case.folder / "maps.zarr")
    settings = {"maps": maps, "radius_vox": 3.0}
    shards = zarr.open_array(maps).shards[1:]
    truncate(maps / "c" / "0" / "1" / "1" / "1")
    with pytest.raises(BlockError, match=r"track of block \(1, 1, 1\).*maps cannot be read"):
        case.segment("failed.zarr", **settings)
    shutil.rmtree(case.work)
    labels = case.segment("skipped.zarr", on_error="skip", **settings)
    assert not labels[BlockGrid(SHAPE, shards).core((1, 1, 1)).slices()].any()
    assert np.array_equal(labels, case.segment("one.zarr", on_error="skip", **settings, **WHOLE))


def test_a_channel_that_only_kept_maps_had_seen_is_lost_in_all_blocks_alike(
    small_sample, two_channel_model, tmp_path, monkeypatch
):
    store = tmp_path / "image.zarr"
    create_image(store, SHAPE, "float32", scale_um=(1.0, 0.5, 0.5), channels=2, chunk=CHUNK, shard=CHUNK)
    array = zarr.open_array(store / "0", mode="r+")
    array[0], array[1] = tissue_values(), tissue_values(stain="membrane")
    settings = {
        "model": two_channel_model,
        "channel": (0, 1),
        "min_volume": 2,
        "executor": "serial",
        "diameter_um": "as-is",
    }
    bigcp3d.segment(store, keep_maps=True, **settings, **WHOLE)
    truncate(store / "0" / "c" / "1" / "1" / "2" / "1")
    found = {}
    for name, block in {"whole": (99, 99, 99), "cut": (17, 30, 26)}.items():
        summary = bigcp3d.segment(store, name=name, on_error="skip", block=block, **settings)
        assert len(summary.lost) == 1
        found[name] = read_labels(store, name)
    assert np.array_equal(found["cut"], found["whole"])
    assert not found["whole"][chunk_box()].any()
    assert read_labels(store, "cells")[chunk_box()].any()


def test_missing_chunks_are_the_fill_value_and_counted_or_refused(small_sample, small_sample_whole, case, monkeypatch):
    """Zarr says so, and writers leave out chunks of nothing but fill; only the user can know that none should be."""
    gone = [chunk(case), chunk(case, (0, 2, 0))]
    for path in gone:
        path.unlink()
    events, asked, exist = [], [], voxels._exist
    monkeypatch.setattr(voxels, "_exist", lambda array, keys: exist(array, [asked.append(key) or key for key in keys]))
    summary = bigcp3d.segment(
        case.store, **case.settings, output=case.folder / "f.zarr", work_dir=case.work, on_event=events.append
    )
    assert summary.missing_chunks == 2
    assert len(asked) == len(set(asked)) == len(BlockGrid(SHAPE, CHUNK)), "no block asks for the chunks of another"
    assert any("missing from the store of the image: 2 chunks" in e.message for e in events if isinstance(e, Warned))
    filled = read_labels(case.folder / "f.zarr", "cells")
    assert not np.array_equal(filled, small_sample_whole)
    assert np.array_equal(filled, case.segment("one.zarr", **WHOLE))
    with pytest.raises(BlockError, match=r"no chunk for voxels \(0, 30, 0\).* and 1 more.*--missing-chunks fail"):
        case.segment("strict.zarr", missing_chunks="fail", **WHOLE)
    skipped = case.segment("strict.zarr", missing_chunks="fail", on_error="skip", **WHOLE)
    assert not skipped[chunk_box()].any()
    assert not skipped[chunk_box((0, 2, 0))].any()


def test_another_image_in_the_same_place_is_refused(small_sample, small_sample_whole, case, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(passes.PASSES, "resolve", lambda *_: 1 / 0)
        with pytest.raises(BlockError):
            case.segment()
    good = {path: path.read_bytes() for path in (chunk(case, (0, 1, 0)), chunk(case, (0, 0, 0)))}
    chunk(case, (0, 1, 0)).write_bytes(chunk(case, (0, 1, 1)).read_bytes())
    with pytest.raises(InputError, match=r"image.zarr: the voxels \(time point 0\) have changed since this run began"):
        case.segment()
    for path, content in good.items():
        path.write_bytes(content)
    assert np.array_equal(case.segment(), small_sample_whole)


def test_a_chunk_of_the_sample_may_die_between_two_starts_and_no_other_may_change(case, monkeypatch):
    boxes = (BlockGrid(SHAPE, CHUNK).core((0, 1, 0)), Box((0, 15, 20), (17, 30, 40)))  # the second has two chunks
    monkeypatch.setattr(normalise_pass, "sample_boxes", lambda shape, margin=None: boxes)
    expected = case.segment("whole.zarr", **WHOLE)
    with monkeypatch.context() as patch:
        patch.setitem(passes.PASSES, "resolve", lambda *_: 1 / 0)
        with pytest.raises(BlockError):
            case.segment(on_error="skip")
    truncate(chunk(case, (0, 1, 1)))
    beside = chunk(case, (0, 1, 2))
    good = beside.read_bytes()
    beside.write_bytes(chunk(case, (0, 2, 2)).read_bytes())
    with pytest.raises(InputError, match="have changed since"):
        case.segment(on_error="skip")
    beside.write_bytes(good)
    assert np.array_equal(case.segment(on_error="skip"), expected)  # all had been read before


def test_a_damaged_sample_ends_a_run_that_may_not_skip(small_sample, case):
    truncate(chunk(case, (0, 1, 0)))
    with pytest.raises(InputError, match="cannot be read"):
        case.segment()
    assert not case.work.exists()
    with pytest.raises(InputError, match="sampled voxels"):  # all of the sample
        case.segment(on_error="skip")
    assert run_module.ONCE == (0, 0, 0)
