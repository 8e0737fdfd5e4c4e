"""Checks a store for `bigcp3d info --check`: metadata first, then a list of its files, then every chunk.

The first two are fast for a store of terabytes too, and what they find is told before the chunks are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from numpy.typing import NDArray

from bigcp3d.edge.image.count_chunks import count_chunks
from bigcp3d.edge.image.image import ImageInfo, open_image, open_labels
from bigcp3d.edge.image.metadata_faults import all_faults
from bigcp3d.edge.image.torn_chunks import find_torn_chunks
from bigcp3d.errors import BigCP3DError, InputError
from bigcp3d.face.progress.block_bar import block_bar
from bigcp3d.pure.plural import count
from bigcp3d.work.analyse.blocks_read import BlocksRead


def check_store(path: str | Path, *, quiet: bool) -> None:
    """Tell what differs from the specification, count chunks, and read them all.

    `InputError` at the end if labels or chunks cannot be read, or files lie which the metadata do not name.
    """
    image = open_image(path)
    labels, unreadable = [], 0
    for name in image.label_names:
        try:
            labels.append(open_labels(path, name))
        except BigCP3DError as error:
            unreadable += 1
            typer.echo(f"unreadable: {error}")
    faults = list(all_faults(image, labels))
    for fault in faults:
        typer.echo(f"metadata: {fault}")
    if not faults:
        typer.echo("metadata: as the specification says")
    lost = sum(_count(info) for info in (image, *labels))
    torn = 0
    negative: set[str] = set()
    with block_bar("reading", quiet) as move_bar:
        for info in (image, *labels):

            def look(voxels: NDArray[Any], path: str = info.path) -> None:
                if path != image.path and voxels.dtype.kind == "i" and voxels.min() < 0:
                    negative.add(path)

            for fault in find_torn_chunks(info, lambda *counts: move_bar(BlocksRead(*counts)), look):
                torn += 1
                typer.echo(f"torn: {fault}")
    for where in sorted(negative):
        typer.echo(f"ids: {where}: some ids are below 0; they count as not annotated, and are left out")
    if not (torn or lost or unreadable):
        typer.echo("every chunk can be read")
        return
    raise InputError(f"{path}: {', '.join(_troubles(torn, lost, unreadable))}; copy or write the store again")


def _troubles(torn: int, lost: int, unreadable: int) -> Iterator[str]:
    if unreadable:
        yield f"{count(unreadable, 'labels group')} cannot be read"
    if lost:
        yield f"the metadata do not name {count(lost, 'file')}"
    if torn:
        yield f"{count(torn, 'piece')} cannot be read"


def _count(info: ImageInfo) -> int:
    """Tell how many chunks each level has; the number of files that the metadata do not lead to."""
    lost = 0
    for number, level in enumerate(info.levels):
        where = f"{info.path}/{level.path}"
        found = count_chunks(info, number)
        if found is None:
            typer.echo(f"chunks: {where}: a web server lists no files, so they are not counted")
            continue
        text = f"{found.stored} of {count(found.expected, found.pieces[:-1])} stored"
        text += f"; {found.missing:,} not stored, read as the fill value" if found.missing else ""
        text += f"; {count(found.dead, 'link')} to what is not there" if found.dead else ""
        typer.echo(f"chunks: {where}: {text}")
        if found.others:
            lost += found.others
            typer.echo(
                f"lost: {where}: {count(found.others, 'file')}, such as {found.example!r}, which the metadata do not "
                "name"
            )
    return lost
