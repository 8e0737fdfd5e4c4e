"""``bigcp3d edit``: corrects single cells of labels, and takes corrections back."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bigcp3d.edge.labels.default_name import DEFAULT_NAME
from bigcp3d.edge.stores.platforms import join_words
from bigcp3d.errors import InputError
from bigcp3d.face import options as o
from bigcp3d.face.exit_codes import set_up_logging
from bigcp3d.face.taken_labels import tell_labels
from bigcp3d.pure.plural import count

if TYPE_CHECKING:
    from bigcp3d.edge.labels.edit_log import Change
    from bigcp3d.schedule.edits.edit import Edits

MANY = sys.maxsize


@dataclass(frozen=True)
class Takes:
    """What an action takes: how many words, what they mean, and which options that not all actions have."""

    least: int
    most: int
    words: str
    options: tuple[str, ...] = ()


ACTIONS = {
    "merge": Takes(2, MANY, "two or more ids", ("--time", "--json")),
    "split": Takes(1, 1, "one id", ("--seed", "--parts", "--time", "--json")),
    "delete": Takes(1, MANY, "one or more ids", ("--time", "--json")),
    "add": Takes(0, 1, "a .npy file with --at, or --seed alone", ("--seed", "--at", "--time", "--json")),
    "renumber": Takes(0, 0, "no ids", ("--json",)),
    "undo": Takes(0, 1, "one number, or none", ("--yes", "--json")),
    "replay": Takes(1, 1, "the log.jsonl of other labels", ("--json",)),
    "log": Takes(0, 0, "no ids", ("--json",)),
    "table": Takes(0, 0, "no ids"),
    "settle": Takes(0, 0, "no ids"),
}
WHAT = "What is changed"
Seeds = Annotated[
    list[str] | None,
    o.option(
        "--seed",
        panel=WHAT,
        metavar="Z,Y,X",
        text="split: a voxel of level 0 in each part; repeat the option. add: a voxel of a missed cell, which is then "
        "looked for with lower foreground thresholds. Kept maps make this quick.",
    ),
]
Parts = Annotated[
    int | None,
    o.option("--parts", panel=WHAT, metavar="N", text="split: cut the cell into this many parts, where it is narrow."),
]
At = Annotated[
    str | None,
    o.option(
        "--at",
        panel=WHAT,
        metavar="Z,Y,X",
        text="add: the voxel of level 0 at which the array of the .npy file begins.",
    ),
]
Time = Annotated[int, o.option("--time", panel=WHAT, metavar="N", text="Time point.")]
Name = Annotated[str, o.option("--name", panel=WHAT, metavar="NAME", text="Name of the labels: labels/NAME.")]


def edit(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Image with labels, or one labels image.")],
    action: Annotated[str, typer.Argument(metavar="|".join(ACTIONS), help="What to do.")],
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ID...",
            help="merge: two or more ids; the first stays. split: one id. delete: one or more ids. add: a .npy file of "
            "labels. undo: the number of corrections to take back (default 1). replay: the log.jsonl of other labels.",
        ),
    ] = None,
    seed: Seeds = None,
    parts: Parts = None,
    at: At = None,
    time: Time = 0,
    name: Name = DEFAULT_NAME,
    image: o.ImageOfLabels = None,
    yes: Annotated[
        bool,
        o.option("--yes", text="undo: take the changes back even if another program has changed their voxels since."),
    ] = False,
    as_json: Annotated[bool, o.option("--json", text="Print each change as a line of JSON.")] = False,
    verbose: o.Verbose = False,
    quiet: o.Quiet = False,
) -> None:
    """Correct single cells of labels in place: merge, split, delete, add or renumber them, and take corrections back.

    All resolution levels are corrected. Only the chunks that the cells touch are read, and only their shards written.
    Each change is recorded in labels/NAME/edits. `undo` takes corrections back, but not decisions of `bigcp3d review`.
    `log` lists all changes, and `replay` makes the changes of another log again. The id of a cell that is gone is not
    given again, except by `renumber`, which numbers all cells from 1. `split` without options tries smaller and smaller
    values of --closing. `table` updates the table in the store. `settle` completes or takes back a change that was
    interrupted.
    """
    set_up_logging(verbose, quiet)
    from bigcp3d.schedule.edits.edit import Edits
    from bigcp3d.schedule.edits.replay import replay_edits

    words, seeds = what or [], seed or []
    options = {"--seed": bool(seeds), "--parts": parts is not None, "--at": at is not None, "--time": time != 0}
    _check(action, words, {**options, "--yes": yes, "--json": as_json})
    edits = Edits(store, name, image=image)
    tell_labels(store, name, quiet=quiet)
    if action == "table":
        typer.echo(f"{edits.target.path}: {count(len(edits.table(write=True)['label']), 'row')} in its table")
        return
    if action == "settle":
        stopped = edits.settle()
        done_words = "nothing had to be repaired" if stopped is None else f"repaired: {describe_change(stopped)}"
        typer.echo(f"{edits.target.path}: {done_words}")
        return
    if action == "log":
        changes, wrong = edits.log(), []
    elif action == "replay":
        done = replay_edits(edits, words[0])
        changes = [new for _, new in done if not isinstance(new, str)]
        wrong = [f"change {old.number}, {describe_change(old)}: {new}" for old, new in done if isinstance(new, str)]
    elif action == "undo":
        changes, wrong = edits.undo(_numbers(words)[0] if words else 1, yes=yes), []
    else:
        changes, wrong = [_correct(edits, action, words, seeds, parts, at, time)], []
    undone = {change.of: change.number for change in changes if change.of}
    for change in changes:
        typer.echo(json.dumps(change.as_line()) if as_json else _tell(change, action, undone.get(change.number)))
    for line in wrong:
        typer.echo(f"not replayed: {line}", err=True)
    _tell_of_table(edits, store, action)


def _check(action: str, words: list[str], options: dict[str, bool]) -> None:
    """Refuse words and options that an action does not take; ``options`` says which were given."""
    if action not in ACTIONS:
        raise InputError(f"{action!r} was given; use one of {', '.join(ACTIONS)}")
    takes = ACTIONS[action]
    if not takes.least <= len(words) <= takes.most:
        raise InputError(f"{action} takes {takes.words}; given: {' '.join(words) or 'nothing'}")
    if wrong := [option for option, given in options.items() if given and option not in takes.options]:
        raise InputError(f"{action} takes no {' and no '.join(wrong)}; leave it out")


def _correct(
    edits: Edits, action: str, words: list[str], seeds: list[str], parts: int | None, at: str | None, time: int
) -> Change:
    """Make one change."""
    places = [_voxel(word) for word in seeds]
    if action == "merge":
        return edits.merge(*_numbers(words), time=time)
    if action == "delete":
        return edits.delete(*_numbers(words), time=time)
    if action == "split":
        return edits.split(_numbers(words)[0], parts=parts, seeds=places, time=time)
    if action == "renumber":
        return edits.renumber()
    if len(places) == 1 and not words and at is None:
        return edits.add(at=places[0], time=time)
    if at is None or places or not words:
        raise InputError("add takes a .npy file and --at Z,Y,X, or one --seed Z,Y,X")
    return edits.add(_read_array(words[0]), at=_voxel(at), time=time)


def describe_change(change: Change) -> str:
    """A change in words: ``merge of 3, 7``."""
    if change.kind == "ids":
        return f"ids up to {change.largest_id} were in use, new ones begin after them"
    ids = ", ".join(str(cell["id"]) for cell in change.cells)
    of = f" of {ids}" if ids else f" of change {change.of}" if change.of else ""
    word = f"{change.given['decision']} (decision)" if change.kind == "decision" else change.kind
    old = {cell["id"] for cell in change.cells}
    new = ", ".join(str(cell["id"]) for cell in change.made if cell["id"] not in old)
    apart = ", which do not touch" if change.given.get("apart") else ""
    return f"{word}{of}{apart}" + (f"; new: {new}" if new else "")


def _tell(change: Change, action: str, undone: int | None) -> str:
    words = {"undo": "taken back: "}.get(action, "")
    when = f" ({change.when[:16].replace('T', ' ')} UTC, {change.who})" if action == "log" else ""
    back = f"; taken back by change {undone}" if undone else ""
    return f"{words}change {change.number}: {describe_change(change)}{back}{when}"


def _tell_of_table(edits: Edits, store: str, action: str) -> None:
    from bigcp3d.edge.labels.edit_log import EditLog
    from bigcp3d.schedule.edits.edited_table import changes_behind, file_without_changes

    if action == "log":
        return
    more = [] if edits.target.name == DEFAULT_NAME else ["--name", edits.target.name]
    if behind := changes_behind(edits.labels, EditLog(edits.target.path)):
        again = join_words(["bigcp3d", "edit", store, "table", *more])
        typer.echo(f"the table in the store lacks {count(behind, 'change')}; to write it again: {again}", err=True)
    if file := file_without_changes(edits.target):
        again = join_words(["bigcp3d", "measure", str(edits.target.path), "--output", str(file), "--overwrite"])
        typer.echo(f"{file} lacks the changes since it was written; to write it again: {again}", err=True)


def _numbers(words: list[str]) -> list[int]:
    if bad := [word for word in words if not word.isdecimal()]:
        raise InputError(f"{bad[0]!r} was given; give whole numbers")
    return [int(word) for word in words]


def _voxel(word: str) -> tuple[int, ...]:
    parts = word.split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts):
        raise InputError(f"{word!r} was given; give a voxel of level 0 as Z,Y,X, such as 12,340,98")
    return tuple(int(part) for part in parts)


def _read_array(word: str):  # type: ignore[no-untyped-def]
    import numpy as np

    try:
        return np.load(Path(word), allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{word}: this is no .npy file of labels ({error}); write one with numpy.save") from error
