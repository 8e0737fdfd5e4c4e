"""Takes the last update of labels back, or gives up an update that was not finished.

An update is a change in the log of the labels, so this is one step of `bigcp3d.schedule.edits.edit.Edits.undo`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bigcp3d.edge.labels.default_name import DEFAULT_NAME
from bigcp3d.edge.labels.labels_to_update import find_target
from bigcp3d.errors import InputError
from bigcp3d.schedule.edits.correction import Corrector
from bigcp3d.schedule.measure import warn_of_old_table
from bigcp3d.schedule.running.events import Observer
from bigcp3d.schedule.running.lock import find_locks, hold_locks
from bigcp3d.schedule.update_files import UpdateFiles
from bigcp3d.work.change_labels import settle


@dataclass(frozen=True)
class Undone:
    """What `undo_update` brought back.

    Attributes
    ----------
    labels : str
        Path of the labels group.
    unfinished : bool
        Whether the update had not ended, and was given up.
    changed : bool
        Whether voxels had to be brought back. An update that is given up may not have changed any.
    edited : bool
        Whether the update followed a correction by hand. Then the coarser levels are as before it, and level 0 is as
        corrected, since nobody kept what was there before.
    """

    labels: str
    unfinished: bool
    changed: bool
    edited: bool


def undo_update(
    source: str | Path,
    *,
    output: str | Path | None = None,
    name: str = DEFAULT_NAME,
    yes: bool = False,
    on_event: Observer | None = None,
) -> Undone:
    """Bring back a region as it was before the last `update`, or give up an update that was not finished.

    All voxels of the region come back, at all levels and time points, with their ids. The log keeps the
    update and its undo, and ids that it gave are not given again. Repeat the call for the update before. An undo that
    was stopped is finished by the next command that changes the labels.

    Parameters
    ----------
    source : str or Path
        The image.
    output : str or Path, optional
        The store of the labels, as for `update`.
    name : str, default "cells"
        Name of the labels.
    yes : bool, default False
        Go on even if somebody has changed the region since the update.
    on_event : callable, optional
        Receives a warning if a table describes the labels before the undo.

    Returns
    -------
    Undone

    Raises
    ------
    InputError
        If there are no such labels, no update to undo, or corrections of single cells since.
    TargetError
        If somebody else is changing the labels.
    LossError
        If the region was changed since and ``yes`` is False.

    Examples
    --------
    >>> bigcp3d.undo_update("tissue.zarr").changed
    True
    """
    target = find_target(source, output, name)
    files, labels = UpdateFiles(target), Corrector(str(target.path), "")
    with hold_locks(find_locks(files.home, target)) as held, labels.changes.confirmed_by(held.confirm):
        complete = files.is_complete(labels.changes)
        stopped = settle(target, labels.changes)
        if complete:
            files.end()
        files.finish_ended()
        if files.asked.exists():
            files.give_up()
            changed = stopped is not None and stopped.kind == "update"
            edited = stopped is not None and bool(stopped.given.get("edited"))
            return Undone(str(target.path), unfinished=True, changed=changed, edited=edited)
        done = labels.changes.undoable()
        if not done or done[-1].kind != "update":
            last = f"; the last change is a {done[-1].kind}; to undo it: bigcp3d edit STORE undo" if done else ""
            raise InputError(f"{target.path}: there is no update to undo{last}")
        labels.take_back(done[-1], yes=yes)
        warn_of_old_table(target, on_event or (lambda event: None))
    return Undone(str(target.path), unfinished=False, changed=True, edited=bool(done[-1].given.get("edited")))
