"""``bigcp3d sweep``: tries many settings on one region, and writes a table and a picture."""

from __future__ import annotations

import csv
import io
import itertools
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigcp3d.edge.labels.default_name import DEFAULT_NAME
from bigcp3d.errors import InputError
from bigcp3d.face import options as o
from bigcp3d.face.commands.convert import image_of
from bigcp3d.face.exit_codes import set_up_logging
from bigcp3d.face.paste import segment_command
from bigcp3d.option import Setting, settings_of
from bigcp3d.pure.plural import count
from bigcp3d.schedule.planning.request import AS_IS, SWEPT, Request

if TYPE_CHECKING:
    from bigcp3d.face.sweep_rows import Columns, Row
    from bigcp3d.schedule.sweep import Sweep

log = logging.getLogger(__name__)

FEW_TRUE_CELLS = 20
"""With fewer of them, small differences between scores may be chance."""

TRIED = "What is tried (one value or several: 0.3,0.5,0.7)"
RESULT = "What is written"
SHARED = ("scale_um", "model", "channel", "level", "maps", "start", "precision", "memory_limit")


def _several(each: Setting) -> Setting:
    """A setting that takes several values, with commas between them or each with its own flag."""
    option = replace(each.option, panel=TRIED, metavar=f"{each.option.metavar},...", many=True)
    return replace(each, default=None if each.default is None else (str(each.default),), option=option)


TIME = settings_of(Request)["time"]
TYPES = {name: settings_of(Request)[name].members[0] for name in SWEPT}
FLAGS = {name: settings_of(Request)[name].flag for name in SWEPT}
SETTINGS = [
    *o.choose_settings(Request, only=("source", "roi")),
    *map(_several, o.choose_settings(Request, only=SWEPT)),
    *o.choose_settings(Request, only=SHARED),
    replace(TIME, default="0", option=replace(TIME.option, help="Time point, from 0.", metavar="N")),
]


@o.with_options(SETTINGS)
def sweep(
    arguments: o.Arguments,
    truth: Annotated[
        str | None,
        o.option(
            "--truth",
            panel=RESULT,
            metavar="NAME|TRUTH.zarr",
            text="True labels: their name in the image, or another image or labels group with the same voxels. Scores "
            "are added, the trials are sorted by them, and the best is named.",
        ),
    ] = None,
    truth_name: Annotated[
        str, o.option("--truth-name", panel=RESULT, metavar="NAME", text="Name of the true labels in TRUTH.zarr.")
    ] = "truth",
    output: Annotated[
        Path, o.option("--output", panel=RESULT, metavar="DIR", text="Folder for sweep.csv and sweep.png.")
    ] = Path("bigcp3d-sweep"),
    overwrite: Annotated[
        bool, o.option("--overwrite", panel=RESULT, text="Replace an earlier table and picture.")
    ] = False,
    verbose: o.Verbose = False,
    quiet: o.Quiet = False,
) -> None:
    """Try many diameters, thresholds, radii and filters on a region. The network predicts once for each diameter.

    Each trial gets a row in a table and a picture. No labels are written. Columns that are equal in all trials are left
    out, and trials with the same labels are drawn once. A trial with implausible cells is marked. Each trial finds what
    `bigcp3d segment --roi` finds with the same settings. Cells inside the region are those of a run on the whole
    volume. Cells at the region's border may differ. With `--truth` the trials are sorted by the mean of Dice and AP in
    the region, and the command of the best trial is printed. Pieces of cells at the region's border count as cells, so
    use these scores only to compare trials.
    """
    set_up_logging(verbose, quiet)
    from bigcp3d.edge.stores.atomic_files import write_atomically
    from bigcp3d.edge.stores.check_writable import check_file
    from bigcp3d.edge.stores.zarr_write import writing
    from bigcp3d.face.pictures.sweep_picture import draw_trials
    from bigcp3d.face.progress.progress import watching
    from bigcp3d.face.sweep_rows import rank, row_of, tabulate
    from bigcp3d.schedule.sweep import plan_sweep
    from bigcp3d.work.cores_and_memory import default_workers

    table, picture = output / "sweep.csv", output / "sweep.png"
    for file in (table, picture):
        check_file(file, overwrite=overwrite, instead="another folder with --output DIR")
    said = {name: arguments.pop(name) for name in SWEPT}
    values = {name: _read_values(name, ",".join(texts)) for name, texts in said.items() if texts is not None}
    arguments["source"] = image_of(Request(arguments["source"], scale_um=arguments["scale_um"]), quiet)
    with watching(quiet) as observer:
        planned = plan_sweep(**arguments, values=values, truth=truth, truth_name=truth_name, on_event=observer)
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
    with watching(quiet) as observer:
        trials = planned.run(on_event=observer, scratch=output, threads=default_workers())
        rows = rank(map(row_of, trials))
    columns, same = tabulate(rows)
    with writing(output):
        write_atomically(table, lambda file: file.write(_as_csv(columns)))
        draw_trials(planned, rows, [*columns[0]], picture)
    typer.echo(_describe(planned, rows, [*columns[0]], same))
    typer.echo(f"{table}, {picture}")
    if truth is None:
        typer.echo("the trials are in the order of their settings; look at the picture, or give --truth to rank them")
    else:
        if (number := int((rows[0].trial.scores or {}).get("true_cells") or 0)) < FEW_TRUE_CELLS:
            log.warning(
                "the region holds only %s: small differences between the scores may be chance; give a larger --roi",
                count(number, "true cell"),
            )
        typer.echo(f"best, for the whole volume: {_command_of_best(planned, rows[0])}")


