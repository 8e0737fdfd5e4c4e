"""Makes the changes of a log again, on labels of the same image that were made anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.labels.edit_log import Change, EditLog, read_log
from bigcp3d.edge.labels.labels import read_label_box
from bigcp3d.edge.stores.places import place, same_place
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box, vec3
from bigcp3d.schedule.edits.edit import Edits

VOLUMES = (0.5, 2.0)
"""Volume of a cell that is found again, over that of the cell in the log."""


def replay_edits(edits: Edits, log_file: str | Path) -> list[tuple[Change, Change | str]]:
    """Repeat the changes of another log, on new labels of the same image.

    The log notes a voxel deep inside each cell. The cell at this voxel in the new labels is taken for the same cell if
    it has between half and twice the earlier volume.

    Parameters
    ----------
    edits : Edits
        The labels to change (`bigcp3d.edit`).
    log_file : str or Path
        The file ``edits/log.jsonl`` of other labels, with the files beside it.

    Returns
    -------
    list of (Change, Change or str)
        Each change of the other log that was not taken back, with the new one, or why there is none.

    Raises
    ------
    InputError
        If there is no such log, or it is that of the same labels.

    Examples
    --------
    >>> import shutil
    >>> copy = shutil.copytree("tissue.zarr", "again.zarr")
    >>> edits = bigcp3d.edit("tissue.zarr")
    >>> edits.delete(4).kind
    'delete'
    >>> done = bigcp3d.replay_edits(bigcp3d.edit("again.zarr"), "tissue.zarr/labels/cells/edits/log.jsonl")
    >>> done[-1][1].kind
    'delete'
    """
    path = place(log_file)
    if not path.is_file():
        raise InputError(f"{path}: there is no log; give the file edits/log.jsonl in a folder of labels")
    other = EditLog(path.parent.parent)
    if same_place(other.folder, EditLog(edits.target.path).folder):
        raise InputError(f"{path}: this is the log of these labels themselves; give the log of other labels")
    undone = {change.of for change in read_log(path)}
    done: list[tuple[Change, Change | str]] = []
    for change in read_log(path):
        if change.number in undone or change.kind in ("undo", "ids"):
            continue
        try:
            done.append((change, _make_again(edits, other, change)))
        except InputError as error:
            done.append((change, str(error)))
    return done


def _make_again(edits: Edits, other: EditLog, change: Change) -> Change:
    given, time = change.given, change.time
    ids = [_find_again(edits, cell, time) for cell in change.cells]
    if len(set(ids)) < len(ids):
        raise InputError(f"it concerns {len(ids)} cells, but some of them are one cell in these labels")
    if change.kind == "merge":
        return edits.merge(*ids, time=time)
    if change.kind == "delete":
        return edits.delete(*ids, time=time)
    if change.kind == "split":
        how = {name: given[name] for name in ("parts", "seeds") if name in given}
        return edits.split(ids[0], **how, time=time)
    if change.kind == "add":
        start = vec3(given["at"] if "at" in given else given["start"])
        return edits.add(other.added(change.number), at=start, time=time)
    if change.kind == "paint":
        labels, new = _painted_again(other.added(change.number), change, ids)
        return edits.paint(labels, at=given["at"], new=new, time=time)
    if change.kind == "decision":
        more = {name: value for name, value in given.items() if name not in ("id", "decision")}
        return edits.decide(ids[0] if ids else 0, given["decision"], time=time, **more)
    if change.kind == "renumber":
        return edits.renumber()
    raise InputError(f"a change of the kind {change.kind} cannot be replayed; repeat its command")


def _painted_again(
    painted: NDArray[np.integer[Any]], change: Change, ids: list[int]
) -> tuple[NDArray[np.int64], list[int]]:
    """The voxels of a brush with the ids of here, and the numbers of new cells, which are no ids of here."""
    first, said = max([0, *ids]) + 1, change.given.get("new", [])
    new = list(range(first, first + len(said)))
    labels = painted.astype(np.int64)
    for old, number in [*zip((cell["id"] for cell in change.cells), ids, strict=True), *zip(said, new, strict=True)]:
        labels[painted == old] = number
    return labels, new


def _find_again(edits: Edits, cell: dict[str, Any], time: int) -> int:
    """The id of a cell of the log, here."""
    point = vec3(cell["point"])
    at = Box(point, vec3(p + 1 for p in point))
    if at.clip(edits.target.levels[0].shape) != at:
        raise InputError(f"the voxel {point} of its cell {cell['id']} lies outside this volume")
    found = int(read_label_box(edits.target, 0, at, time=time)[0, 0, 0])
    if not found:
        raise InputError(f"there is no cell at {point}, where its cell {cell['id']} was")
    volume = edits.volume(found, time=time, near=at)
    if not VOLUMES[0] * cell["volume_vox"] <= volume <= VOLUMES[1] * cell["volume_vox"]:
        raise InputError(
            f"the cell at {point} has {volume} voxels, but its cell {cell['id']} had {cell['volume_vox']}, so it is "
            "a different cell"
        )
    return found
