"""Whole runs: what is written, what is refused, what is kept when something fails, and how a run carries on."""

from __future__ import annotations

import errno
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

import bigcp3d
from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.models.model_families import load_network
from bigcp3d.edge.models.model_files import save_model
from bigcp3d.edge.workdir.records import read_record, read_records, write_record
from bigcp3d.errors import BlockError, FullDiskError, InputError, ModelError, TargetError
from bigcp3d.face.describe_plan import describe_plan
from bigcp3d.schedule import segment as segment_module
from bigcp3d.schedule.running.events import BlockDone, PassStarted, RunPlanned, Warned
from bigcp3d.work.passes import passes
from bigcp3d.work.plan.memory_and_disk import task_bytes
from bigcp3d.work.run import unreadable_input
from bigcp3d.work.run.run import Run
from bigcp3d.work.run.work_dir import WorkDir, new_run
from tests.schedule.conftest import read_labels, tissue_values, write_image

SERIAL = {"executor": "serial", "diameter_um": "as-is", "block": (34, 60, 26), "min_volume": 2}
EIGHT = {**SERIAL, "block": (17, 30, 26)}
"""The same in eight blocks."""


@pytest.fixture
def store(tmp_path, tissue_store) -> Path:
    """A copy of the tissue that a test may write to."""
    return shutil.copytree(tissue_store, tmp_path / "image.zarr")


@pytest.fixture(scope="module")
def finished(tissue_store, random_model, tmp_path_factory) -> tuple[Path, bigcp3d.Summary, list]:
    """A copy of the tissue with its labels, to be read only; and the summary and events of their run."""
    store, events = shutil.copytree(tissue_store, tmp_path_factory.mktemp("finished") / "image.zarr"), []
    return store, bigcp3d.segment(store, model=random_model, on_event=events.append, **EIGHT), events


@pytest.fixture
def from_maps(tissue_maps, random_model) -> dict:
    """Settings of a run that needs no network, for facts about all that follows."""
    return {**SERIAL, "model": random_model, "maps": tissue_maps}


