"""Kill a run at random, carry it on, kill it again: ``python -m tests.benchmarks.kill_rounds --rounds 200``.

Each chain is one run on a small volume, with the network in the loop, started again and again by the same call until it
ends. In a round a victim dies by SIGKILL at a random moment: the process of a serial run; on Dask a worker, the client
(whose process holds the scheduler), or all processes at once; or a worker is frozen for a while. Then, for every chain:

- the labels equal those of an undisturbed run, element by element;
- no record that was there is written again, so no finished task was computed again;
- tasks that began, over all attempts, are at most all tasks and those that were in flight at the kills.

Runs are forked from this process, which has imported everything and otherwise does nothing, so a round is cheap.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch  # noqa: F401 - here, so that no forked process pays for it

import bigcp3d
import bigcp3d.schedule.clusters.connect
import bigcp3d.schedule.running.distribute
import bigcp3d.schedule.segment
from bigcp3d.pure.in_memory import label_maps
from bigcp3d.schedule.running.events import Event
from tests.schedule.conftest import read_labels, save_random_model, tissue_values, write_image
from tests.task_rows import TaskRows

WORKERS = 2
BLOCK = (12, 30, 26)
VICTIMS = {"serial": ["process"], "dask": ["worker", "client", "all", "frozen worker"]}


def fork(task: Callable[[], object], errors: Path) -> int:
    """Do something in a forked process, the leader of a group; its number."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1), os.dup2(os.open(errors, os.O_CREAT | os.O_WRONLY | os.O_APPEND), 2)
        task()
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(code)


def done_within(task: Callable[[], object], errors: Path) -> None:
    """Do something in a forked process and wait for it."""
    _, status = os.waitpid(fork(task, errors), 0)
    if status:
        raise RuntimeError(errors.read_text())


