"""Makes the options of the commands from the settings of the library; and the few options that only commands have."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import MISSING
from functools import wraps
from typing import Annotated, Any, get_origin, get_type_hints

import typer

from bigcp3d.option import Option, Setting, settings_of
from bigcp3d.schedule.planning.request import RESULT, RUN

Arguments = dict[str, Any]
"""Arguments of the library, by name."""


def option(*names: str, text: str, panel: str | None = None, metavar: str = "", **more: Any) -> Any:
    """An option that only the command line has; a flag unless there is a ``metavar``."""
    return typer.Option(*names, help=text, rich_help_panel=panel, metavar=metavar, **more)


DryRun = Annotated[bool, option("--dry-run", panel=RUN, text="Check everything, print the plan, and write nothing.")]
Verbose = Annotated[bool, option("--verbose", "-v", panel=RUN, text="Log everything, and show tracebacks.")]
Quiet = Annotated[bool, option("--quiet", "-q", panel=RUN, text="Show no progress and no warnings.")]
Json = Annotated[bool, option("--json", panel=RUN, text="Print events as JSON lines, for pipelines.")]
NoReport = Annotated[
    bool,
    option(
        "--no-report",
        panel=RESULT,
        text="Write no report. Default: a web page with slices, cells and times is written to STORE.NAME.report.html "
        "beside the store; for a store at an address, to BUCKET-STORE.NAME.report.html in the current folder.",
    ),
]
ImageOfLabels = Annotated[
    str | None,
    option(
        "--image",
        metavar="IMAGE.zarr",
        text="The image of the labels. Default: the image that the labels name. An image on another server is opened "
        "only if you give it here.",
    ),
]
LabelsName = Annotated[str, option("--name", metavar="NAME", text="Name of the labels: labels/NAME.")]
Seed = Annotated[int, option("--seed", metavar="N", text="The same seed gives the same tissue, voxel by voxel.")]


def choose_settings(owner: type, *, only: Iterable[str] = (), without: Iterable[str] = ()) -> list[Setting]:
    """The settings of a class that have an option: all of them, ``only`` these, or all ``without`` these."""
    known = settings_of(owner)
    wanted = [*only] or [name for name in known if name not in without]
    return [known[name] for name in wanted if known[name].flag]


def with_options(settings: Iterable[Setting]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of ``settings``. It gets their values, by name, as its first argument."""
    known = {each.name: each for each in settings}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(**given: Any) -> None:
            values = {name: _read(each, given.pop(name)) for name, each in known.items()}
            command(values, **given)

        hints = get_type_hints(command, include_extras=True)
        own = [*inspect.signature(command).parameters.values()][1:]
        parameters = [*map(_parameter, known.values()), *(p.replace(annotation=hints[p.name]) for p in own)]
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def _parameter(each: Setting) -> inspect.Parameter:
    """The argument or option of a setting, as typer takes it."""
    option: Option = each.option
    is_flag = option.switch is not None or each.members == (bool,)
    metavar = "" if is_flag else option.metavar or "|".join(each.choices) or None
    if option.positional:
        shown = typer.Argument(metavar=metavar, help=option.help)
    else:
        shown = typer.Option(each.flag, metavar=metavar, help=option.help, rich_help_panel=option.panel)
    kind, default = _word_type(each), each.default
    if option.switch is not None:
        default = default == option.switch
    elif option.many and not default:
        default = None
    if default is None:
        kind = kind | None
    if default is MISSING:
        default = inspect.Parameter.empty
    return inspect.Parameter(
        each.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, shown]
    )


def _word_type(each: Setting) -> Any:
    """The type of the value that a user types: text where the setting takes any, else a number or several."""
    if each.option.many:
        return list[str]
    if each.option.switch is not None:
        return bool
    if str in each.members or each.choices:
        return str
    return next(kind for kind in each.members if kind in (bool, int, float) or get_origin(kind) is tuple)


def _read(each: Setting, value: Any) -> Any:
    """The library's value of what was typed. Where numbers and names are allowed, digits may be either."""
    if each.option.switch is not None:
        return each.option.switch if value else each.default
    if each.option.many:
        if not value:
            return each.default
        return tuple(value)
    if float in each.members and isinstance(value, str):
        with suppress(ValueError):
            return float(value)
    return value
