"""``bigcp3d convert``: converts a file of another format to OME-Zarr. Other commands find or make an image here."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bigcp3d.edge.stores.platforms import join_words
from bigcp3d.errors import InputError
from bigcp3d.face import options as o
from bigcp3d.face.exit_codes import set_up_logging
from bigcp3d.pure.plural import count
from bigcp3d.schedule.planning.request import Request
from bigcp3d.work.convert.settings import ConvertSettings

if TYPE_CHECKING:
    from bigcp3d.edge.image.image import ImageInfo

log = logging.getLogger(__name__)


@o.with_options(o.choose_settings(ConvertSettings))
def convert(arguments: o.Arguments, verbose: o.Verbose = False, quiet: o.Quiet = False) -> None:
    """Convert a file or a folder of planes to an OME-Zarr image with a pyramid, in little memory.

    Axes, voxel size and channel names are read from the file. If something that is needed is missing, the command stops
    and names the option to give. To continue an interrupted conversion, give the same command again. CZI, LIF and ND2
    need `pip install 'bigcp3d[bioio]'`.
    """
    set_up_logging(verbose, quiet)
    from bigcp3d.face.progress.block_bar import block_bar
    from bigcp3d.work.convert.convert import convert as run

    with block_bar("converting", quiet) as move_bar:
        image = run(**arguments, on_event=move_bar)
    typer.echo(describe_converted(image))
    warn_of_faults(image)


def describe_converted(image: ImageInfo) -> str:
    """What was written, in a line: shape, axes, voxel size, channels, bytes on disk and place."""
    from bigcp3d.face.describe_plan import format_size
    from bigcp3d.pure.memory import format_bytes

    first = image.levels[0]
    size = sum(file.stat().st_size for file in Path(image.path).rglob("*") if file.is_file())
    words = [f"{format_size(first.shape)} voxels (z y x) of {format_size(first.scale_um or (1, 1, 1))} um"]
    words += [f"{image.times} time points"] if image.times > 1 else []
    words += [f"{image.channels} channels ({', '.join(image.channel_names)})"] if image.channels > 1 else []
    words += [image.dtype, f"axes {','.join(image.axes)}", count(len(image.levels), "level"), format_bytes(size)]
    return f"{image.path}: {', '.join(words)}"


def warn_of_faults(image: ImageInfo) -> None:
    """Log what `bigcp3d info` would warn of."""
    from bigcp3d.face.describe_store import find_faults

    for fault in find_faults(image):
        log.warning("%s", fault)


def describe_source(path: str | Path) -> str:
    """What `bigcp3d convert` would read from a file of another format, in lines."""
    from bigcp3d.edge.convert.open_source import open_source
    from bigcp3d.edge.convert.volume import settle_axes
    from bigcp3d.face.describe_plan import format_size

    with open_source(path) as source:
        try:
            axes, notes = settle_axes(source, None)
            hint = ""
        except InputError as error:
            axes, notes, hint = source.axes, [str(error).removeprefix(f"{source.path}: ")], " --axes AXES"
        known = [f"{axis} {source.scale_um[axis]:.4g}" for axis in "zyx" if axis in source.scale_um]
        if len(known) < 3:
            known.append(f"{'the rest is ' if known else ''}not in the file; give --scale")
            hint += " --scale Z Y X"
        lines = [
            f"{source.path}: {source.kind}, {format_size(source.shape)} of {source.dtype.name}",
            f"axes {','.join(axes)}",
            f"voxel size in um: {', '.join(known)}",
            f"channels: {', '.join(source.channel_names) or 'without names'}",
            *(f"warning: {note}" for note in (*source.notes, *notes)),
            f"to convert it: bigcp3d convert {join_words([str(path)])}{hint}",
        ]
    return "\n  ".join(lines)


def image_of(request: Request, quiet: bool) -> str | Path:
    """The image of a request, converted with a bar where it is a file of another format."""
    from bigcp3d.face.progress.block_bar import block_bar
    from bigcp3d.schedule.planning.find_image import with_image

    with block_bar("converting", quiet) as move_bar:
        return with_image(request, move_bar, lambda line: None if quiet else typer.echo(line, err=True)).source
