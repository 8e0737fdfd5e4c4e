"""Of reviewed labels, a training learns the cells that were decided good or corrected, and nothing else."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from scipy import ndimage

import bigcp3d
from bigcp3d.edge.image.image import open_labels
from bigcp3d.edge.labels.edit_log import Change
from bigcp3d.edge.models.model_families import load_card
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import BlockGrid, Box
from bigcp3d.work.train.reviewed import find_reviewed, follow_review
from bigcp3d.work.train.settings import TrainSettings
from bigcp3d.work.train.train import train
from bigcp3d.work.train.train_checks import make_card
from bigcp3d.work.train.training_data import open_training_data
from tests.schedule.conftest import write_image
from tests.schedule.edits.conftest import write_labels
from tests.work.train.test_train import SMALL

SHAPE = (24, 64, 64)


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory) -> tuple[Path, dict[str, list[int]], np.ndarray]:
    """Bright balls, of which some were reviewed; which ones, and the labels before."""
    path, rng = tmp_path_factory.mktemp("reviewed") / "balls.zarr", np.random.default_rng(0)
    first = np.zeros(SHAPE, np.uint32)
    places = [(z, y, x) for z in (6, 17) for y in range(7, 64, 10) for x in range(7, 64, 10)]
    grid = np.indices(SHAPE)
    for cell, place in enumerate(places, start=1):
        middle = np.add(place, rng.integers(-1, 2, 3))[:, None, None, None]
        first[(((grid - middle) ** 2).sum(axis=0) <= rng.integers(16, 30)) & (first == 0)] = cell
    write_image(path, (100 * (first > 0) + rng.integers(0, 60, SHAPE)).astype(np.uint16))
    write_labels(path, first, shard=32, name="truth")
    near = [cell for cell, place in enumerate(places, start=1) if max(place[1:]) < 40]
    good, wrong, gone, left = near[:6], near[6], near[7], near[8:]
    edits = bigcp3d.edit(path, "truth")
    for cell in good:
        edits.decide(cell, "good")
    edits.decide(wrong, "good")
    edits.decide(wrong, "wrong")
    edits.delete(gone)
    edits.decide(left[0], "skip")
    return path, {"good": good, "wrong": [wrong], "gone": [gone]}, first


def test_known_are_reviewed_cells_their_surroundings_and_deleted_cells(reviewed):
    path, cells, first = reviewed
    found = find_reviewed(open_labels(path, "truth"))
    assert found.ids.tolist() == cells["good"]
    now = np.where(first == cells["gone"][0], 0, first)
    trusted = np.isin(now, cells["good"])
    numbers, margin = np.where(trusted, 1, np.where(now > 0, -1, 0)).astype(np.int32), (2, 3, 3)
    core = trusted | (first == cells["gone"][0])

    def grown(mask):
        return ndimage.binary_dilation(mask, np.ones([2 * m + 1 for m in margin]))

    expected = np.where(trusted, 1, np.where(grown(core) & ~grown(numbers < 0), 0, -1))
    whole = Box.of_shape(SHAPE)
    assert np.array_equal(found.hide(numbers, whole, margin), expected)
    assert {-1, 0, 1} == set(np.unique(expected))
    assert (expected[first == cells["gone"][0]] == 0).any()
    for index in (grid := BlockGrid(SHAPE, (11, 20, 33))):
        block = grid.core(index)
        seen = block.grow(margin).clip(SHAPE)
        truth = found.hide(numbers[seen.slices()], seen, margin)
        assert np.array_equal(truth[block.slices(seen.start)], expected[block.slices()])


def opened(folder, **volumes):
    """The source of a training, and what is held out."""
    small = {name: value for name, value in SMALL.items() if name not in ("batch", "every", "learning_rate")}
    settings = TrainSettings(output=folder / "m.safetensors", min_cell_vox=5, **volumes, **small)
    data = open_training_data(settings, make_card(settings, (0,)), (0,))
    return data.kinds[0][0][1], [source for _, source in data.held_out]


def test_samples_lie_around_reviewed_cells_and_show_no_others(reviewed, tmp_path):
    path, cells, _ = reviewed
    source, (held,) = opened(tmp_path, from_edits=[f"{path}::truth"], holdout_x=0.3)
    assert {*source.cells.ids.tolist()} <= {*cells["good"]}
    assert source.part.stop[2] == held.part.start[2]
    rng = np.random.default_rng(0)
    for _ in range(12):
        sample = source.draw(rng, (16, 24, 24))
        assert sample.known.any()
        assert not sample.labels[~sample.known].any()


def test_labels_that_were_not_reviewed_change_no_voxel_of_a_sample(reviewed, tmp_path):
    path, cells, first = reviewed
    other = tmp_path / "other.zarr"
    shutil.copytree(path, other)
    array = zarr.open_array(other / "labels" / "truth" / "0", mode="r+")
    labels, away = array[...], ndimage.distance_transform_edt(~np.isin(first, [*cells["good"], *cells["gone"]])) > 9
    labels[away] = 7777
    array[...] = labels
    assert away.mean() > 0.1

    def same(option):
        one, two = (opened(tmp_path, **{option: [f"{store}::truth"]})[0] for store in (path, other))
        two = replace(two, factors=one.factors)
        pairs = [[source.draw(np.random.default_rng(seed), (16, 24, 24)) for source in (one, two)] for seed in range(6)]
        return all(
            np.array_equal(getattr(a, name), getattr(b, name))
            for a, b in pairs
            for name in ("image", "labels", "known")
        )

    assert same("from_edits")
    assert not same("volumes"), "the control"


def test_a_model_is_trained_from_reviewed_labels(reviewed, tmp_path):
    done = train([], tmp_path / "m.safetensors", from_edits=[f"{reviewed[0]}::truth"], min_cell_vox=5, steps=1, **SMALL)
    assert load_card(done).training == f"{reviewed[0]}::truth"


def test_where_nothing_was_reviewed_nothing_is_learned(reviewed, tmp_path):
    shutil.copytree(reviewed[0], tmp_path / "my image.zarr")
    shutil.rmtree(tmp_path / "my image.zarr/labels/truth/edits")
    with pytest.raises(InputError, match=r"no cell was decided good or corrected.*: bigcp3d review '.*/labels/truth'$"):
        find_reviewed(open_labels(tmp_path / "my image.zarr", "truth"))


def test_a_record_of_a_training_changes_with_each_change_and_later_time_points_are_told(reviewed, tmp_path, caplog):
    copy = tmp_path / "copy.zarr"
    shutil.copytree(reviewed[0], copy)
    before = find_reviewed(open_labels(copy, "truth"))
    bigcp3d.edit(copy, "truth").decide(reviewed[1]["wrong"][0], "skip")
    after = find_reviewed(open_labels(copy, "truth"))
    assert after.ids.tolist() == before.ids.tolist()
    assert str(after) != str(before)
    assert "later time points" not in caplog.text
    log = copy / "labels/truth/edits/log.jsonl"
    *_, last = log.read_text().splitlines()
    line = json.loads(last)
    log.write_text(log.read_text() + json.dumps({**line, "number": line["number"] + 1, "time": 1}) + "\n")
    find_reviewed(open_labels(copy, "truth"))
    assert "1 change at later time points; only the first is learned from" in caplog.text


def box(*ends):
    return {"box": [[0, 0, ends[0]], [5, 5, ends[1]]]}


def test_what_counts_follows_from_the_log():
    """Corrected cells count until somebody finds them wrong, or an update or `renumber` may have changed them."""
    good, wrong, skip = ({"decision": word} for word in ("good", "wrong", "skip"))
    changes = [
        Change(1, "decision", given={"id": 1, **good}, cells=[{"id": 1, **box(0, 5)}]),
        Change(2, "merge", cells=[{"id": 2, **box(5, 9)}, {"id": 3, **box(9, 12)}], made=[{"id": 2, **box(5, 12)}]),
        Change(3, "split", cells=[{"id": 4, **box(20, 30)}], made=[{"id": k, **box(20, 30)} for k in (4, 9)]),
        Change(4, "decision", given={"id": 9, **wrong}, cells=[{"id": 9, **box(20, 30)}]),
        Change(5, "decision", given={"id": 2, **skip}, cells=[{"id": 2, **box(5, 12)}]),
        Change(6, "delete", cells=[{"id": 5, **box(40, 50)}]),
        Change(7, "decision", time=1, given={"id": 6, **good}, cells=[{"id": 6, **box(0, 5)}]),
        Change(8, "decision", given={"id": 0, "voxel": [1, 1, 1], **wrong}),
    ]
    cells, deleted = follow_review(changes)
    assert set(cells) == {1, 2, 4}
    assert cells[2] == Box((0, 0, 5), (5, 5, 12))
    assert [change.number for change in deleted] == [6]
    update = Change(9, "update", given={"roi": [[0, 5], [0, 5], [11, 41]]})
    cells, deleted = follow_review([*changes, update])
    assert (set(cells), deleted) == ({1}, [])
    assert follow_review([*changes, Change(9, "renumber")]) == ({}, [])