def everything(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_labels_are_registered_with_provenance_and_the_work_directory_goes(finished):
    store, summary, _ = finished
    image = open_image(store)
    assert image.label_names == ("cells",)
    labels = open_labels(store, "cells")
    assert [level.shape for level in labels.levels] == [level.shape for level in image.levels]
    attributes = json.loads((store / "labels" / "cells" / "zarr.json").read_text())["attributes"]
    said = attributes["bigcp3d"] if "bigcp3d" in attributes else attributes["ome"]["bigcp3d"]
    assert said["version"] == bigcp3d.__version__
    assert len(said["model_sha256"]) == 64
    assert said["parameters"]["reach"] == 8
    assert said["oddities"] == summary.oddities
    assert said["found"] == summary.found
    assert said["cells"] == summary.cells == read_labels(store, "cells").max()
    assert sorted(p.name for p in store.parent.iterdir()) == ["image.zarr"]


def test_the_page_on_files_has_every_key_of_the_attributes(finished):
    text = (Path(__file__).parents[2] / "docs/reference/files.md").read_text(encoding="utf-8")
    table = text[text.index("The attribute `bigcp3d`") : text.index("## Changes of labels")]
    keys = [key for first in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for key in re.findall(r"`(\w+)`", first)]
    assert sorted(keys) == sorted(zarr.open_group(finished[0])["labels/cells"].attrs["bigcp3d"])


def test_what_is_written_validates(finished):
    import ome_zarr_models
    import yaozarrs

    store = finished[0]
    image = ome_zarr_models.open_ome_zarr(zarr.open_group(store, mode="r"))
    assert image.labels is not None
    yaozarrs.validate_zarr_store(store)


def test_output_goes_to_another_store_and_the_source_stays_untouched(store, from_maps, tmp_path):
    before = everything(store)
    bigcp3d.segment(store, output=tmp_path / "out.zarr", name="nuclei", **from_maps)
    assert everything(store) == before
    assert read_labels(tmp_path / "out.zarr", "nuclei").max() > 0


def test_events_tell_of_every_pass_and_block(finished):
    events = finished[2]
    assert isinstance(events[0], RunPlanned)
    started = {e.name: e.tasks for e in events if isinstance(e, PassStarted)}
    assert started == {"normalise": 1, "predict": 8, "merge": 8, "track": 8, "cluster": 8, "resolve": 1, "label": 8}
    done = [e for e in events if isinstance(e, BlockDone)]
    assert len(done) == sum(started.values())
    assert [e.done for e in done if e.name == "track"] == list(range(1, 9))


def test_existing_labels_are_refused_and_kept_unless_overwrite(finished, from_maps, tmp_path):
    store = shutil.copytree(finished[0], tmp_path / "image.zarr")
    before = everything(store)
    with pytest.raises(TargetError, match="overwrite"):
        bigcp3d.segment(store, **from_maps)
    assert everything(store) == before
    bigcp3d.segment(store, overwrite=True, foreground=0.7, **from_maps)
    assert everything(store) != before


def test_a_failed_block_is_named_and_the_same_command_carries_on(store, finished, random_model, monkeypatch):
    track = passes.PASSES["track"]

    def fail(run, time, index):
        if index == (1, 0, 1):
            raise OSError("the disk hiccuped")
        return track(run, time, index)

    monkeypatch.setitem(passes.PASSES, "track", fail)
    with pytest.raises(BlockError, match=r"track of block \(1, 0, 1\).*hiccuped") as caught:
        bigcp3d.segment(store, model=random_model, **EIGHT)
    assert caught.value.exit_code == 4
    assert open_image(store).label_names == ()
    computed = []
    for name, function in list(passes.PASSES.items()):
        monkeypatch.setitem(
            passes.PASSES, name, lambda run, time, index, f=function, n=name: computed.append(n) or f(run, time, index)
        )
    monkeypatch.setitem(passes.PASSES, "track", lambda *a: computed.append("track") or track(*a))
    bigcp3d.segment(store, model=random_model, **EIGHT)
    assert computed.count("predict") == 0
    assert computed.count("track") == 1
    assert np.array_equal(read_labels(store, "cells"), read_labels(finished[0], "cells"))


def test_a_run_ends_after_many_failures_in_a_row(store, from_maps, monkeypatch):
    def fail(run, time, index):
        raise OSError("the network is down")

    monkeypatch.setattr(segment_module, "MANY_IN_A_ROW", 3)
    monkeypatch.setitem(passes.PASSES, "track", fail)
    with pytest.raises(BlockError, match="3 blocks failed"):
        bigcp3d.segment(store, **{**from_maps, **EIGHT})


def test_a_full_disk_loses_nothing_that_was_there(store, from_maps, monkeypatch):
    before = everything(store)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(passes, "write_table", full)
    with pytest.raises(FullDiskError, match="No space left on device"):
        bigcp3d.segment(store, **from_maps)
    assert everything(store) == before
    monkeypatch.undo()
    assert bigcp3d.segment(store, **from_maps).cells > 0


def test_other_settings_are_refused_while_a_run_is_unfinished(store, from_maps, monkeypatch):
    monkeypatch.setitem(passes.PASSES, "cluster", lambda *a: 1 / 0)
    with pytest.raises(BlockError):
        bigcp3d.segment(store, **from_maps)
    monkeypatch.undo()
    with pytest.raises(TargetError, match=r"with other settings \(foreground not given then, 0.7 now\)"):
        bigcp3d.segment(store, foreground=0.7, **from_maps)
    assert bigcp3d.segment(store, foreground=0.7, overwrite=True, **from_maps).cells >= 0


def test_a_run_stopped_among_the_labels_carries_on(store, finished, from_maps, monkeypatch):
    """It is stopped three times: before a block of labels, while it writes one, and after the last."""

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    writing = [(passes.PASSES, "label"), (passes.__dict__, "write_label_box")]
    for where, name in [*writing, (segment_module.__dict__, "finish_labels")]:
        with monkeypatch.context() as patch:
            patch.setitem(where, name, stop)
            with pytest.raises(KeyboardInterrupt):
                bigcp3d.segment(store, **from_maps)
        assert "cells" not in open_image(store).label_names
    assert bigcp3d.segment(store, **from_maps).cells == finished[1].cells
    assert np.array_equal(read_labels(store, "cells"), read_labels(finished[0], "cells"))


def test_a_run_does_not_write_into_labels_that_another_has_made_since(store, from_maps, monkeypatch, tmp_path):
    label = passes.PASSES["label"]

    def stop(run, time, index):
        if index == (0, 0, 1):
            raise KeyboardInterrupt
        return label(run, time, index)

    monkeypatch.setitem(passes.PASSES, "label", stop)
    with pytest.raises(KeyboardInterrupt):
        bigcp3d.segment(store, work_dir=tmp_path / "one", **from_maps)
    monkeypatch.setitem(passes.PASSES, "label", label)
    bigcp3d.segment(store, work_dir=tmp_path / "other", overwrite=True, foreground=0.3, **from_maps)
    before = read_labels(store, "cells")
    with pytest.raises(TargetError, match="labels of another run are here"):
        bigcp3d.segment(store, work_dir=tmp_path / "one", **from_maps)
    assert np.array_equal(read_labels(store, "cells"), before)


def test_kept_maps_give_the_same_labels_without_the_network(finished, tissue_maps, from_maps, tmp_path):
    assert zarr.open_array(tissue_maps / "t0" / "maps", mode="r").shape[0] == 4
    assert not list(tissue_maps.rglob("offsets"))
    maps = shutil.copytree(tissue_maps / "t0" / "maps", tmp_path / "maps.zarr")
    bigcp3d.segment(finished[0], output=tmp_path / "again.zarr", **{**from_maps, "maps": maps})
    assert np.array_equal(read_labels(tmp_path / "again.zarr", "cells"), read_labels(finished[0], "cells"))
    assert maps.exists()


def test_a_model_says_how_sure_of_a_cell_it_must_be_and_so_do_the_maps_that_it_left(store, random_model, tmp_path):
    network, card = load_network(random_model)
    sure = tmp_path / "sure.safetensors"
    save_model(sure, network, card.model_copy(update={"min_foreground": 0.9}))
    whole = {**SERIAL, "block": (34, 60, 51)}
    summary = bigcp3d.segment(store, model=sure, keep_maps=True, work_dir=tmp_path / "work", **whole)
    assert summary.removed["weak foreground"] > 0
    again = {**whole, "model": random_model, "maps": tmp_path / "work" / "t0" / "maps"}
    bigcp3d.segment(store, name="again", **again)
    assert np.array_equal(read_labels(store, "again"), read_labels(store, "cells"))
    lenient = bigcp3d.segment(store, name="all", min_foreground=0.0, **again)
    assert lenient.cells == summary.cells + summary.removed["weak foreground"]


def test_maps_are_not_removed_by_the_run_that_is_given_them(store, tissue_maps, from_maps, tmp_path):
    work = shutil.copytree(tissue_maps, tmp_path / "work")
    before = everything(work)
    again = {"maps": work / "t0" / "maps", "foreground": 0.4, "work_dir": work, "overwrite": True}
    with pytest.raises(TargetError, match="lie in the work directory"):
        bigcp3d.segment(store, **{**from_maps, **again})
    assert everything(work) == before


@pytest.mark.parametrize("place", [{"output": "labels.zarr"}, {"table": "cells.csv"}])
def test_results_in_the_work_directory_are_refused_before_any_work(store, from_maps, tmp_path, place):
    ((name, file),) = place.items()
    (tmp_path / "link").symlink_to(tmp_path / "work")
    work = {"work_dir": tmp_path / "link", name: tmp_path / "work" / file}
    with pytest.raises(TargetError, match=r"lies in the work directory .*, which the run empties"):
        bigcp3d.plan_segmentation(store, **{**from_maps, **work})
    assert not (tmp_path / "work").exists()


def test_folders_of_a_user_are_never_taken_for_those_of_a_run(store, from_maps, tmp_path):
    (tmp_path / "work" / new_run() / "t0").mkdir(parents=True)
    settings = {**from_maps, "work_dir": tmp_path / "work"}
    assert bigcp3d.plan_segmentation(store, **settings), "the control: a late task of a discarded run left it"
    for name in ("run-1", "run-20261125", "run-baseline"):
        (mine := tmp_path / "work" / name).mkdir()
        with pytest.raises(TargetError, match="cannot be the work directory"):
            bigcp3d.plan_segmentation(store, **settings)
        mine.rmdir()


def test_a_lack_of_open_files_does_not_look_like_the_end_of_the_run(store, from_maps, tmp_path, monkeypatch):
    run = Run(bigcp3d.plan_segmentation(store, work_dir=tmp_path / "work", **from_maps))

    def fail(path):
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(OSError, match="too many open files"):
        run.check_place()


def test_an_emptied_shard_is_never_read_as_background(store, tissue_maps, random_model, tmp_path):
    settings = {"model": random_model, "keep_maps": True, "work_dir": tmp_path / "work", **EIGHT}
    run = Run(bigcp3d.plan_segmentation(store, **settings))
    shutil.copytree(tissue_maps, tmp_path / "work")
    block = run.plan.intermediate_grid("maps").core((0, 0, 0))
    assert run.read("maps", 0, block).any()
    run.dir.intermediate("maps", 0, (0, 0, 0)).write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="is gone"):
        run.read("maps", 0, block)


