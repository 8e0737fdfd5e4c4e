"""The log of changes to finished labels, and the voxels as they were before each of them.

::

    <labels>/edits/log.jsonl       one line for each change, oldest first; lines are only added
    <labels>/edits/<number>.zip    the old voxels of a change: each file in it holds one box
    <labels>/edits/pending.json    the change that is being made, as its line will be

Invariant: a change counts from the moment when its line is in the log. Before a voxel changes, the zip file and then
``pending.json`` are written. So whatever stops a change, `bigcp3d.work.change_labels.settle` can finish it or take it
back.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.stores import platforms
from bigcp3d.edge.stores.atomic_files import sync_file, write_atomically, write_bytes
from bigcp3d.edge.stores.places import Place, place
from bigcp3d.edge.stores.platforms import join_words
from bigcp3d.edge.stores.remote import Remote
from bigcp3d.edge.stores.zarr_write import plain_json, writing
from bigcp3d.edge.workdir.tables import DAMAGED
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box, vec3

FOLDER = "edits"
LOG = "log.jsonl"
ADDED = "added.npy"
MEMBER = re.compile(r"t(\d+)/(\d+)/(\d+)\.(\d+)\.(\d+)\.npy")

UNREADABLE = (*DAMAGED, OSError)
"""What may be raised when kept voxels are read."""

KeptBox = tuple[int, int, Box, NDArray[Any]]
"""Time point, level, box, and the voxels in it."""


@dataclass(frozen=True)
class Change:
    """A change to labels: one line of the log.

    Attributes
    ----------
    number : int
        1 for the first change. An undo has a number too.
    kind : str
        "merge", "split", "delete", "add", "paint", "renumber", "update", "undo", "decision" or "ids".
    who, when : str
        User and machine; UTC, ISO 8601.
    time : int
        The time point.
    given : dict
        What was asked for; of an update also its settings, and how many cells changed.
    cells : list of dict
        The cells as they were: ``id``, ``volume_vox``, ``box`` (start, stop) and ``point``, a voxel deep inside.
    made : list of dict
        The cells that came or got other voxels: ``id``, and ``box``.
    of : int or None
        The change that an undo takes back.
    largest_id : int
        The largest id that any cell had up to now. Ids up to it are not given again.
    after : str
        Sha256 of the changed boxes after the change: it shows whether somebody else has changed them since.
    """

    number: int
    kind: str
    who: str = ""
    when: str = ""
    time: int = 0
    given: dict[str, Any] = field(default_factory=dict)
    cells: list[dict[str, Any]] = field(default_factory=list)
    made: list[dict[str, Any]] = field(default_factory=list)
    of: int | None = None
    largest_id: int = 0
    after: str = ""

    def as_line(self) -> dict[str, Any]:
        """The change as JSON, without what is empty."""
        said = asdict(self)
        empty: tuple[Any, ...] = (None, "", {}, [])
        return dict(plain_json({name: value for name, value in said.items() if value not in empty}))

    @property
    def has_voxels(self) -> bool:
        """Whether voxels may have changed, and are kept."""
        return self.kind not in ("decision", "ids", "undo")


def who_and_when() -> tuple[str, str]:
    """The user, the machine and the time of now."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container without such a user
        user = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    return f"{user}@{socket.gethostname()}", datetime.now(UTC).isoformat(timespec="seconds")


