"""``bigcp3d export``: writes labels or an image as a TIFF file."""

from __future__ import annotations

import typer

from bigcp3d.face import options as o
from bigcp3d.face.exit_codes import set_up_logging
from bigcp3d.face.taken_labels import tell_labels
from bigcp3d.schedule.planning.export_request import ExportRequest


@o.with_options(o.choose_settings(ExportRequest))
def export(arguments: o.Arguments, verbose: o.Verbose = False, quiet: o.Quiet = False) -> None:
    """Write labels or the image of STORE as a TIFF file (OME-TIFF, or a hyperstack for ImageJ), or STORE as one `.ozx`.

    The voxel size is written too. You can choose a region or a coarser level. Memory does not grow with the size of the
    file.
    """
    set_up_logging(verbose, quiet)
    from bigcp3d.face.describe_plan import format_size
    from bigcp3d.face.progress.block_bar import block_bar
    from bigcp3d.schedule.export import export as run

    if arguments["what"] == "labels":
        tell_labels(arguments["store"], arguments["name"], quiet=quiet)
    with block_bar("exporting", quiet) as move_bar:
        done = run(**arguments, on_event=move_bar)
    times, channels, *shape = done.shape
    words = [f"{format_size(tuple(shape))} voxels (z y x)"]
    words[0] += f" of {format_size(done.scale_um)} um" if done.scale_um else ", voxel size unknown"
    words += [f"{times} time points"] if times > 1 else []
    words += [f"{channels} channels"] if channels > 1 else []
    typer.echo(f"{done.path}: {', '.join([*words, done.dtype])}")
