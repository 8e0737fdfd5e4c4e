"""Finds the image of a request. A file of another format is converted beside it, once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

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
    return replace(
        request, source=convert_beside(request.source, scale_um=request.scale_um, on_event=on_event, tell=tell)
    )


def with_known_image(request: Request) -> Request:
    """The same without converting: a file that was not converted yet stays, and opening it says what to do."""
    image, missing = find_converted(request.source)
    return request if missing else replace(request, source=image)
