"""``bigcp3d update``: segments a region of existing labels again, in place; or takes the last update back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from bigcp3d.edge.stores.platforms import join_words
from bigcp3d.errors import InputError, LossError
from bigcp3d.face import options as o
from bigcp3d.face.exit_codes import set_up_logging
from bigcp3d.option import Setting
from bigcp3d.pure.plural import count
from bigcp3d.schedule.planning.request import RUN, UpdateRequest, decides_labels

if TYPE_CHECKING:
    from bigcp3d.schedule.undo import Undone
    from bigcp3d.schedule.update import Updated

ONLY_OF_SEGMENT = (
    *("labels_level", "overwrite", "keep_maps", "table", "cluster", "cluster_config"),
    *("tls", "work_dir", "on_error"),
)
Undo = Annotated[
    bool,
    o.option(
        "--undo",
        panel=RUN,
        text="Restore the region as it was before the last update. An update that did not finish is discarded.",
    ),
]
T = TypeVar("T")

SETTINGS = o.choose_settings(UpdateRequest, without=ONLY_OF_SEGMENT)
OF_UNDO = ("source", "output", "name", "yes")
"""What `--undo` takes: which labels, and whether to go on after changes since."""
OF_EDITED = ("time", "scale_um")
"""Settings of a segmentation that `--edited` takes too: they say where the region is."""


@o.with_options(SETTINGS)
def update(arguments: o.Arguments, undo: Undo = False, verbose: o.Verbose = False, quiet: o.Quiet = False) -> None:
    """Segment a region of existing labels again, with other settings. With --edited: only renew coarser levels there.

    Cells inside the region are found again and replace those that were there. Cells that the region's border cuts, and
    all cells outside, stay as they are. The settings are those with which the labels were made; give only those that
    should differ. A new cell gets the id of an old one if their IoU is above 0.5 (the voxels that both have, divided by
    those that either has). If more than half of the cells inside would disappear, the command asks first.
    """
    set_up_logging(verbose, quiet)
    from bigcp3d.face.progress.progress import watching
    from bigcp3d.face.report.write import path_of
    from bigcp3d.schedule.undo import Undone, undo_update
    from bigcp3d.schedule.update import update as run

    if undo:
        _refuse_with_undo(arguments)
    elif arguments["edited"]:
        _refuse_with_edited(arguments)

    def work(**more: bool) -> Undone | Updated:
        with watching(quiet) as observer:
            if not undo:
                return run(**{**arguments, **more}, on_event=observer)
            where = {name: arguments[name] for name in OF_UNDO}
            return undo_update(**{**where, **more}, on_event=observer)

    done = _ask_before_loss(work)
    typer.echo(describe_undone(done) if isinstance(done, Undone) else describe_updated(done, arguments))
    if not arguments["dry_run"] and (report := path_of(str(done.labels))).exists():
        again = join_words(["bigcp3d", "report", str(done.labels)])
        typer.echo(f"{report} shows the earlier labels; to renew it: {again}", err=True)


def _given(arguments: o.Arguments, settings: Iterable[Setting]) -> list[str]:
    """The flags of the settings that were given."""
    return [each.flag for each in settings if arguments[each.name] != each.default]


def _refuse_with_edited(arguments: o.Arguments) -> None:
    """Refuse settings of a segmentation, which does not run after a correction by hand."""
    given = _given(arguments, (each for each in SETTINGS if decides_labels(each) and each.name not in OF_EDITED))
    if given:
        raise InputError(
            f"--edited was given with {', '.join(given)}, but it does not segment; leave out {', '.join(given)}"
        )


def _refuse_with_undo(arguments: o.Arguments) -> None:
    """Refuse what an undo would not follow."""
    if given := _given(arguments, (each for each in SETTINGS if each.name not in OF_UNDO)):
        raise InputError(
            f"--undo was given with {', '.join(given)}, but it restores the whole region of the last update at once; "
            f"leave out {', '.join(given)}. It takes only --output, --name and --yes"
        )


def describe_updated(done: Updated, arguments: o.Arguments) -> str:
    """An update, or a dry run of one, in a line."""
    if arguments["edited"]:
        done_words = "nothing was changed (--dry-run)" if arguments["dry_run"] else "are computed again"
        return f"{done.labels}: the coarser levels of the region {done_words}"
    words = (
        f"{done.labels}: {count(done.came, 'cell')} found in the region: {done.kept} keep the id of an earlier cell, "
        f"and {done.same} of these are unchanged; {count(done.gone, 'earlier cell')} gone; {done.stayed} at the "
        "border of the region not touched"
    )
    if arguments["dry_run"]:
        return f"{words}. Nothing was changed. To apply it, give the same command without --dry-run"
    which = [("--output", arguments["output"], None), ("--name", arguments["name"], UpdateRequest.name)]
    words_of = [word for flag, value, default in which if value != default for word in (flag, str(value))]
    back = join_words(["bigcp3d", "update", str(arguments["source"]), *words_of, "--undo"])
    return f"{words}. To take it back: {back}"


def describe_undone(done: Undone) -> str:
    """An undo in a line."""
    if done.unfinished and not done.changed:
        return f"{done.labels}: the unfinished update is discarded; it had changed nothing"
    what = "the unfinished update is discarded, and" if done.unfinished else "the last update is undone, and"
    if done.edited:
        return (
            f"{done.labels}: {what} the coarser levels are as before it. Level 0 keeps the voxels that the other "
            "program changed, because the earlier ones are not stored"
        )
    return f"{done.labels}: {what} its region is as before it, at all levels and time points"


def _ask_before_loss(run: Callable[..., T]) -> T:
    """Run something. If it would lose something and a person sits there, ask, and run it again after a yes."""
    try:
        return run()
    except LossError as error:
        if not _is_a_person_there():
            raise
        typer.echo(str(error), err=True)
        if not typer.confirm("Go on?", err=True):
            raise
        return run(yes=True)


def _is_a_person_there() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()
