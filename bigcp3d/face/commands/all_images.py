"""``--all-images``: a command runs on every image of a plate, a well or a collection, one after the other.

An image that fails does not stop the others; it is told at the end, and the command fails then.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigcp3d.errors import BigCP3DError, InputError
from bigcp3d.face import options as o
from bigcp3d.schedule.planning.request import RUN

if TYPE_CHECKING:
    from bigcp3d.schedule.measure import MeasuredCells

AllImages = Annotated[
    bool,
    o.option(
        "--all-images",
        panel=RUN,
        text="Take every image of a plate, a well, a bioformats2raw collection or a folder of stores, one after the "
        "other. One that fails does not stop the others. A table in a file gets a column that names the image.",
    ),
]

IMAGE = "image"
"""Name of the column that says which image a row belongs to."""


def for_each_image(
    source: Any,
    quiet: bool,
    run: Callable[[str, str], None],
    then: Callable[[], None] = lambda: None,
    *,
    with_labels: bool = True,
) -> None:
    """Call ``run`` with each image below a path, and with its name there ("" for the path itself); at last ``then``.

    ``with_labels`` says whether stores of ``--output`` count as images (`find_images`).
    Raises the kind of the first error at the end, with all that failed. An error of another kind (a bug, Ctrl-C) ends
    it at once.
    """
    from bigcp3d.edge.image.open_node import find_images
    from bigcp3d.edge.stores.places import place

    root, failed = str(place(source)), dict[str, BigCP3DError]()
    images = find_images(source, with_labels=with_labels)
    for number, image in enumerate(images, 1):
        if not quiet:
            typer.echo(f"image {number} of {len(images)}: {image}", err=True)
        try:
            run(image, image[len(root) :].replace(os.sep, "/").strip("/"))
        except BigCP3DError as error:
            _tell(error)
            failed[image] = error
    try:
        then()
    except BigCP3DError as error:
        if not failed:
            raise
        _tell(error)
    if failed:
        first = next(iter(failed.values()))
        raise type(first)(
            f"{len(failed)} of {len(images)} images failed; the others are done, and the same command tries these "
            f"again: {', '.join(failed)}"
        )


def _tell(error: BigCP3DError) -> None:
    typer.echo(f"bigcp3d: {type(error).__name__}: {error}", err=True)


def one_of_many(output: Any, name: str) -> Any:
    """Where the labels of an image go, if the user names a store for those of all: below it, as the images lie."""
    return f"{str(output).rstrip('/')}/{name}" if output is not None and name else output


def refuse_single(what: Sequence[str]) -> None:
    """Refuse options that mean one image."""
    if what:
        raise InputError(
            f"{', '.join(what)}: this means one image, but --all-images takes many; leave one out, or run the "
            "command image by image"
        )


def write_one_table(tables: dict[str, MeasuredCells], output: str) -> str:
    """Write the cells of several images into one file, with the image in the first column; a line about it."""
    import numpy as np

    from bigcp3d.edge.cell_tables.cell_files import write_cell_file
    from bigcp3d.pure.plural import count

    every = [table.columns for table in tables.values()]
    shared = [name for name in every[0] if all(name in columns for columns in every)]
    joined = {name: np.concatenate([columns[name] for columns in every]) for name in shared}
    names = np.repeat(np.array(list(tables)), [len(table) for table in tables.values()])
    write_cell_file(output, {IMAGE: names, **joined}, {"images": {name: t.about() for name, t in tables.items()}})
    return f"{output}: {count(len(names), 'cell')} of {count(len(tables), 'image')}"
