"""Says what finished labels are: how many cells, how they were made, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from bigcp3d.edge.image.metadata import first_multiscale, is_labels, own_part
from bigcp3d.edge.image.open_node import read_attributes
from bigcp3d.edge.labels.edit_log import EditLog
from bigcp3d.edge.stores.places import Place
from bigcp3d.edge.stores.zarr_write import is_group
from bigcp3d.pure.plural import count

T = TypeVar("T")


@dataclass(frozen=True)
class MadeLabels:
    """Labels that are there. What their attributes do not say is None.

    ``made`` is when they were finished (UTC, ISO 8601), ``cells`` the number then. What came after and was not undone:
    ``updates``, and ``changes`` by hand (corrections and decisions of a review). ``finished`` is False for labels that
    a run has begun to write. ``is_labels`` is False for an image.
    """

    labels: str
    is_labels: bool
    finished: bool
    cells: int | None
    model: str | None
    diameter: str | None
    made: str | None
    version: str | None
    updates: int
    changes: int
    prepare: str | None = None

    def __str__(self) -> str:
        """``412 cells, model nuclei, diameter 15 um, made 2026-11-29 04:10 UTC by bigcp3d 0.2.0``."""
        if not self.finished:
            return "begun by a run that has not ended"
        when = "" if self.made is None else f" {self.made[:16].replace('T', ' ')} UTC"
        words = [
            "" if self.cells is None else count(self.cells, "cell"),
            "" if self.model is None else f"model {self.model}",
            "" if self.diameter is None else f"diameter {self.diameter}",
            "" if self.prepare is None else f"prepared by {self.prepare}",
            "not made by bigcp3d" if self.version is None else f"made{when} by bigcp3d {self.version}",
            f"updated {count(self.updates, 'time')} since" if self.updates else "",
            f"changed by hand {count(self.changes, 'time')} since" if self.changes else "",
        ]
        return ", ".join(filter(None, words))


def read_made(path: Place) -> MadeLabels:
    """What the attributes and the log of a labels group say; `InputError` where there is no group."""
    said = read_attributes(path)
    made = own_part(said)
    asked = _of_type(dict, made.get("asked")) or {}
    log = EditLog(path)
    return MadeLabels(
        labels=str(path),
        is_labels=is_labels(said),
        finished=first_multiscale(said, str(path)) is not None,
        cells=_of_type(int, made.get("cells")),
        model=_of_type(str, made.get("model")),
        diameter=_of_type(str, asked.get("diameter")),
        made=_of_type(str, made.get("made")),
        version=_of_type(str, made.get("version")),
        updates=sum(change.kind == "update" for change in log.active()),
        changes=len(log.by_hand()),
        prepare=_of_type(str, asked.get("prepare")),
    )


def _of_type(kind: type[T], value: Any) -> T | None:
    """The value, unless a stranger has put something else into the attributes."""
    return value if isinstance(value, kind) else None


def labels_id(path: Place) -> str | None:
    """What tells labels that bigcp3d made from earlier ones in the same place; None where no run made labels."""
    found: str | None = own_part(read_attributes(path)).get("id") if is_group(path) else None
    return found
