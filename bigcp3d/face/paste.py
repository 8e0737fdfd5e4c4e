"""Commands for a user to paste: complete, quoted for a shell, and without options that have their defaults."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any

from bigcp3d.edge.stores.platforms import join_words
from bigcp3d.option import Setting, settings_of
from bigcp3d.schedule.planning.request import Request


def segment_command(request: Request, *, without: Iterable[str] = ()) -> str:
    """The ``bigcp3d segment`` that does what a request asks, apart from the settings ``without``."""
    known, left_out = settings_of(Request), set(without)
    chosen = []
    for each in (known[field.name] for field in fields(request)):
        value = getattr(request, each.name)
        named = each.name == "model" and request.maps is None
        if each.name not in left_out and value is not None and (named or value != each.default):
            chosen.append((each, value))
    return paste("segment", chosen)


def paste(command: str, settings: Iterable[tuple[Setting, Any]]) -> str:
    """A command with the values of some settings."""
    return join_words(["bigcp3d", command, *(word for pair in settings for word in _words(*pair))])


def _words(each: Setting, value: Any) -> Iterator[str]:
    """A setting as it is typed."""
    several = isinstance(value, list | tuple)
    if not each.flag and not each.option.positional:
        return
    if each.option.many:
        for one in value if several else [value]:
            yield from (each.flag, _word(one))
        return
    if each.flag and not each.option.positional:
        yield each.flag
    if each.option.switch is None and value is not True:
        yield from map(_word, value if several else [value])


def _word(value: Any) -> str:
    """A value; numbers as short as they can be without a change."""
    if isinstance(value, float):
        return short if float(short := f"{value:g}") == value else repr(value)
    return str(value)