def test_a_run_is_predicted_on_one_kind_of_device(store, random_model, tmp_path, monkeypatch):
    settings = {**SERIAL, "model": random_model, "work_dir": tmp_path / "work"}
    with monkeypatch.context() as patch:
        patch.setitem(passes.PASSES, "track", lambda *_: 1 / 0)
        with pytest.raises(BlockError):
            bigcp3d.segment(store, **settings)
    work = WorkDir(tmp_path / "work")
    records = work.records()
    assert read_record(records, "device", (0, 0, 0)) == {"device": "cpu"}
    write_record(records, "device", (0, 0, 0), {"device": "cuda"})
    shutil.rmtree(work.records(0) / "predict")
    with pytest.raises(BlockError, match="this run began on cuda"):
        bigcp3d.segment(store, **settings)


def test_a_worker_with_another_bigcp3d_or_another_model_card_refuses(store, random_model):
    plan = bigcp3d.plan_segmentation(store, model=random_model, **SERIAL)
    with pytest.raises(InputError, match=r"bigcp3d 0.0.9 planned this run.*same version on every worker"):
        passes.perform(Run(plan.model_copy(update={"version": "0.0.9"})), "normalise", 0, (0, 0, 0))
    card = plan.prediction.card.model_copy(update={"margin": 5})
    with pytest.raises(ModelError, match="description of this model differs"):
        _ = Run(plan.model_copy(update={"prediction": plan.prediction.model_copy(update={"card": card})})).network


