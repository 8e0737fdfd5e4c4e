"""Corrections with napari's own tools: a region of the labels is opened in memory, painted, and written back.

Labels of a store have levels, and napari paints only on layers without; so a region is opened as a layer of its own.
What changed in it becomes changes in the log of the labels: cells deleted, merged or added as a whole, and one change
of kind "paint" for all other voxels.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.labels.edit_log import Change
from bigcp3d.edge.labels.labels import read_label_box
from bigcp3d.errors import BigCP3DError, InputError
from bigcp3d.face.napari.layers import info_of, placed_like, time_in_view
from bigcp3d.face.view.napari_view import MARK, lazy_data
from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.pure.label.painted import Painted, find_painted
from bigcp3d.schedule.edits.edit import Edits
from bigcp3d.work.find_cells import box_of

DIMMED = 0.25
"""How opaque the labels of the store are while a region of them is painted."""
MOST_VOX = 2**27
"""A region and its undo steps are in memory."""


class Corrections:
    """A region of some labels that is being painted, and the changes that were written from it.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
        Where the region is shown.
    layer : napari.layers.Labels
        The labels of a store, as the plugin's reader opens them.
    box : Box
        The region, in voxels of level 0.
    """

    def __init__(self, viewer: Any, layer: Any, box: Box) -> None:
        if box.size > MOST_VOX:
            raise InputError(
                f"the region has {box.size:,} voxels, but at most {MOST_VOX:,} are allowed; choose a smaller region"
            )
        self.viewer, self.store_layer, self.box = viewer, layer, box
        self.edits = Edits(layer.metadata[MARK], "")
        self.time = time_in_view(viewer, layer)
        self.edits.settle()
        self.before = self._read()
        self.written: list[list[Change]] = []
        name = f"{layer.name}: region"
        self.layer = viewer.add_labels(self.before.copy(), name=name, **placed_like(layer, box))
        self.layer.n_edit_dimensions = 3
        self._opacity, layer.opacity = layer.opacity, DIMMED
        viewer.layers.selection.active = self.layer

    @property
    def unwritten(self) -> bool:
        """Whether something was painted and not written."""
        return not np.array_equal(self.layer.data, self.before)

    def write(self) -> tuple[list[Change], Painted]:
        """Write what was painted into the store: the changes in the log, and what was painted.

        `InputError` where nothing was painted, or somebody else changed the region since it was opened; nothing is
        written then. Whatever stops the writing, what was painted stays in the layer, and `undo` takes back what was
        written up to there.
        """
        after = np.asarray(self.layer.data)
        volume = self.edits.labels.levels[0].shape
        ends = zip(self.box.start, self.box.stop, volume, strict=True)
        painted = find_painted(self.before, after, np.array([(a > 0, b < n) for a, b, n in ends]))
        if painted.nothing:
            raise InputError("nothing in the region was changed; paint or erase first")
        if not np.array_equal(self._read(), self.before):
            raise InputError(
                f"{self.edits.target.path}: another program has changed the labels in this region since you opened "
                "it, so nothing was written; open the region again and repeat the correction"
            )
        changes: list[Change] = []
        try:
            self._make(painted, changes)
        finally:
            if changes:
                self.written.append(changes)
            self._read_again()
        self.layer.data = self.before.copy()
        return changes, painted

    def undo(self) -> list[Change]:
        """Take back what the last `write` wrote, and keep what was painted since.

        `InputError` where there is nothing, or other changes came after it.
        """
        if not self.written:
            raise InputError("nothing was written from this region, so there is nothing to undo")
        ours = [change.number for change in self.written[-1]]
        last = [change.number for change in self.edits.changes.undoable()[-len(ours) :]]
        if last != ours:
            raise InputError("other changes came after it; take these back first: bigcp3d edit STORE undo")
        unwritten = self.layer.data != self.before
        taken = self.edits.undo(len(ours))
        self.written.pop()
        self._read_again()
        self.layer.data = np.where(unwritten, self.layer.data, self.before)
        return taken

    def close(self) -> None:
        """Take the region out of the viewer."""
        self.store_layer.opacity = self._opacity
        if self.layer in self.viewer.layers:
            self.viewer.layers.remove(self.layer)

    def _read_again(self) -> None:
        """Take the store as it is now as the state before painting, and show it outside of the region."""
        with suppress(BigCP3DError):  # a change that was stopped is put right by whoever changes the labels next
            self.edits.settle()
        self.before = self._read()
        refresh(self.store_layer)

    def _make(self, painted: Painted, changes: list[Change]) -> None:
        time, start = self.time, self.box.start
        if painted.deleted:
            changes.append(self.edits.delete(*painted.deleted, time=time))
        for cell, others in painted.merged.items():
            changes.append(self.edits.merge(cell, *others, time=time))
        if painted.added.any():
            added, at = _tight(painted.added, painted.added > 0, start)
            changes.append(self.edits.add(added, at=at, time=time))
        if (painted.rest >= 0).any():
            rest, at = _tight(painted.rest, painted.rest >= 0, start)
            changes.append(self.edits.paint(rest, at=at, new=painted.new, time=time))

    def _read(self) -> NDArray[Any]:
        return read_label_box(self.edits.target, 0, self.box, time=self.time)


def refresh(layer: Any) -> None:
    """Show the labels of a store as they are now."""
    layer.data = lazy_data(info_of(layer))


def _tight(array: NDArray[np.int64], used: NDArray[np.bool_], start: Vec3) -> tuple[NDArray[np.int64], Vec3]:
    """The smallest part of an array that holds what is used, and the voxel where it begins."""
    box = box_of(used, start)
    assert box is not None
    return array[box.slices(start)], box.start
