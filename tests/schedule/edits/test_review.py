"""The review shows planted errors first; decisions give an error rate; corrections bring the scores back."""

from __future__ import annotations

import json
import os
import select
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zarr
from scipy import ndimage
from typer.testing import CliRunner

import bigcp3d
from bigcp3d.edge.labels.label_plan import plan_labels
from bigcp3d.edge.labels.labels import create_labels, finish_labels, write_label_box
from bigcp3d.errors import InputError
from bigcp3d.face.cli import app
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.cells.review_order import doubts, error_rate, random_order
from bigcp3d.pure.label.split_cell import deepest_voxel
from bigcp3d.pure.tissue.tissue import render
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.schedule.edits.review import decide, decisions, sample_error, take_back_last
from tests.schedule.conftest import write_image
from tests.schedule.edits.conftest import Store, add_levels, write_labels


def plant(truth, rng, number):
    """Labels with ``number`` errors of each of four kinds, and where they are: id and positions of each."""
    labels, boxes = truth.copy(), ndimage.find_objects(truth)
    counts = np.bincount(truth.ravel(), minlength=len(boxes) + 1)
    inner = [
        i + 1
        for i, box in enumerate(boxes)
        if box and all(s.start > 0 and s.stop < n for s, n in zip(box, truth.shape, strict=True))
        and counts[i + 1] > 0.5 * np.median(counts[1:][counts[1:] > 0])
    ]  # fmt: skip
    rng.shuffle(inner)
    errors, used = [], set()

    def neighbour(cell):
        box = tuple(slice(max(0, s.start - 2), s.stop + 2) for s in boxes[cell - 1])
        near = ndimage.binary_dilation(truth[box] == cell, iterations=2)
        ids, sizes = np.unique(truth[box][near], return_counts=True)
        best = [int(i) for i in ids[np.argsort(-sizes)] if i not in (0, cell) and i in inner and int(i) not in used]
        return best[0] if best else None

    for cell in inner:
        kind = ("fused", "split", "missing")[len(errors) % 3]
        other = neighbour(cell) if kind == "fused" else None
        if cell in used or (kind == "fused" and other is None):
            continue
        at = truth == cell
        if kind == "fused":
            labels[truth == other] = cell
            used.add(other)
        elif kind == "split":
            middle = (boxes[cell - 1][2].start + boxes[cell - 1][2].stop) // 2
            other = int(labels.max()) + 1
            labels[at & (np.arange(truth.shape[2]) >= middle)] = other
        else:
            labels[at] = 0
        used.add(cell)
        errors.append((kind, cell, other))
        if len(errors) == 3 * number:
            break
    free = ndimage.distance_transform_edt(truth == 0)
    for _ in range(number):
        place = np.unravel_index(int(free.argmax()), free.shape)
        grid = np.indices(truth.shape) - np.reshape(place, (3, 1, 1, 1))
        ball = ((grid**2).sum(axis=0) <= min(free[place], 4) ** 2) & (labels == 0)
        cell = int(labels.max()) + 1
        labels[ball] = cell
        free[(grid**2).sum(axis=0) <= 14**2] = 0
        errors.append(("false", cell, None))
    return labels, errors


def make(folder, shape, diameter, number, seed=0):
    values, truth = render(Tissue(shape=shape, diameter_vox=diameter, stain="nuclei", seed=seed), Box.of_shape(shape))
    truth = truth.astype(np.uint32)
    labels, errors = plant(truth, np.random.default_rng(seed), number)
    path = folder / "tissue.zarr"
    write_image(path, values)
    add_levels(path, values)
    write_labels(path, labels, shard=64)
    write_labels(path, truth, shard=64, name="truth")
    maps = np.zeros((4, *shape), np.int8)
    maps[0] = np.rint(127 * ndimage.gaussian_filter((truth > 0).astype(np.float32), 0.7))
    zarr.create_array(folder / "maps.zarr", data=maps, chunks=(4, 32, 32, 32))
    return path, truth, errors


def found(queue, errors, truth):
    """The errors that the queue shows."""
    ids = {entry.id for entry in queue}
    at = {int(truth[entry.voxel]) for entry in queue if not entry.id}
    return [e for e in errors if (e[1] in at if e[0] == "missing" else ids & {e[1], e[2]} - {None})]


def correct(path, truth, errors):
    """Correct all errors by commands."""
    edits = bigcp3d.edit(path)
    boxes = ndimage.find_objects(truth)
    for kind, cell, other in errors:
        if kind == "fused":
            seeds = []
            for one in (cell, other):
                middle = deepest_voxel(truth[boxes[one - 1]] == one)
                seeds.append(np.add(middle, [s.start for s in boxes[one - 1]]))
            edits.split(cell, seeds=seeds)
        elif kind == "split":
            edits.merge(cell, other)
        elif kind == "false":
            edits.delete(cell)
        else:
            box = boxes[cell - 1]
            edits.add((truth[box] == cell).astype(np.uint8), at=[s.start for s in box])