def test_a_blank_time_point_costs_nothing_of_the_others(movie_store, random_model, tmp_path):
    shutil.copytree(movie_store, tmp_path / "movie.zarr")
    array = zarr.open_array(tmp_path / "movie.zarr" / "0", mode="r+")
    array[1] = 7
    with pytest.raises(InputError):
        bigcp3d.segment(tmp_path / "movie.zarr", model=random_model, work_dir=tmp_path / "work", **SERIAL)
    assert list(read_records(WorkDir(tmp_path / "work").records(0), "cluster"))


def test_tracking_reads_no_image_of_integers(store, random_model, tmp_path, monkeypatch):
    """So an image in a bucket is fetched once."""
    track, read, inside = passes.PASSES["track"], unreadable_input.read_box, []

    def watched(*task):
        inside.append(task)
        counts = track(*task)
        inside.pop()
        return counts

    def counted(*args, **more):
        assert not inside
        return read(*args, **more)

    monkeypatch.setitem(passes.PASSES, "track", watched)
    monkeypatch.setattr(unreadable_input, "read_box", counted)
    assert bigcp3d.segment(store, model=random_model, work_dir=tmp_path / "work", output=tmp_path / "o.zarr", **SERIAL)


def test_nan_and_infinities_count_as_the_lowest_intensity_and_are_reported(tmp_path, random_model):
    spoiled = tissue_values().astype(np.float32)
    spoiled[3, 5, 7], spoiled[17, 29:31, 26] = np.nan, np.inf
    write_image(tmp_path / "spoiled.zarr", spoiled)
    events = []
    summary = bigcp3d.segment(tmp_path / "spoiled.zarr", model=random_model, on_event=events.append, **SERIAL)
    assert summary.nonfinite_vox == 3
    assert any("NaN or infinite in 3 voxels" in e.message for e in events if isinstance(e, Warned))
    assert summary.cells > 0


