"""What runs have left beside a store: unfinished work, and maps that were kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bigcp3d.schedule.planning.find_kept_maps import default_work_dir
from bigcp3d.work.plan.plan import Plan


@dataclass(frozen=True)
class Leftover:
    """One work directory.

    Attributes
    ----------
    path : Path
    name : str
        Of the labels that the run makes or made.
    finished : bool
        Whether the labels are written, and only maps were kept.
    plan : Plan or None
        None where it cannot be read.
    records : dict of str to int
        Tasks that are recorded, by pass, over all time points.
    """

    path: Path
    name: str
    finished: bool
    plan: Plan | None
    records: dict[str, int]

    def describe(self) -> str:
        """A line for people."""
        if self.plan is None:
            return f"{self.path}: its plan cannot be read (another version?); remove it, or give another --work-dir"
        if self.finished:
            return f"{self.path}: kept maps of labels {self.name!r}; a run that would predict the same takes them"
        blocks = len(self.plan.grid) * len(self.plan.times)
        done = ", ".join(f"{name} {count}" for name, count in self.records.items()) or "nothing"
        return (
            f"{self.path}: unfinished run of labels {self.name!r}, {blocks} block(s); recorded: {done}; the command "
            "that began it carries on"
        )


def find_leftovers(store: str | Path) -> Iterator[Leftover]:
    """Work directories of runs on a store, where they are by default."""
    for path in sorted(default_work_dir(str(store), "x").parent.glob("*/plan.json")):
        root = path.parent
        try:
            plan: Plan | None = Plan.model_validate_json(path.read_bytes())
        except (ValueError, OSError):
            plan = None
        folders = sorted(folder for folder in root.glob("t*/records/*") if folder.is_dir())
        records: dict[str, int] = {}
        for folder in folders:
            records[folder.name] = records.get(folder.name, 0) + sum(1 for _ in folder.glob("*.json"))
        yield Leftover(root, root.name, (root / "finished").exists(), plan, records)