def ap(path):
    return next(iter(bigcp3d.evaluate(path, path).groups.values())).numbers["ap50"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return make(tmp_path_factory.mktemp("review"), (32, 96, 96), 14.0, 2)


def test_planted_errors_come_first(small):
    path, truth, errors = small
    queue = bigcp3d.review(path, most=20, maps=path.parent / "maps.zarr")
    assert len(found(queue, errors, truth)) >= 4
    assert any(not entry.id for entry in queue)
    assert not any(not entry.id for entry in bigcp3d.review(path, most=20)), "without maps nothing is known of them"


def test_decisions_leave_the_queue_and_give_an_error_rate(small, tmp_path):
    shutil.copytree(small[0], tmp_path / "tissue.zarr")
    path = tmp_path / "tissue.zarr"
    edits = bigcp3d.edit(path)
    assert sample_error(edits.target.path) is None
    first = bigcp3d.review(path, most=8, sample=True)
    for entry, decision in zip(first, ["good"] * 5 + ["wrong", "split", "skip"], strict=True):
        decide(edits, entry.id, decision, sample=True)
    decide(edits, bigcp3d.review(path, most=1)[0].id, "delete")
    rate = sample_error(edits.target.path)
    assert (rate.wrong, rate.checked) == (2, 7)
    assert rate.low < 2 / 7 < rate.high
    assert "wrong cells" in bigcp3d.write_report(path).read_text()
    assert not {entry.id for entry in first} & {entry.id for entry in bigcp3d.review(path, most=8, sample=True)}
    for _ in range(3):
        take_back_last(edits)
    assert str(sample_error(edits.target.path)).startswith("16.7% of the cells are wrong (95 % interval 3.0% to 56.4%")
    with pytest.raises(InputError, match="use one of good"):
        decide(edits, 1, "fine")


def test_decisions_about_cells_that_were_renumbered_count_no_more(store):
    edits = bigcp3d.edit(store.path)
    decide(edits, 4, "good", sample=True)
    decide(edits, (1, 2, 3), "wrong")
    edits.delete(1)
    edits.renumber()
    with pytest.raises(InputError, match="cell 0 was given; use an id from 1"):
        decide(edits, 0, "good")
    for voxel in ((999, 2, 3), (1, 2)):
        with pytest.raises(InputError, match="outside the volume"):
            decide(edits, voxel, "good")
    left = decisions(edits.changes)
    assert [change.given.get("voxel") for change in left] == [[1, 2, 3]]
    decide(edits, 4, "wrong", sample=True)
    assert len(decisions(edits.changes)) == 2


def test_the_command_lists_and_decides(small, tmp_path):
    shutil.copytree(small[0], tmp_path / "tissue.zarr")
    path, run = str(tmp_path / "tissue.zarr"), CliRunner().invoke
    lines = run(app, ["review", path, "--list", "3", "--json"], catch_exceptions=False).stdout.splitlines()
    first = json.loads(lines[0])
    assert set(first) == {"id", "voxel", "volume_vox", "doubt", "why", "sample"}
    assert run(app, ["review", path, "--decide", str(first["id"]), "wrong", "--sample"]).exit_code == 0
    assert "100.0% of the cells are wrong" in run(app, ["review", path, "--rate"]).stdout
    assert f"cell {first['id']} at" not in run(app, ["review", path, "--list", "3"]).stdout
    assert "wrong (decision)" in run(app, ["review", path, "--undo"]).stdout
    assert f"cell {first['id']} at" in run(app, ["review", path, "--list", "3"]).stdout
    assert "no decision to take back" in run(app, ["review", path, "--undo"]).stderr
    assert all(run(app, ["review", path, "--list", number]).exit_code == 2 for number in ("0", "-3"))
    refused = run(app, ["review", path])
    assert refused.exit_code == 2
    assert "there is no terminal in which to ask" in refused.stderr


ANSWERS = {"g": "good", "u": "undo", "w": "wrong", "?": "no such key", " ": "skip", "d": "delete", "q": "end"}


def check_answers(path, said):
    """What keys `ANSWERS`, in their order, wrote into the log and to the screen."""
    lines = bigcp3d.edit(path).log()
    assert [line.given.get("decision") or line.kind for line in lines] == ["good", "undo", "wrong", "skip", "delete"]
    queue = [lines[0].cells[0]["id"], lines[3].cells[0]["id"], lines[4].cells[0]["id"]]
    assert lines[2].cells[0]["id"] == queue[0], "the one that was taken back is asked again"
    assert len({*queue}) == 3
    assert f"bigcp3d view {path}/labels/cells --at " in said
    assert f"to correct it: bigcp3d edit {path}/labels/cells delete {queue[2]}" in said
    assert "deviations" in said
    assert "3 decisions written" in said


def test_ids_up_to_the_end_are_shown_as_they_are(tmp_path):
    ids = np.zeros((6, 8, 16), np.uint64)
    ids[1:5, 2:6, 2:6], ids[1:5, 2:6, 8:12] = 2**64 - 1, 3
    image = write_image(tmp_path / "image.zarr", ids.astype(np.uint8))
    target = plan_labels(image, None, "cells", dtype="uint64", shard=(64, 64, 64))
    create_labels(target, overwrite=False)
    write_label_box(target, 0, Box.of_shape(ids.shape), ids)
    finish_labels(target, attributes={})
    assert sorted(doubt.id for doubt in bigcp3d.review(tmp_path / "image.zarr")) == [3, 2**64 - 1]


def test_keys_come_from_a_pipe_where_there_is_no_terminal(store):
    done = CliRunner().invoke(app, ["review", str(store.path)], input="".join(ANSWERS), catch_exceptions=False)
    assert done.exit_code == 0
    check_answers(store.path, done.stdout)


def test_one_key_decides_in_a_terminal(store, monkeypatch):
    termios, pty = pytest.importorskip("termios"), pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    said, keys = bytearray(), iter(ANSWERS)

    def type_keys():
        """A key for each question, once the terminal gives keys one by one."""
        asked = 1
        while b"written" not in said:
            if select.select([ours], [], [], 0.002)[0]:
                said.extend(os.read(ours, 4096))
            raw = not termios.tcgetattr(theirs)[3] & termios.ICANON
            if raw and said.count(b"bigcp3d view") == asked:
                os.write(ours, next(keys).encode())
                asked += 1

    with open(theirs, closefd=False) as stdin, open(theirs, "w", closefd=False) as stdout:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "stdout", stdout)
        with ThreadPoolExecutor(1) as pool:
            typing = pool.submit(type_keys)
            app(["review", str(store.path)], standalone_mode=False)
            stdout.flush()
            typing.result(60)
    os.close(ours)
    os.close(theirs)
    check_answers(store.path, said.decode().replace("\r\n", "\n"))