def _as_csv(rows: Sequence[Columns]) -> bytes:
    """Rows with the same columns as CSV, in UTF-8."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _read_values(name: str, text: str) -> Sequence[float | str]:
    """Values with commas between them, without repetitions."""
    parts = dict.fromkeys(" ".join(part.split()) for part in text.split(","))
    if TYPES[name] is str:
        return list(parts)
    as_is = [AS_IS] if name == "diameter_um" and AS_IS in parts else []
    numbers = ",".join(part for part in parts if part not in as_is)
    return [*_read_numbers(name, numbers), *as_is] if numbers or not as_is else as_is


def _read_numbers(name: str, text: str) -> list[float]:
    """Numbers with commas between them, without repetitions."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"{FLAGS[name]} is {text!r}; write numbers with commas between them: 0.3,0.5,0.7") from error
    whole = TYPES[name] is int
    if whole and not all(number.is_integer() for number in numbers):
        raise InputError(f"{FLAGS[name]} is {text!r}; write whole numbers with commas between them: 2,4,6")
    return list(dict.fromkeys(int(number) if whole else number for number in numbers))


def _describe(planned: Sweep, rows: Sequence[Row], names: Sequence[str], same: Columns, most: int = 10) -> str:
    """The first trials, one per line, and what is the same in all of them."""
    from bigcp3d.face.sweep_rows import describe_result, describe_settings, describe_value

    lines = [f"{count(len(rows), 'trial')} in a region of {' x '.join(map(str, planned.region.shape))} voxels"]
    for row in rows[:most]:
        result = describe_result(row.trial) if row.same_as is None else f"the same labels as trial {row.same_as}"
        lines.append(f"  {row.number}: " + ": ".join(filter(None, [describe_settings(row, names), result])))
    lines += [f"  and {len(rows) - most} more"] if len(rows) > most else []
    told = [
        describe_value(name, value)
        for name, value in same.items()
        if isinstance(value, int | float | str) and value != ""
    ]
    return "\n".join(lines + ([f"the same in all: {', '.join(told)}"] if told else []))


def _command_of_best(planned: Sweep, best: Row) -> str:
    """The command that segments the whole volume with the settings of a trial; it replaces nothing."""
    from bigcp3d.edge.image.image import open_image
    from bigcp3d.edge.stores.places import is_address, place

    request, source = planned.request, place(planned.request.source)
    taken = open_image(request.source).label_names
    names = itertools.chain([DEFAULT_NAME, "best"], (f"best-{number}" for number in itertools.count(2)))
    target: dict[str, Any] = {"name": next(name for name in names if name not in taken)}
    if is_address(source) or not os.access(str(source), os.W_OK):
        target = {"output": f"{source.name.removesuffix('.zarr')}-cells.zarr"}
    chosen = replace(request, executor=Request.executor, **target, **best.trial.settings)  # type: ignore[arg-type]
    return segment_command(chosen, without=("roi", "time", "memory_limit", "work_dir"))
