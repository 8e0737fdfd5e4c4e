"""What runs have left beside a store: unfinished work, and maps that were kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bigcp3d.errors import InputError
from bigcp3d.schedule.planning.find_kept_maps import default_work_dir
from bigcp3d.work.plan.plan import Plan, read_plan
from bigcp3d.work.run.work_dir import find_work_dirs


@dataclass(frozen=True)
class Leftover:
    """One work directory.

    ``name`` is that of the labels; ``finished``: they are written, and only maps were kept. ``plan`` is None where it
    cannot be read, which ``problem`` explains. ``records`` counts finished tasks by pass, over all time points.
    """

    path: Path
    name: str
    finished: bool
    plan: Plan | None
    records: dict[str, int]
    problem: str = ""

    def describe(self) -> str:
        """A line for people."""
        if self.plan is None:
            return self.problem
        if self.finished:
            return f"{self.path}: kept maps of labels {self.name!r}; a run that would predict the same takes them"
        blocks = len(self.plan.grid) * len(self.plan.where.times)
        done = ", ".join(f"{name} {count}" for name, count in self.records.items()) or "nothing"
        return (
            f"{self.path}: unfinished run of labels {self.name!r}, {blocks} block(s); recorded: {done}; the command "
            "that began it carries on"
        )


def find_leftovers(store: str | Path) -> Iterator[Leftover]:
    """Work directories of runs on a store, where they are by default."""
    for work in find_work_dirs(default_work_dir(str(store), "x").parent):
        try:
            plan, problem = read_plan(work.root), ""
        except InputError as error:
            plan, problem = None, str(error)
        records = Counter(path.parent.name for path in sorted(work.root.glob("t*/records/*/*.json")))
        yield Leftover(work.root, work.root.name, work.finished.exists(), plan, records, problem)
