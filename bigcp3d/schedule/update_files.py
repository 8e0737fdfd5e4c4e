"""The files of an update while it is worked out. What it changes is in the log (`bigcp3d.edge.labels.edit_log`).

::

    <store>.bigcp3d/<name>.update/asked.json     the settings; other settings are refused until this update has ended
                                  decided        what changes is known; other settings may begin anew
                                  ended.json     the update has ended, and the folder must be emptied
                                  found.zarr     the region, segmented again
                                  <time>.table   which cells stay, come and go
                                  lock.json
    <store>.bigcp3d/<name>.update-run            work directory of the run that segments the region

Each step ends with one file that appears, is renamed or goes. So a crash leaves the state before a step or after it.
"""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

from bigcp3d.edge.labels.edit_log import EditLog
from bigcp3d.edge.labels.label_plan import LabelTarget
from bigcp3d.edge.stores import platforms
from bigcp3d.edge.stores.atomic_files import write_json
from bigcp3d.edge.workdir import tables
from bigcp3d.edge.workdir.lock_file import LOCK
from bigcp3d.errors import TargetError
from bigcp3d.work.run.work_dir import default_work_dir

log = logging.getLogger(__name__)

SUFFIX = ".update"
"""Of the folder of an update, after the name of the labels."""
ASKED, DECIDED = "asked.json", "decided"


class UpdateFiles:
    """Paths of an update of some labels, and the steps from one state to the next."""

    def __init__(self, target: LabelTarget) -> None:
        self.home = default_work_dir(target.group, f"{target.name}{SUFFIX}")
        self.run = self.home.with_name(f"{target.name}.update-run")
        self.found = self.home / "found.zarr"
        self.asked, self.ended, self.decided = (self.home / name for name in (ASKED, "ended.json", DECIDED))

    def decision(self, time: int) -> Path:
        """The table that says which cells change."""
        return self.home / f"{time}{tables.SUFFIX}"

    def begin(self, asked: dict[str, Any], labels: str) -> None:
        """Write down the settings and the labels. Refuses an unfinished update that this one would disturb."""
        self.finish_ended()
        now = _as_json(asked, labels)
        if self.asked.exists():
            then = json.loads(self.asked.read_bytes())
            if then["labels"] != labels:
                log.warning("%s: removing an unfinished update, because its labels were replaced since", self.home)
                self.give_up()
            elif then != now and self.decided.exists():
                self.give_up()  # a dry run, or an update that was not wanted
            elif then != now:
                changed = [
                    f"{name}: {then.get(name)} then, {now[name]} now" for name in now if then.get(name) != now[name]
                ]
                raise TargetError(
                    f"{self.home} holds an unfinished update with other settings ({'; '.join(changed)}); repeat the "
                    "command that began it, which completes the labels, or discard it with --undo"
                )
        write_json(self.asked, now)

    def was_asked(self, asked: dict[str, Any], labels: str) -> bool:
        """Whether the update that lies here has these settings and labels."""
        return bool(json.loads(self.asked.read_bytes()) == _as_json(asked, labels))

    def is_complete(self, log: EditLog) -> bool:
        """Whether the update that lies here was stopped when its change of the labels counted already."""
        pending = log.pending()
        return self.asked.exists() and pending is not None and pending.kind == "update" and log.counts(pending)

    def finish_ended(self) -> None:
        """Finish the cleaning of an update that has ended, and was stopped while it cleaned up."""
        if self.ended.exists():
            self._clear()

    def end(self) -> None:
        """The update has ended: remove all files of it."""
        platforms.patiently(self.asked.replace, self.ended)
        self._clear()

    def give_up(self) -> None:
        """Remove all of an update that has changed no label."""
        shutil.rmtree(self.run, ignore_errors=True)
        self.end()

    def _clear(self) -> None:
        """Remove the files of an update that has ended, and last the mark that it has."""
        leftovers = [path for path in self.home.iterdir() if path != self.ended and not path.name.startswith(LOCK)]
        for leftover in [*leftovers, self.ended]:
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def _as_json(asked: dict[str, Any], labels: str) -> Any:
    return json.loads(json.dumps({**asked, "labels": labels}, default=str))
