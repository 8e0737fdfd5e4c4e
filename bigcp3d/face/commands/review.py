"""``bigcp3d review``: the most doubtful cells one after the other, with one decision each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from bigcp3d.edge.labels.default_name import DEFAULT_NAME
from bigcp3d.errors import InputError
from bigcp3d.face import options as o
from bigcp3d.face.ask_decisions import ask, describe_doubt, read_keys
from bigcp3d.face.commands.edit import describe_change
from bigcp3d.face.exit_codes import set_up_logging
from bigcp3d.face.taken_labels import tell_labels

if TYPE_CHECKING:
    from bigcp3d.schedule.edits.edit import Edits


def review(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Image with labels, or one labels image.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="DECISION", help="With --decide: good, wrong, merge, split, delete or skip."),
    ] = None,
    show: Annotated[
        int | None,
        o.option("--list", metavar="N", min=1, text="Print the first N entries, and ask nothing."),
    ] = None,
    cell: Annotated[
        str | None,
        o.option(
            "--decide",
            metavar="ID|Z,Y,X",
            text="Record the decision about this cell, or about a missed cell at this voxel.",
        ),
    ] = None,
    sample: Annotated[
        bool,
        o.option(
            "--sample",
            text="Show a random sample of the cells instead of the most doubtful ones. It gives the error rate.",
        ),
    ] = False,
    undo: Annotated[bool, o.option("--undo", text="Take back the last decision.")] = False,
    rate: Annotated[bool, o.option("--rate", text="Print the error rate that the random sample gives so far.")] = False,
    maps: Annotated[
        str | None,
        o.option(
            "--maps",
            metavar="DIR",
            text="Folder with the maps from which the labels were made. Default: the maps that the run kept, if any.",
        ),
    ] = None,
    time: Annotated[int, o.option("--time", metavar="N", text="Time point.")] = 0,
    name: o.LabelsName = DEFAULT_NAME,
    image: o.ImageOfLabels = None,
    as_json: Annotated[bool, o.option("--json", text="Print a line of JSON for each entry.")] = False,
    verbose: o.Verbose = False,
    quiet: o.Quiet = False,
) -> None:
    """Look at doubtful cells and decide about each, or look at a random sample to learn the error rate.

    Doubtful cells differ from the others in volume, shape or predicted foreground. With kept maps, foreground without a
    label is shown too. Keys: g good, w wrong, m merge, s split, d delete, space skip, u take back the last decision, q
    end. Without a terminal, the keys are read from a pipe. A decision changes no voxel; `bigcp3d edit` does. With
    `--sample`, the decisions give the share of wrong cells in the whole volume with its 95 % interval, which the report
    also shows.
    """
    set_up_logging(verbose, quiet)
    from bigcp3d.schedule.edits.edit import Edits
    from bigcp3d.schedule.edits.review import decide, take_back_last
    from bigcp3d.schedule.edits.review import review as run

    edits = Edits(store, name, image=image)
    tell_labels(store, name, quiet=quiet)
    if cell is not None:
        if not words or len(words) != 1:
            raise InputError("--decide takes a cell and one decision: --decide 12 good")
        decide(edits, _entry(cell), words[0], sample=sample, time=time)
        typer.echo(f"{edits.target.path}: {cell} is {words[0]}")
        return
    if words:
        raise InputError(f"{words[0]!r} was given without --decide; leave it out")
    if undo:
        last = take_back_last(edits)
        typer.echo(f"{edits.target.path}: taken back: {describe_change(last)}")
        return
    if not rate:
        keys = read_keys() if show is None else None
        queue = run(store, name, most=show or 100_000, sample=sample, time=time, maps=maps)
        if keys is not None:
            ask(edits, queue, keys, time)
        else:
            for entry in queue:
                typer.echo(json.dumps(entry.as_json()) if as_json else describe_doubt(entry))
    _tell_rate(edits, needed=rate)


def _tell_rate(edits: Edits, *, needed: bool) -> None:
    from bigcp3d.schedule.edits.review import sample_error

    found = sample_error(edits.target.path)
    if found is not None or needed:
        typer.echo(
            str(found) if found else "no cell of the random sample was decided yet; see the sample with --sample",
            err=not needed,
        )


def _entry(word: str) -> int | tuple[int, ...]:
    parts = word.split(",")
    if len(parts) not in (1, 3) or not all(part.isdecimal() for part in parts):
        raise InputError(f"{word!r} was given; give the id of a cell, or a voxel as Z,Y,X")
    return int(word) if len(parts) == 1 else tuple(map(int, parts))