def test_a_cell_is_doubtful_in_the_column_in_which_it_lies_out():
    rng = np.random.default_rng(0)
    columns = {"volume": rng.normal(1000, 50, 200), "fill": rng.normal(0.9, 0.01, 200)}
    columns["volume"][3], columns["fill"][7], columns["volume"][9] = 2100, 0.7, 300
    cut = np.zeros(200, bool)
    score, why = doubts(columns, cut)
    assert {int(k) for k in np.argsort(-score)[:3]} == {3, 7, 9}
    assert [why[k] for k in (3, 7, 9)] == ["large volume", "small fill", "small volume"]
    cut[9] = True
    assert doubts(columns, cut)[0][9] < 4
    assert doubts({"volume": np.full(3, np.nan)}, np.zeros(3, bool))[0].tolist() == [0, 0, 0]


def test_the_random_order_of_cells_does_not_depend_on_the_others():
    ids = np.arange(1, 500)
    order = ids[random_order(ids)]
    fewer = ids[ids % 3 > 0]
    assert np.array_equal(fewer[random_order(fewer)], order[order % 3 > 0])
    assert abs(np.corrcoef(order, ids)[0, 1]) < 0.2
    assert error_rate(0, 0) is None


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, 2])
def test_of_50_planted_errors_40_are_in_the_first_100_and_corrections_bring_the_scores_back(tmp_path, seed):
    """And an undo of all corrections gives the first labels, at all levels."""
    path, truth, errors = make(tmp_path, (64, 200, 200), 16.0, 13, seed=seed)
    errors_of_queue = found(bigcp3d.review(path, most=100, maps=tmp_path / "maps.zarr"), errors, truth)
    print(len(errors), "errors among", len(np.unique(truth)) - 1, "cells; in the first 100:", len(errors_of_queue))
    assert len(errors) >= 50
    assert len(errors_of_queue) >= 40
    with_errors, first = ap(path), Store(path).levels()
    correct(path, truth, errors)
    after = ap(path)
    print("AP", with_errors, "then", after)
    assert with_errors < 0.95
    assert after == 1.0
    Store(path).check()
    edits = bigcp3d.edit(path)
    edits.undo(len([change for change in edits.changes.active() if change.kind != "ids"]))
    assert [level.shape for level in first] == [(64, 200, 200), (32, 100, 100), (16, 50, 50)]
    assert all(np.array_equal(one, other) for one, other in zip(first, Store(path).levels(), strict=True))
    assert ap(path) == with_errors
