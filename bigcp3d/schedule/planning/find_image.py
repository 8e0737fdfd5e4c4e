"""Finds the image of a request. A file of another format is converted beside it, once."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bigcp3d.edge.image.other_formats import recognise
from bigcp3d.edge.stores.places import place
from bigcp3d.edge.stores.zip_place import ZipPlace
from bigcp3d.errors import InputError
from bigcp3d.schedule.planning.request import Request
from bigcp3d.work.analyse.blocks_read import BlocksRead
from bigcp3d.work.convert.beside import convert_beside, find_converted

log = logging.getLogger(__name__)


def with_image(
    request: Request,
    on_event: Callable[[BlocksRead], None] | None = None,
    tell: Callable[[str], None] = log.warning,
) -> Request:
    """The request with an OME-Zarr image in place of a file of another format. Converts it where it is not there yet.

    ``tell`` takes a line about it. ``on_event`` receives the pieces that are converted.
    """
    if find_converted(request.source)[1]:
        request.check()  # wrong options are told before a conversion, not after it
    source = convert_beside(request.source, scale_um=request.scale_um, on_event=on_event, tell=tell)
    beside = _beside_archive(request)
    if beside is not None:
        tell(f"{source}: nothing can be written into a zip archive; the labels go to {beside}")
    return replace(request, source=source, output=beside or request.output)


def _beside_archive(request: Request) -> Path | None:
    """Where labels of an image in a zip archive go: NAME.labels.zarr beside it; None for other images."""
    spot = place(request.source)
    if request.output is not None or not isinstance(spot, ZipPlace):
        return None
    inside = "".join(f".{part}" for part in spot.key.split("/") if part)
    return Path(f"{os.path.splitext(spot.root)[0]}{inside}.labels.zarr")


def with_known_image(request: Request) -> Request:
    """The same without converting: `InputError` with the command for a file that was not converted yet."""
    image, missing = find_converted(request.source)
    if missing:
        request.check()
        spot = Path(str(place(request.source)))
        _, words, cure = recognise(spot)
        scale = f" --scale {' '.join(f'{size:.12g}' for size in request.scale_um)}" if request.scale_um else ""
        raise InputError(f"{spot}: this is {words}, not an OME-Zarr folder; {cure}{scale}")
    return replace(request, source=image, output=_beside_archive(request) or request.output)