def test_a_constant_volume_is_refused_and_leaves_nothing_behind(tmp_path, random_model):
    write_image(tmp_path / "image.zarr", np.full((20, 30, 40), 7, np.uint16))
    before = everything(tmp_path)
    with pytest.raises(InputError, match="intensity 7"):
        bigcp3d.segment(tmp_path / "image.zarr", model=random_model, **SERIAL)
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"channel": 3}, InputError, "channel"),
        ({"level": 5}, InputError, "level"),
        ({"name": "../up"}, InputError, "name"),
        ({"diameter_um": -1.0}, InputError, "diameter"),
        ({"diameter_um": 4000.0}, InputError, "check the diameter and the scale"),
        ({"block": (0, 8, 8)}, InputError, "block"),
        ({"foreground": 1.5}, InputError, "foreground"),
        ({"radius_vox": 60.0}, InputError, "int8"),
        ({"memory_limit": "much"}, InputError, "4GiB"),
        ({"memory_limit": "100MiB", "executor": "dask"}, InputError, "memory"),
        ({"model": "no-such-model"}, ModelError, "no-such-model"),
        ({"precision": "float16"}, InputError, "bfloat16"),
        ({"precision": "int8"}, InputError, "not of the architecture half; leave out --precision"),
        ({"maps": "nowhere.zarr"}, InputError, "int8"),
        ({"maps": "nowhere.zarr", "precision": "bfloat16"}, InputError, "leave out --precision"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(store, random_model, arguments, error, message):
    before = everything(store.parent)
    with pytest.raises(error, match=message) as caught:
        bigcp3d.segment(store, **{"model": random_model, **SERIAL, **arguments})
    assert caught.value.exit_code == 2
    assert everything(store.parent) == before


def test_a_diameter_needs_a_scale(tmp_path, random_model):
    values, settings = tissue_values((20, 40, 40)), {**SERIAL, "model": random_model, "diameter_um": 4.0}
    group = zarr.create_group(tmp_path / "old.zarr", zarr_format=2)
    group.create_array("0", data=values[None, None], chunks=(1, 1, 20, 20, 20))
    group.attrs["multiscales"] = [{"version": "0.1", "datasets": [{"path": "0"}]}]
    with pytest.raises(InputError, match="--scale"):
        bigcp3d.segment(tmp_path / "old.zarr", **settings)
    summary = bigcp3d.segment(tmp_path / "old.zarr", scale_um=(1.0, 0.8, 0.8), **settings)
    assert summary.cells > 0
    assert open_labels(tmp_path / "old.zarr", "cells").levels[0].shape == values.shape


def test_every_time_point_gets_its_own_labels(movie_store, random_model, tmp_path):
    settings = {"model": random_model, "executor": "serial", "diameter_um": "as-is"}
    bigcp3d.segment(movie_store, output=tmp_path / "movie.zarr", block=(20, 40, 20), **settings)
    labels = read_labels(tmp_path / "movie.zarr", "cells")
    assert labels.shape == (2, 20, 40, 40)
    write_image(tmp_path / "second.zarr", np.asarray(zarr.open_array(f"{movie_store}/0", mode="r")[1, 0]))
    bigcp3d.segment(tmp_path / "second.zarr", **settings)
    assert np.array_equal(labels[1], read_labels(tmp_path / "second.zarr", "cells"))


def test_the_label_pyramid_lies_on_the_images_and_does_not_depend_on_blocks(tmp_path, from_maps):
    from bigcp3d.pure.boxes import Box
    from bigcp3d.pure.label.pooling import pool_labels

    values = tissue_values()
    group = zarr.create_group(tmp_path / "image.zarr", zarr_format=2)
    datasets = []
    for level, step in enumerate((1, 2, 4)):
        scale = {"type": "scale", "scale": [2.0 * step, 0.5 * step, 0.5 * step]}
        group.create_array(str(level), data=values[::step, ::step, ::step], chunks=(16, 16, 16))
        datasets.append({"path": str(level), "coordinateTransformations": [scale]})
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    for name, block in (("whole", (99, 99, 99)), ("blocks", (17, 30, 20))):
        bigcp3d.segment(tmp_path / "image.zarr", name=name, **{**from_maps, "block": block})
    image, labels = open_image(tmp_path / "image.zarr"), open_labels(tmp_path / "image.zarr", "blocks")
    finer = None
    for level, (ours, its) in enumerate(zip(labels.levels, image.levels, strict=True)):
        found = [zarr.open_group(tmp_path / "image.zarr/labels" / n)[ours.path][...] for n in ("whole", "blocks")]
        assert found[0].shape == its.shape
        assert np.array_equal(found[0], found[1])
        assert ours.scale_um == its.scale_um
        assert ours.translation_um == pytest.approx(tuple((2**level - 1) * s / 2 for s in (2.0, 0.5, 0.5)))
        if finer is not None:
            pooled = pool_labels(finer, Box.of_shape(finer.shape), Box.of_shape(its.shape), (2.0, 2.0, 2.0))
            assert np.array_equal(found[0], pooled)
            assert found[0].max() > 0
        finer = found[0]


def test_the_memory_plan_is_of_a_whole_block_and_not_of_a_cut_one(store, random_model):
    """Blocks of 30 x 50 x 45 in 34 x 60 x 51 voxels: the last one of an axis is a sliver, as 1 of 3 patches is."""
    settings = {"model": random_model, "executor": "serial", "diameter_um": "as-is"}
    cut = bigcp3d.plan_segmentation(store, block=(30, 50, 45), **settings)
    smaller = bigcp3d.plan_segmentation(store, block=(17, 20, 17), **settings)
    assert (cut.patch_blocks.per_block, smaller.patch_blocks.per_block) == ((1, 2, 2), (1, 1, 1))
    assert all(task_bytes(cut)[name] > task_bytes(smaller)[name] for name in ("predict", "merge", "track", "cluster"))


def test_the_plan_describes_itself_and_writes_nothing(store, random_model):
    before = everything(store.parent)
    plan = bigcp3d.plan_segmentation(store, model=random_model, **EIGHT)
    text = describe_plan(plan)
    for word in ("blocks", "halos", "patches", "memory", "disk", "8 of 17 x 30 x 26"):
        assert word in text
    assert type(plan).model_validate_json(plan.model_dump_json()) == plan
    assert everything(store.parent) == before


def test_cells_that_look_odd_are_warned_of_and_usual_ones_are_not(store):
    def run(**settings) -> tuple[list[str], bigcp3d.Summary]:
        events = []
        summary = bigcp3d.segment(
            store, model="nuclei", executor="serial", overwrite=True, on_event=events.append, **settings
        )
        return [event.kind for event in events if isinstance(event, Warned)], summary

    kinds, summary = run(diameter_um=14.0)
    assert (kinds, summary.oddities) == ([], [])
    assert summary.cells > 5  # control
    kinds, summary = run(diameter_um=35.0)
    assert "size" in kinds
    assert "times the expected diameter" in " ".join(summary.oddities)
    assert [each["cells"] for each in summary.found] == [summary.cells]
