"""``bigcp3d info``: describes a store, and finds what is wrong with it."""

from __future__ import annotations

from typing import Annotated

import typer

from bigcp3d.face import options as o
from bigcp3d.face.commands.all_images import AllImages, for_each_image
from bigcp3d.face.commands.convert import describe_source
from bigcp3d.face.exit_codes import set_up_logging


def info(
    source: Annotated[str, typer.Argument(metavar="IN.zarr", help="An OME-Zarr store, or a file to convert.")],
    check: Annotated[
        bool,
        o.option(
            "--check",
            text="Compare the metadata with the OME-Zarr specification, count the chunks, and read the whole image and "
            "all labels.",
        ),
    ] = False,
    all_images: AllImages = False,
    verbose: o.Verbose = False,
    quiet: o.Quiet = False,
) -> None:
    """Describe a store: what it holds, how it would be segmented, and what is wrong with it.

    Shows version, axes, levels, scales, chunks and channels; then labels, tables, unfinished runs and kept maps; then
    the blocks, memory and disk that a segmentation would take. For a file of another format, shows what `bigcp3d
    convert` would read. With `--check`, the exit code is 2 if labels or a chunk cannot be read, or if the store holds
    files that its metadata do not name.
    """
    set_up_logging(verbose, quiet)
    if all_images:
        for_each_image(source, quiet, lambda image, name: _describe(image, check=check, quiet=quiet))
    else:
        _describe(source, check=check, quiet=quiet)


def _describe(source: str, *, check: bool, quiet: bool) -> None:
    """Print what one image is."""
    from bigcp3d.face.check_store import check_store
    from bigcp3d.face.describe_store import describe_image
    from bigcp3d.work.convert.beside import find_converted

    image, missing = find_converted(source)
    if missing:
        typer.echo(describe_source(source))
        return
    source = str(image)
    typer.echo(describe_image(source))
    if check:
        check_store(source, quiet=quiet)
