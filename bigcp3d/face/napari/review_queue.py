"""The review of cells in napari: one doubtful cell after the other, each with a key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bigcp3d.edge.labels.edit_log import Change
from bigcp3d.edge.labels.made_labels import read_made
from bigcp3d.edge.stores.places import place
from bigcp3d.edge.stores.platforms import join_words
from bigcp3d.errors import InputError
from bigcp3d.face.ask_decisions import KEYS as TERMINAL_KEYS
from bigcp3d.face.ask_decisions import describe_doubt
from bigcp3d.face.view.napari_view import MARK, look_at
from bigcp3d.schedule.edits.edit import Edits
from bigcp3d.schedule.edits.review import Doubt, decide, review, sample_error

KEYS = {"K" if key == " " else key.upper(): decision for key, decision in TERMINAL_KEYS.items()}
UNDO = "U"
"""These keys count while the store's labels are the chosen layer. Only M means something else there: a new label."""
NEAR, PIXELS = 15.0, 600
"""The view is about this many times as wide as a ball of the cell's volume, and this many pixels."""


def read_queue(path: str, *, sample: bool = False, most: int = 100, time: int = 0) -> list[Doubt]:
    """The most doubtful cells of a labels group, or a random sample. Reads all labels (`bigcp3d.review`)."""
    return review(path, "", most=most, sample=sample, time=time)


def training_command(path: str) -> str:
    """The command that trains on what was decided and corrected in a labels group, from the model that made it."""
    store, _, name = path.rpartition("/labels/")
    model = read_made(place(path)).model
    start = [] if model is None else ["--start", model]
    return join_words(
        ["bigcp3d", "train", "--from-edits", f"{store}::{name}", *start, "--output", f"{name}.safetensors"]
    )


class ReviewQueue:
    """The queue of some labels, and the decisions made in this session.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
        Is moved to each cell.
    layer : napari.layers.Labels
        The labels of a store. The keys count while this layer is the chosen one.
    queue : list of Doubt
        The entries, as `read_queue` gives them.
    time : int, default 0
        The time point of the entries.
    tell : callable, optional
        Gets the words about each entry when it is shown; ``text`` holds the last ones.
    """

    def __init__(
        self,
        viewer: Any,
        layer: Any,
        queue: list[Doubt],
        *,
        time: int = 0,
        tell: Callable[[str], None] = lambda words: None,
    ) -> None:
        self.viewer, self.layer, self.queue, self.time = viewer, layer, queue, time
        self.edits = Edits(layer.metadata[MARK], "")
        self.place = 0
        self._tell = tell
        self._made: list[Change] = []
        for key, decision in KEYS.items():
            layer.bind_key(key, lambda _, decision=decision: self.decide(decision), overwrite=True)
        layer.bind_key(UNDO, lambda _: self.undo(), overwrite=True)
        self.show()

    @property
    def entry(self) -> Doubt | None:
        """The entry that is shown; None at the end of the queue."""
        return self.queue[self.place] if self.place < len(self.queue) else None

    def _describe(self) -> str:
        """What is shown, in words, and how many are left; at the end, the error rate of a random sample."""
        if self.entry is not None:
            return f"{self.place + 1} of {len(self.queue)}: {describe_doubt(self.entry)}"
        rate = sample_error(self.edits.target.path)
        return "the queue is at its end" + (f"; {rate}" if rate else "")

    def show(self) -> None:
        """Move the view to the entry, choose its cell, and say what it is."""
        self.viewer.layers.selection.active = self.layer
        if self.entry is not None:
            look_at(self.viewer, self.layer, self.entry.voxel)
            if self.layer.ndim > 3:
                self.viewer.dims.set_point(self.viewer.dims.ndim - 4, self.time)
            self.layer.selected_label = self.entry.id
            across = self.entry.volume_vox ** (1 / 3) * min(self.layer.scale[-3:])
            self.viewer.camera.zoom = PIXELS / (NEAR * across)
        self.text = self.viewer.status = self._describe()
        self._tell(self.text)

    def decide(self, decision: str) -> None:
        """Write a decision about the entry into the log, and go to the next one; nothing at the end of the queue."""
        if self.entry is None:
            self.show()
            return
        what, sample = self.entry.id or self.entry.voxel, self.entry.sample
        self._made.append(decide(self.edits, what, decision, sample=sample, time=self.time))
        self.place += 1
        self.show()

    def undo(self) -> None:
        """Take back the last decision of this session, and go back to its cell; `InputError` where there is none."""
        if not self._made:
            raise InputError("no decision was made in this session, so there is nothing to undo")
        self.edits.withdraw(self._made.pop())
        self.place -= 1
        self.show()

    def close(self) -> None:
        """Give the keys back."""
        for key in (*KEYS, UNDO):
            self.layer.bind_key(key, None, overwrite=True)
