"""Processes that correct labels until they are killed: ``python -m tests.schedule.edits.victims STORE``.

Each line of the input is the seed of one victim. A victim is a fork of this process, which has imported everything, and
its first line of the output is its process number. Then it makes random corrections, and prints a line before each.
"""

from __future__ import annotations

import os
import random
import sys
import traceback
from pathlib import Path

import numpy as np

import bigcp3d
import bigcp3d.schedule.edits.edit
import bigcp3d.work.analyse.edited_rows
from bigcp3d.errors import InputError
from tests.schedule.edits.conftest import SHAPE, Store

KINDS = ("merge", "split", "delete", "add", "undo")


def correct_at_random(store: Store, rng: random.Random) -> None:
    """One correction; `InputError` where these cells cannot be corrected so."""
    edits = bigcp3d.edit(store.path)
    cells = [int(cell) for cell in np.unique(store.levels()[0]) if cell]
    kind = "add" if len(cells) < 4 else rng.choice(KINDS)
    print(kind, flush=True)
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


def be_a_victim(store: Store, seed: int) -> None:
    """Correct until killed; ends by itself only after an error, which is printed."""
    print(os.getpid(), flush=True)
    rng = random.Random(seed)
    while True:
        try:
            correct_at_random(store, rng)
        except InputError:
            continue
        except BaseException:
            print("error", traceback.format_exc().replace("\n", " | "), flush=True)
            os._exit(1)


def main() -> None:
    """Fork one victim after the other."""
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            be_a_victim(Store(Path(sys.argv[1])), int(line))
        os.waitpid(pid, 0)
        print("dead", flush=True)


if __name__ == "__main__":
    main()
