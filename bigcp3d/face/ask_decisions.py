"""Asks for a decision about one cell of the review after the other: one key each, from a terminal or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from bigcp3d.edge.labels.default_name import DEFAULT_NAME
from bigcp3d.edge.stores.platforms import join_words
from bigcp3d.errors import InputError
from bigcp3d.pure.plural import count

if TYPE_CHECKING:
    from bigcp3d.edge.labels.edit_log import Change
    from bigcp3d.schedule.edits.edit import Edits
    from bigcp3d.schedule.edits.review import Doubt

KEYS = {"g": "good", "w": "wrong", "m": "merge", "s": "split", "d": "delete", " ": "skip"}
HELP = "g good, w wrong, m merge, s split, d delete, space skip, u undo, q end"


@dataclass(frozen=True)
class Commands:
    """The commands to paste for an entry of the queue."""

    store: str
    name: str = DEFAULT_NAME
    time: int = 0

    def view(self, entry: Doubt) -> str:
        """The command that opens the viewer there."""
        return self._join("view", self.store, "--at", _voxel(entry))

    def correct(self, entry: Doubt, decision: str) -> str | None:
        """The command that corrects a cell as it was decided; None where there is nothing to correct."""
        words = {
            "merge": ("merge", str(entry.id), "ID"),
            "split": ("split", str(entry.id), "--parts", "2"),
            "delete": ("delete", str(entry.id)),
        }.get(decision)
        if not entry.id:
            words = ("add", "--seed", _voxel(entry)) if decision == "wrong" else None
        return None if words is None else self._join("edit", self.store, *words)

    def _join(self, *words: str) -> str:
        name = () if self.name == DEFAULT_NAME else ("--name", self.name)
        time = () if not self.time else ("--time", str(self.time))
        return join_words(("bigcp3d", *words, *name, *time))


def describe_doubt(entry: Doubt) -> str:
    """An entry in a line."""
    what = f"cell {entry.id}" if entry.id else "no cell"
    how = "random sample" if entry.sample else f"{entry.why}, {entry.doubt:.1f} deviations" if entry.id else entry.why
    return f"{what} at {_voxel(entry)}: {count(entry.volume_vox, 'voxel')}; {how}"


def read_keys() -> Iterator[str]:
    """The keys that are typed, or those that come through a pipe; `InputError` where there are none."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        return _typed_keys()
    given = "" if sys.stdin.isatty() else sys.stdin.read().replace("\n", "").replace("\r", "")
    if not given:
        raise InputError(
            "there is no terminal in which to ask; give --list N, --decide ID DECISION, or send the keys through a "
            "pipe: "
            "printf 'gwq' | bigcp3d review STORE"
        )
    return iter(given)


def _typed_keys() -> Iterator[str]:
    import click

    while True:
        try:
            yield click.getchar()
        except (KeyboardInterrupt, EOFError):
            return


def ask(edits: Edits, queue: Sequence[Doubt], keys: Iterator[str], commands: Commands) -> None:
    """Show one entry after the other, and take a key for each. Each decision is in the log before the next is shown."""
    from bigcp3d.schedule.edits.review import decide

    done: list[Change] = []
    typer.echo(f"{count(len(queue), 'cell')} to look at. {HELP}")
    while len(done) < len(queue):
        entry = queue[len(done)]
        typer.echo(f"{len(done) + 1}/{len(queue)} {describe_doubt(entry)}\n  {commands.view(entry)}\n  ", nl=False)
        key = next(keys, "q")
        if key == "u" and done:
            edits.withdraw(done.pop())
            typer.echo("undo: the previous decision is taken back")
        elif key in KEYS:
            done.append(decide(edits, entry.id or entry.voxel, KEYS[key], sample=entry.sample, time=commands.time))
            typer.echo(KEYS[key])
            if (command := commands.correct(entry, KEYS[key])) is not None:
                typer.echo(f"  to correct it: {command}")
        elif key == "q":
            typer.echo("end")
            break
        else:
            typer.echo("nothing to take back yet" if key == "u" else f"no such key: {key!r}. {HELP}")
    typer.echo(f"{count(len(done), 'decision')} written; the same command goes on with the others")


def _voxel(entry: Doubt) -> str:
    return ",".join(map(str, entry.voxel))
