"""Asks for a decision about one cell of the review after the other: one key each, from a terminal or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import typer

from bigcp3d.errors import InputError
from bigcp3d.face.paste import edit_command, join_numbers, view_command
from bigcp3d.pure.plural import count

if TYPE_CHECKING:
    from bigcp3d.edge.labels.edit_log import Change
    from bigcp3d.schedule.edits.edit import Edits
    from bigcp3d.schedule.edits.review import Doubt

KEYS = {"g": "good", "w": "wrong", "m": "merge", "s": "split", "d": "delete", " ": "skip"}
HELP = "g good, w wrong, m merge, s split, d delete, space skip, u undo, q end"


def correction(entry: Doubt, decision: str) -> list[object] | None:
    """What ``bigcp3d edit`` has to do with a cell after a decision; None where there is nothing to correct."""
    if not entry.id:
        return ["add", "--seed", join_numbers(entry.voxel)] if decision == "wrong" else None
    words: dict[str, list[object]] = {
        "merge": ["merge", entry.id, "ID"],
        "split": ["split", entry.id, "--parts", 2],
        "delete": ["delete", entry.id],
    }
    return words.get(decision)


def describe_doubt(entry: Doubt) -> str:
    """An entry in a line."""
    what = f"cell {entry.id}" if entry.id else "no cell"
    how = "random sample" if entry.sample else f"{entry.why}, {entry.doubt:.1f} deviations" if entry.id else entry.why
    return f"{what} at {join_numbers(entry.voxel)}: {count(entry.volume_vox, 'voxel')}; {how}"


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


def ask(edits: Edits, queue: Sequence[Doubt], keys: Iterator[str], time: int = 0) -> None:
    """Show one entry after the other, and take a key for each. Each decision is in the log before the next is shown."""
    from bigcp3d.edge.labels.image_and_labels import source_image
    from bigcp3d.schedule.edits.review import decide

    labels, image = edits.labels, source_image(edits.labels, edits.image)
    done: list[Change] = []
    typer.echo(f"{count(len(queue), 'cell')} to look at. {HELP}")
    while len(done) < len(queue):
        entry = queue[len(done)]
        typer.echo(f"{len(done) + 1}/{len(queue)} {describe_doubt(entry)}")
        typer.echo(f"  {view_command(labels, image, entry.voxel, time)}\n  ", nl=False)
        key = next(keys, "q")
        if key == "u" and done:
            edits.withdraw(done.pop())
            typer.echo("undo: the previous decision is taken back")
        elif key in KEYS:
            done.append(decide(edits, entry.id or entry.voxel, KEYS[key], sample=entry.sample, time=time))
            typer.echo(KEYS[key])
            if (words := correction(entry, KEYS[key])) is not None:
                typer.echo(f"  to correct it: {edit_command(labels, image, words, time)}")
        elif key == "q":
            typer.echo("end")
            break
        else:
            typer.echo("nothing to take back yet" if key == "u" else f"no such key: {key!r}. {HELP}")
    typer.echo(f"{count(len(done), 'decision')} written; the same command goes on with the others")
