"""What happened to labels: their changes, those that are taken back, decisions of a review, and the table after it."""

from __future__ import annotations

from typing import Any

from bigcp3d.edge.labels.edit_log import Change
from bigcp3d.errors import InputError
from bigcp3d.pure.cells.cell_table import Columns
from bigcp3d.schedule.edits.correction import Corrector
from bigcp3d.schedule.edits.edited_table import current_table, renew_table


class History(Corrector):
    """The past of some labels; `bigcp3d.schedule.edits.edit.Edits` adds the corrections."""

    def log(self) -> list[Change]:
        """All changes, oldest first; undone ones too."""
        return self.changes.changes()

    def undo(self, steps: int = 1, *, yes: bool = False) -> list[Change]:
        """Take the last changes back, the last one first, at all levels.

        Decisions of a review change no voxel, and stay (`withdraw` takes one back).

        Parameters
        ----------
        steps : int, default 1
            How many; those that were taken back already do not count, and neither do decisions.
        yes : bool, default False
            Go on even if another program has changed the voxels of a change since.

        Returns
        -------
        list of Change
            The changes that were taken back.

        Raises
        ------
        InputError
            If there are fewer.
        LossError
            If another program has changed the voxels since, and ``yes`` is False. Later changes were taken back.

        Examples
        --------
        >>> edits = bigcp3d.edit("tissue.zarr")
        >>> taken = edits.undo(len([c for c in edits.log() if c.kind == "renumber"]))
        >>> [change.kind for change in taken]
        ['renumber']
        """
        with self._held():
            there = self.changes.undoable()
            if not 1 <= steps <= len(there):
                raise InputError(
                    f"{steps} corrections were to be taken back, but there are only {len(there)}; give a smaller "
                    "number. (Decisions of a review do not count; bigcp3d review STORE --undo takes the last one "
                    "back.)"
                )
            taken = there[::-1][:steps]
            for change in taken:
                self.take_back(change, yes=yes)
        return taken

    def table(self, *, write: bool = False) -> Columns:
        """The table of cells as it is now: that in the store, with the rows of the cells that were changed since.

        Parameters
        ----------
        write : bool, default False
            Write it into the store.

        Returns
        -------
        columns : dict of ndarray, shape (n,)
            As `bigcp3d.measure` has them, for the channels that the table in the store has.

        Raises
        ------
        InputError
            If there is no table, or all labels were changed since (by `renumber` or `update`); then measure again.
        """
        if not write:
            self.settle()
            return current_table(self.labels, self.changes)
        with self._held():
            return renew_table(self.labels, self.changes)

    def decide(self, cell: int, decision: str, *, time: int = 0, **given: Any) -> Change:
        """Write a decision about a cell into the log; no voxel changes. The words: `bigcp3d.schedule.edits.review`."""
        with self._held():
            cells = self._describe([cell], self.boxes([cell], time), time) if cell else []
            change = self._next("decision", {"id": cell, "decision": decision, **given}, cells, time)
            self.changes.commit(change)
            return change

    def withdraw(self, decision: Change) -> None:
        """Take a decision back, even if other changes followed. If it was taken back already, nothing happens."""
        if decision.kind != "decision":
            raise InputError(f"change {decision.number} is no decision ({decision.kind}); take it back with undo")
        with self._held():
            if any(change.number == decision.number for change in self.changes.active()):
                self.take_back(decision, yes=True)
