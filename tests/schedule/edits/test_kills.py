"""A process that corrects cells is killed at random moments; the next command finds all in order."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest

import bigcp3d
from bigcp3d.edge.labels.labels_to_update import target_of
from bigcp3d.work.change_labels import is_as_after
from tests.processes import PROCESSES
from tests.schedule.edits.conftest import Store
from tests.schedule.edits.victims import start_victims

LONGEST_S = 0.4
"""The latest moment of a kill after a correction began, in time of the processor; most corrections take less."""


SLOW = [pytest.mark.slow, pytest.mark.timeout(3600)]


class Victims:
    """Processes to kill, one after the other."""

    def __init__(self, path: Path) -> None:
        self.connection, theirs = PROCESSES.Pipe()
        self.source = PROCESSES.Process(target=start_victims, args=(path, theirs))
        self.source.start()
        theirs.close()
        assert self.line() == "begun"

    def line(self) -> str:
        line = self.connection.recv()
        assert not line.startswith("error"), line
        return line

    def kill_one(self, rng: random.Random) -> str:
        """Start one, wait for its first or second correction, and kill it; what it had begun last."""
        self.connection.send(rng.randrange(10**6))
        pid = int(self.line())
        for _ in range(rng.randint(1, 2)):
            begun = self.line()
        victim = psutil.Process(pid)
        until = victim.cpu_times().user + rng.uniform(0, LONGEST_S)
        while victim.cpu_times().user < until and victim.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.001)
        os.kill(pid, signal.SIGKILL)
        while (line := self.line()) != "dead":
            begun = line
        return begun

    def __enter__(self) -> Victims:
        return self

    def __exit__(self, *_) -> None:
        os.killpg(self.source.pid, signal.SIGKILL)  # the victim too
        self.source.join()
        self.connection.close()


def check_log(store: Store) -> int:
    """The log is whole, its last change is what the voxels say, and no cell has an id that it does not know."""
    edits = bigcp3d.edit(store.path)
    lines, folder = edits.log(), edits.changes.folder
    assert [line.number for line in lines] == [*range(1, len(lines) + 1)]
    kept, needed = {int(path.stem) for path in folder.glob("*.zip")}, {c.number for c in lines if c.has_voxels}
    assert kept >= needed
    assert not kept - needed - {len(lines) + 1}, "one may be left of a change that had not begun; the next removes it"
    assert not (folder / "pending.json").exists()
    assert is_as_after(target_of(edits.labels), edits.changes, edits.changes.active()[-1])
    assert store.levels()[0].max() <= lines[-1].largest_id
    return len(lines)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="victims are forked")
@pytest.mark.parametrize(("seed", "rounds"), [(18, 3), *(pytest.param(s, 25, marks=SLOW) for s in range(4))])
def test_labels_pyramid_table_and_log_agree_after_kills_at_random_moments(store, seed, rounds):
    first, rng = store.levels(), random.Random(seed)
    bigcp3d.edit(store.path).add(np.ones((2, 2, 2), bool), at=(0, 0, 0))  # all ids are read, once
    killed, in_the_middle, lines = Counter(), Counter(), 1
    with Victims(store.path) as victims:
        for _ in range(rounds):
            kind = victims.kill_one(rng)
            killed[kind] += 1
            if bigcp3d.edit(store.path).settle() is not None:
                in_the_middle[kind] += 1
            store.check()
            before, lines = lines, check_log(store)
            assert lines >= before
            print(killed.total(), "kills", in_the_middle.total(), "in the middle of a change", flush=True)
    edits = bigcp3d.edit(store.path)
    if left := [change for change in edits.changes.active() if change.kind != "ids"]:
        edits.undo(len(left))
    assert all(np.array_equal(a, b) for a, b in zip(first, store.levels(), strict=True))
    store.check()
    counts = {"kills": rounds, "by kind": killed, "in the middle of a change": in_the_middle, "lines": lines}
    print(json.dumps(counts))
