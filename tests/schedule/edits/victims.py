"""Processes that correct labels until they are killed.

`start_victims` runs in a process that has imported everything. For each seed that comes over its connection it forks a
victim. The victim first sends its process number. Then it makes random corrections, and sends a line before each.
"""

from __future__ import annotations

import os
import random
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

import bigcp3d
import bigcp3d.schedule.edits.edit
import bigcp3d.work.analyse.edited_rows
from bigcp3d.errors import InputError
from tests.schedule.edits.conftest import SHAPE, Store

KINDS = ("merge", "split", "delete", "add", "undo")


def correct_at_random(store: Store, rng: random.Random, told: Connection) -> None:
    """One correction; `InputError` where these cells cannot be corrected so."""
    edits = bigcp3d.edit(store.path)
    cells = [int(cell) for cell in np.unique(store.levels()[0]) if cell]
    kind = "add" if len(cells) < 4 else rng.choice(KINDS)
    told.send(kind)
    if kind == "merge":
        edits.merge(*rng.sample(cells, 2))
    elif kind == "split":
        edits.split(rng.choice(cells), parts=2)
    elif kind == "delete":
        edits.delete(rng.choice(cells))
    elif kind == "add":
        edits.add(np.ones((5, 5, 5), bool), at=[rng.randrange(side - 5) for side in SHAPE])
    else:
        edits.undo()


def be_a_victim(store: Store, seed: int, told: Connection) -> None:
    """Correct until killed; ends by itself only after an error, which is sent."""
    told.send(str(os.getpid()))
    rng = random.Random(seed)
    while True:
        try:
            correct_at_random(store, rng, told)
        except InputError:
            continue
        except BaseException:
            told.send(f"error {traceback.format_exc()}")
            os._exit(1)


def start_victims(path: Path, connection: Connection) -> None:
    """Fork one victim after the other, each when the one before is dead."""
    os.setsid()
    connection.send("begun")
    while True:
        seed = connection.recv()
        pid = os.fork()
        if not pid:
            be_a_victim(Store(path), seed, connection)
        os.waitpid(pid, 0)
        connection.send("dead")
