"""Takes the last update of labels back, or gives up an update that was not finished.

The voxels are written first, then the attributes say that the update is undone, and then what was kept goes. The same
call again carries on after a crash at any moment. `bigcp3d.schedule.update_files` has the files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bigcp3d.edge.labels.label_plan import LabelTarget
from bigcp3d.edge.labels.labels_to_update import find_target, identify, note_update, updates_of
from bigcp3d.errors import InputError, LossError, TargetError
from bigcp3d.schedule.measure import warn_of_old_table
from bigcp3d.schedule.running.events import Observer
from bigcp3d.schedule.running.lock import find_locks, hold_locks
from bigcp3d.schedule.update_files import KeptRegion, UpdateFiles


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
    name: str = "cells",
    yes: bool = False,
    on_event: Observer | None = None,
) -> Undone:
    """Bring back a region as it was before the last `update`, or give up an update that was not finished.

    All voxels of the region come back, at all levels and time points, with their ids. The labels' attributes list the
    update as undone, and ids that it gave are not given again. Only the last update can be undone. An undo that was
    stopped is carried on by the same call.

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
        If there are no such labels, or nothing to undo.
    TargetError
        If the labels were replaced since, or updated from another computer or folder.
    LossError
        If the region was changed since and ``yes`` is False.

    Examples
    --------
    >>> bigcp3d.undo_update("tissue.zarr").changed
    True
    """
    target = find_target(source, output, name)
    files = UpdateFiles(target)
    with hold_locks(find_locks(files.home, target)):
        files.finish_ended()
        if files.asked.exists():
            return _give_up(target, files)
        kept = KeptRegion.read(files.undo)
        if kept is None:
            raise InputError(
                f"{target.path}: found no update to undo in {files.undo}; an update can be undone once, where it was "
                "made, until another one follows. If the store was moved or renamed since, give the folder "
                f"{files.home.parent.name} the name that goes with it"
            )
        _check_undo(target, kept, yes=yes)
        kept.undoing.touch()
        _bring_back(target, kept)
        warn_of_old_table(target, on_event or (lambda event: None))
        kept.drop()
    return Undone(str(target.path), unfinished=False, changed=True, edited=kept.edited)


def _give_up(target: LabelTarget, files: UpdateFiles) -> Undone:
    """End an update that was not finished."""
    kept = KeptRegion.read(files.before)
    changed = kept is not None and kept.labels == identify(target)
    if kept is not None and changed:
        _bring_back(target, kept)
    files.give_up()
    return Undone(str(target.path), unfinished=True, changed=changed, edited=kept is not None and kept.edited)


def _bring_back(target: LabelTarget, kept: KeptRegion) -> None:
    """Write back the voxels, then mark the update as undone; may be repeated."""
    kept.bring_back(target)
    for entry in updates_of(target):
        if entry.get("id") == kept.id:
            note_update(target, {**entry, "undone": True})


def _check_undo(target: LabelTarget, kept: KeptRegion, *, yes: bool) -> None:
    """Refuse an undo that would change other labels than those of the update."""
    if kept.labels != identify(target):
        raise TargetError(
            f"{target.path}: these labels were replaced since the update, so it cannot be undone; remove {kept.folder}"
        )
    done = [entry.get("id") for entry in updates_of(target) if not entry.get("undone")]
    if kept.undoing.exists():
        return
    if done[-1:] != [kept.id]:
        raise TargetError(
            f"{target.path}: these labels were updated since from another computer or folder; undo that update there "
            f"first. {kept.folder} keeps the region as it was before this one"
        )
    if not yes and not kept.is_as_after(target):
        raise LossError(
            f"{target.path}: the region was changed since the update, perhaps by hand; nothing was brought back. --yes "
            "brings it back all the same, and those changes are lost"
        )