class EditLog:
    """The log in the folder of a labels group."""

    def __init__(self, labels: Place) -> None:
        self.folder = labels / FOLDER
        self.path, self._pending = self.folder / LOG, self.folder / "pending.json"
        self._on_web = isinstance(labels, Remote) and labels.read_only  # where nobody can have corrected anything
        self._seen, self._changes = b"", list[Change]()
        self.confirm: Callable[[], None] = lambda: None

    def changes(self) -> list[Change]:
        """All changes, oldest first; none on a web server. A last line that was cut short does not count.

        Lines that were read before are not taken apart again.
        """
        lines = b"" if self._on_web else _whole_lines(self.path)
        if not lines.startswith(self._seen):  # other labels took the place of these
            self._seen, self._changes = b"", []
        self._changes += _read_lines(lines[len(self._seen) :], self.path, len(self._changes))
        self._seen = lines
        return list(self._changes)

    def active(self) -> list[Change]:
        """The changes that were not taken back."""
        changes = self.changes()
        undone = {change.of for change in changes}
        return [change for change in changes if change.kind != "undo" and change.number not in undone]

    def by_hand(self) -> list[Change]:
        """What somebody did: the active corrections and decisions of a review."""
        return [change for change in self.active() if change.kind not in ("update", "ids")]

    def undoable(self) -> list[Change]:
        """The changes that an undo takes back: the active ones that changed voxels, so no decisions of a review."""
        return [change for change in self.active() if change.has_voxels]

    def pending(self) -> Change | None:
        """The change that is being made, or was stopped."""
        if self._on_web:
            return None
        try:
            said = json.loads(self._pending.read_bytes())
        except FileNotFoundError:
            return None
        return Change(**said) if said else None

    def counts(self, change: Change) -> bool:
        """Whether the log has the line of a change."""
        return any(line.number == change.number for line in self.changes())

    @contextmanager
    def confirmed_by(self, confirm: Callable[[], None]) -> Iterator[None]:
        """Call ``confirm`` before a change begins, and before it counts. It raises if the labels' lock was lost."""
        self.confirm, before = confirm, self.confirm
        try:
            yield
        finally:
            self.confirm = before

    def begin(self, change: Change) -> None:
        """Say that a change begins. What it needs to be taken back is there."""
        self.confirm()
        self._write(self._pending, json.dumps(change.as_line()).encode())

    def commit(self, change: Change) -> None:
        """Add the line of a change. From now on it counts."""
        self.confirm()
        line = json.dumps(change.as_line()).encode() + b"\n"
        if not isinstance(self.path, Path):
            old = b"".join(json.dumps(each.as_line()).encode() + b"\n" for each in self.changes())
            self.path.write_bytes(old + line)
            return
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a+b") as file:
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)  # a line that was cut short
                file.write(line)
                file.flush()
                platforms.sync(file.fileno())
            sync_file(self.path)

    def end(self) -> None:
        """Nothing is being changed any more."""
        if isinstance(self._pending, Path):
            self._pending.unlink(missing_ok=True)
        else:
            self._pending.write_bytes(b"null")

    def keep(
        self,
        number: int,
        boxes: Iterable[KeptBox],
        notes: Mapping[str, Any] | None = None,
        cells: NDArray[Any] | None = None,
    ) -> None:
        """Keep voxels under the number of a change, one box at a time; ``notes`` as JSON; ``cells`` that were added."""

        def write(file: BinaryIO) -> None:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                archive.writestr("notes.json", json.dumps(plain_json(notes or {})))
                if cells is not None:
                    _write_member(archive, ADDED, cells)
                for time, level, box, voxels in boxes:
                    _write_member(archive, f"t{time}/{level}/{'.'.join(map(str, box.start))}.npy", voxels)

        spot = self._zip(number)
        if isinstance(spot, Path):
            with writing(spot):
                write_atomically(spot, write)
                sync_file(spot)
        else:
            with TemporaryFile() as file:
                write(file)
                file.seek(0)
                spot.write_bytes(file)

    def kept(self, number: int) -> Iterator[KeptBox]:
        """The voxels before a change, box by box; `InputError` where the file is gone or damaged."""
        try:
            with self._open(number) as archive:
                for name in archive.namelist():
                    if found := MEMBER.fullmatch(name):
                        time, level, *start = map(int, found.groups())
                        with archive.open(name) as member:
                            voxels = np.lib.format.read_array(member, allow_pickle=False)
                        yield time, level, Box(vec3(start), vec3(np.add(start, voxels.shape))), voxels
        except UNREADABLE as error:
            raise InputError(
                f"{self._zip(number)}: the voxels before change {number} cannot be read ({error}), so it cannot be "
                "taken back; if you have a copy of this file, put it back"
            ) from error

    def boxes(self, number: int) -> list[tuple[int, int, Box]]:
        """Time points, levels and boxes of which the voxels before a change are kept."""
        return [(time, level, box) for time, level, box, _ in self.kept(number)]

    def notes(self, number: int) -> dict[str, Any]:
        """What was noted when a change was made; empty where nothing was kept."""
        try:
            with self._open(number) as archive:
                return dict(json.loads(archive.read("notes.json")))
        except UNREADABLE:
            return {}

    def added(self, number: int) -> NDArray[Any]:
        """The cells that a change added; `InputError` where they are gone."""
        try:
            with self._open(number) as archive, archive.open(ADDED) as member:
                return np.lib.format.read_array(member, allow_pickle=False)
        except UNREADABLE as error:
            raise InputError(
                f"{self._zip(number)}: the cells that were added cannot be read ({error}); if you have a copy of this "
                "file, put it back"
            ) from error

    def drop(self, number: int) -> None:
        """Forget the voxels of a change that did not take place."""
        if isinstance(spot := self._zip(number), Path):
            spot.unlink(missing_ok=True)

    def _zip(self, number: int) -> Place:
        return self.folder / f"{number}.zip"

    @contextmanager
    def _open(self, number: int) -> Iterator[zipfile.ZipFile]:
        spot = self._zip(number)
        with spot.open("rb") if isinstance(spot, Path) else spot.copied() as file, zipfile.ZipFile(file) as archive:
            yield archive

    def _write(self, spot: Place, content: bytes) -> None:
        if isinstance(spot, Path):
            with writing(spot):
                write_bytes(spot, content)
                sync_file(spot)
        else:
            spot.write_bytes(content)


def _write_member(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    with archive.open(name, "w", force_zip64=True) as member:
        np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)


def cell_box(cell: Mapping[str, Any]) -> Box:
    """The box of a cell of a change, which has one."""
    start, stop = cell["box"]
    return Box(vec3(start), vec3(stop))


def updated_region(update: Change) -> Box:
    """The box of an update."""
    return Box(*(vec3(end) for end in zip(*update.given["roi"], strict=True)))


def read_log(path: Place) -> list[Change]:
    """The changes of a log file; none where there is no file, `InputError` where a line cannot be understood."""
    return _read_lines(_whole_lines(path), path, 0)


def _whole_lines(path: Place) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return b""
    return content[: content.rfind(b"\n") + 1]


def _read_lines(lines: bytes, path: Place, before: int) -> list[Change]:
    """The changes of lines of a log, of which so many stand before them."""
    changes = []
    for row, line in enumerate(lines.split(b"\n")[:-1], start=before + 1):
        try:
            changes.append(Change(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{path}, line {row}: this is not a line of a log of changes ({error}); give the log.jsonl that "
                "bigcp3d wrote"
            ) from error
    return changes


def refuse_half_changed(labels: ImageInfo) -> None:
    """`InputError` where a change of labels was stopped, for those who read voxels and hold no lock."""
    if EditLog(place(labels.path)).pending() is not None:
        settle = join_words(["bigcp3d", "edit", labels.path, "settle"])
        raise InputError(f"{labels.path}: a change of these labels was stopped; put it right first: {settle}")
