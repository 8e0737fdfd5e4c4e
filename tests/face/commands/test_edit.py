"""``bigcp3d edit``: each action from the command line, what it prints, and what it refuses."""

from __future__ import annotations

import json
import shlex
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from bigcp3d.face.cli import app
from bigcp3d.schedule.running.status import find_updates
from tests.schedule.edits.conftest import Store, ball_labels, make_balls, write_labels


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("balls") / "balls.zarr"
    make_balls(path)
    return path


@pytest.fixture
def store(made, tmp_path):
    shutil.copytree(made, tmp_path / "balls.zarr")
    return Store(tmp_path / "balls.zarr")


def run(*words):
    return CliRunner().invoke(app, ["edit", *map(str, words)])


def test_every_action_says_what_it_did(store, tmp_path):
    first, path = store.levels(), store.path
    done = run(path, "merge", 1, 2)
    assert done.stdout == "change 1: merge of 1, 2\n"
    assert "the table in the store lacks 1 change; to write it again: bigcp3d edit" in done.stderr
    assert "split of 1; new: 8" in run(path, "split", 1, "--parts", 2).stdout
    assert "split of 4; new: 9" in run(path, "split", 4, "--seed", "12,30,31", "--seed", "12,30,41").stdout
    assert "delete of 3" in run(path, "delete", 3).stdout
    np.save(tmp_path / "cell.npy", np.ones((3, 3, 3), np.uint8))
    added = json.loads(run(path, "add", tmp_path / "cell.npy", "--at", "0,40,0", "--json").stdout)
    assert (added["kind"], added["made"][0]["id"]) == ("add", 10)
    log = run(path, "log").stdout.splitlines()
    assert [line.split(" ")[2].strip(";") for line in log] == ["merge", "ids", "split", "split", "delete", "add"]
    done = run(path, "undo", 5)
    assert done.stdout.count("taken back: ") == 5
    assert run(path, "log").stdout.count("; taken back by change ") == 5
    assert "bigcp3d edit" in done.stderr
    assert all(np.array_equal(a, b) for a, b in zip(first, store.levels(), strict=True))
    assert "6 rows in its table" in run(path, "table").stdout
    assert "nothing had to be repaired" in run(path, "settle").stdout
    assert "behind" not in run(path, "log").stderr


def test_it_tells_which_labels_it_took_and_that_a_table_beside_the_store_is_old(store):
    assert "using the labels" not in run(store.path, "log").stderr
    write_labels(store.path, ball_labels(), name="best")
    file = store.path.parent / "balls.cells.csv"
    CliRunner().invoke(app, ["measure", str(store.path), "--output", str(file)])
    done = run(store.path, "delete", 3)
    assert "using the labels 'cells'; for others (best), give --name" in done.stderr
    words = shlex.split(done.stderr[done.stderr.index("bigcp3d measure") :])
    assert (words[0], words[-1]) == ("bigcp3d", "--overwrite")
    assert str(file) not in run(store.path, "delete", 4, "--name", "best").stderr
    assert CliRunner().invoke(app, words[1:]).exit_code == 0
    assert str(file) not in run(store.path, "log").stderr
    assert len(file.read_text().splitlines()) == 6


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("paint", 1), "use one of merge"),
        (("merge", "one", 2), "give whole numbers"),
        (("split", 1, 2), "split takes one id; given: 1 2"),
        (("merge", 1), "merge takes two or more ids; given: 1"),
        (("delete",), "delete takes one or more ids; given: nothing"),
        (("renumber", 12), "renumber takes no ids; given: 12"),
        (("log", 1), "log takes no ids"),
        (("settle", 1), "settle takes no ids"),
        (("settle", "--json"), "settle takes no --json"),
        (("undo", 1, 2), "undo takes one number, or none; given: 1 2"),
        (("undo", "--time", 1), "undo takes no --time"),
        (("renumber", "--parts", 2, "--yes"), "renumber takes no --parts and no --yes"),
        (("split", 1, "--seed", "1,2"), "Z,Y,X"),
        (("delete", 1, "--parts", 2), "delete takes no --parts"),
        (("merge", 1, 2, "--seed", "1,2,3"), "merge takes no --seed"),
        (("add", "nothing.npy", "--at", "0,0,0"), "no .npy file"),
        (("add",), "or one --seed"),
        (("undo", 4), "there are only 0"),
        (("replay", "nothing.jsonl"), "there is no log"),
        (("table", 1), "takes no ids"),
    ],
)
def test_what_cannot_be_understood_is_refused(store, words, told):
    done = run(store.path, *words)
    assert store.path.joinpath("labels/cells/edits").exists() is False
    assert done.exit_code == 2
    assert told in done.stderr


def test_a_change_that_was_stopped_is_told_by_status(store, monkeypatch):
    from bigcp3d.edge.labels.edit_log import EditLog

    with monkeypatch.context() as patch:
        patch.setattr(EditLog, "commit", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        run(store.path, "delete", 1)
    assert find_updates(store.path) == [
        "labels 'cells': delete was stopped; 'bigcp3d edit STORE settle' repairs the labels, and so does any change"
    ]
    assert "repaired: delete of 1" in run(store.path, "settle").stdout
    assert find_updates(store.path) == []
