"""Commands for a user to paste: complete, quoted for a shell, and without options that have their defaults."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from bigcp3d.edge.stores.platforms import join_words
from bigcp3d.option import Setting, settings_of
from bigcp3d.schedule.planning.request import Request

if TYPE_CHECKING:
    from bigcp3d.edge.image.image import ImageInfo


def segment_command(request: Request, *, without: Iterable[str] = ()) -> str:
    """The ``bigcp3d segment`` that does what a request asks, apart from the settings ``without``."""
    known, left_out = settings_of(Request), set(without)
    words = ["bigcp3d", "segment"]
    for each in (known[field.name] for field in fields(request)):
        value = getattr(request, each.name)
        named = each.name == "model" and request.maps is None
        if each.name not in left_out and value is not None and (named or value != each.default):
            words += _words(each, value)
    return join_words(words)


def view_command(labels: ImageInfo, image: ImageInfo | None, voxel: Sequence[int], time: int) -> str:
    """The ``bigcp3d view`` that begins at a voxel of the labels; ``image`` is their image, if they have one."""
    fine = labels.levels[0].shape
    shape = fine if image is None else image.levels[0].shape  # the viewer counts in voxels of the image
    at = [(2 * v + 1) * n // (2 * f) for v, n, f in zip(voxel, shape, fine, strict=True)]
    return _about_labels("view", labels, image, ["--at", join_numbers(at)], time)


def edit_command(labels: ImageInfo, image: ImageInfo | None, words: Iterable[object], time: int) -> str:
    """The ``bigcp3d edit`` that corrects the labels at a time point; ``words`` say how: ``["delete", 7]``."""
    return _about_labels("edit", labels, image, words, time)


def join_numbers(voxel: Iterable[int]) -> str:
    """A voxel as options take it."""
    return ",".join(map(str, voxel))


def _about_labels(command: str, labels: ImageInfo, image: ImageInfo | None, words: Iterable[object], time: int) -> str:
    from bigcp3d.edge.labels.image_and_labels import needs_no_name

    named = [] if image is None or needs_no_name(labels, image) else ["--image", image.path]
    when = ["--time", time] if time else []
    return join_words(map(str, ["bigcp3d", command, labels.path, *words, *named, *when]))


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