class Chain:
    """One run that is killed until it ends.

    Attributes
    ----------
    kills : Counter
        Rounds by victim.
    in_flight, tasks, again : int
        The most tasks that may have been in flight at the kills; tasks of the run; those that began once more.
    """

    def __init__(self, folder: Path, store: Path, model: Path, executor: str, settings: dict[str, Any]) -> None:
        self.folder, self.store, self.executor = folder, store, executor
        self.work, self.output = folder / "work", folder / "out.zarr"
        self.settings = {"model": str(model), "diameter_um": "as-is", "block": BLOCK, "min_volume": 2, **settings}
        self.settings |= {"executor": executor, "output": self.output, "work_dir": self.work}
        if executor == "dask":
            self.settings |= {"workers": WORKERS, "memory_limit": "2GiB"}
        self.kills: Counter[str] = Counter()
        self.in_flight = self.tasks = self.again = 0
        folder.mkdir(parents=True)

    def segment(self) -> None:
        """In the forked process: the run; when it ends, its tasks go to a file."""
        started = time.time()
        bigcp3d.segment(self.store, **self.settings, on_event=self.note)
        began = json.loads((self.folder / "began.json").read_text())
        now = sum(each >= started for each in began)
        (self.folder / "end.json").write_text(json.dumps({"now": now, "tasks": len(began)}))

    def note(self, event: Event) -> None:
        """Keep when the tasks began: an attempt after the last event of labels does not learn it."""
        rows = TaskRows()
        rows.look(event)
        if rows:
            (self.folder / "began.json").write_text(json.dumps([row.began for row in rows]))

    def records(self) -> dict[Path, bytes]:
        """Records that are there, with what they say."""
        found = {}
        for folder, _, names in os.walk(self.work):  # which, as the run may clean up meanwhile, passes over errors
            if "/records/" in folder:
                for path in (Path(folder) / name for name in names if name.endswith(".json")):
                    with suppress(FileNotFoundError):
                        found[path] = path.read_bytes()
        return found

    def begun(self) -> int:
        """Tasks that began in attempts whose logs are there."""
        number = 0
        for folder, _, names in os.walk(self.work / "logs"):
            for name in names:
                with suppress(FileNotFoundError):
                    number += (Path(folder) / name).read_text().count(": begins\n")
        return number

    def run(self, rng: random.Random, usual_s: float) -> list[str]:
        """Kill and carry on until the run ends; what went wrong."""
        wrong, seen = [], 0
        while True:
            before, pid = self.records(), fork(self.segment, self.folder / "errors.txt")
            victim = rng.choice(VICTIMS[self.executor])
            over = self.wait(pid, rng, usual_s, len(before))
            if over is None:
                over = self.strike(pid, victim)
            after = self.records()
            wrong += [f"written again: {path}" for path in before if path in after and after[path] != before[path]]
            if over and not os.WIFSIGNALED(over) and self.had_ended():
                return wrong
            if over is not None and over != 0 and not os.WIFSIGNALED(over):
                wrong.append(f"ended by itself with status {over}: {(self.folder / 'errors.txt').read_text()}")
                return wrong
            if over == 0:
                end = json.loads((self.folder / "end.json").read_text())
                extra = max(0, seen + end["now"] - end["tasks"])  # fewer: killed while logs were removed
                if extra > self.in_flight:
                    wrong.append(f"{extra} tasks were computed again, with {self.in_flight} in flight at the kills")
                self.again, self.tasks = extra, end["tasks"]
                return wrong
            seen = max(seen, self.begun())

    def had_ended(self) -> bool:
        """Whether an attempt was killed after it had finished the labels and emptied its work directory."""
        said = (self.folder / "errors.txt").read_text()
        return "there are labels of that name" in said and not (self.work / "plan.json").exists()

    def wait(self, pid: int, rng: random.Random, usual_s: float, records: int) -> int | None:
        """Until a random moment: some time, or some records more; the exit status where the run ends before."""
        until, more = time.monotonic() + rng.uniform(0.02, usual_s), rng.randint(1, 40)
        by_time = rng.random() < 0.5
        while time.monotonic() < until if by_time else len(self.records()) < records + more:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return status
            time.sleep(0.01)
        return None

    def strike(self, pid: int, victim: str) -> int | None:
        """Kill; the exit status of the run, which goes on where only a worker was hit."""
        workers = []
        if self.executor == "dask":
            try:
                children = psutil.Process(pid).children()
                workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
            except psutil.Error:
                pass
        if "worker" in victim and not workers:
            victim = "client"
        self.kills[victim] += 1
        self.in_flight += WORKERS if self.executor == "dask" else 1
        if victim in ("process", "client"):
            os.kill(pid, signal.SIGKILL)
        elif victim == "all":
            os.killpg(pid, signal.SIGKILL)
        else:
            hit = random.choice(workers)
            hit.send_signal(signal.SIGKILL if victim == "worker" else signal.SIGSTOP)
            if victim == "frozen worker":
                time.sleep(1.0)
                hit.send_signal(signal.SIGCONT)
        return os.waitpid(pid, 0)[1]


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run chains until there were enough rounds; print what was found, and end with 1 where anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dask", type=float, default=0.25, help="share of chains on Dask")
    asked = parser.parse_args(arguments)
    rng, folder = random.Random(asked.seed), Path(tempfile.mkdtemp(prefix="kill_rounds_"))
    store, model, errors = folder / "image.zarr", folder / "random.safetensors", folder / "errors.txt"
    label_maps(np.zeros((4, 8, 8, 8), np.int8), 3.0)  # compiled once, here
    done_within(lambda: (write_image(store, tissue_values()), save_random_model(model)), errors)
    forms: list[dict[str, Any]] = [{}, {"max_flow_error": 2.0}]
    expected: dict[int, Path] = {}
    usual_s = 0.0
    rounds: Counter[str] = Counter()
    found: dict[str, Any] = {"chains": 0, "tasks": 0, "computed again": 0, "in flight at kills": 0, "wrong": []}
    while sum(rounds.values()) < asked.rounds:
        executor = "dask" if rng.random() < asked.dask else "serial"
        i = rng.randrange(len(forms))
        if i not in expected:
            whole, began = Chain(folder / f"whole{i}", store, model, "serial", forms[i]), time.monotonic()
            done_within(whole.segment, errors)
            usual_s, expected[i] = time.monotonic() - began, whole.output
        chain = Chain(folder / f"chain{found['chains']}", store, model, executor, forms[i])
        found["wrong"] += chain.run(rng, usual_s + (4.0 if executor == "dask" else 0.0))
        done_within(lambda chain=chain, i=i: compare(chain.output, expected[i]), errors)
        rounds += chain.kills
        found["chains"] += 1
        found["tasks"] += chain.tasks
        found["computed again"] += chain.again
        found["in flight at kills"] += chain.in_flight
        shutil.rmtree(chain.folder)
        print(found["chains"], dict(rounds), found["wrong"], file=sys.stderr)
        if found["wrong"]:
            break
    found["rounds"] = dict(rounds)
    shutil.rmtree(folder)
    print(json.dumps(found))
    return found


def compare(output: Path, expected: Path) -> None:
    """Raise unless two stores have the same labels."""
    labels, whole = read_labels(output, "cells"), read_labels(expected, "cells")
    if labels.max() < 50 or not np.array_equal(labels, whole):
        raise AssertionError(f"{np.count_nonzero(labels != whole)} voxels differ")


if __name__ == "__main__":
    sys.exit(1 if main()["wrong"] else 0)
