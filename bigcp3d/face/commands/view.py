"""``bigcp3d view``: shows an image and its labels in a browser, served by this machine."""

from __future__ import annotations

import getpass
import os
import socket
import sys
import threading
import webbrowser
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bigcp3d.errors import InputError
from bigcp3d.face import options as o
from bigcp3d.face.exit_codes import set_up_logging
from bigcp3d.schedule.planning.request import Request

if TYPE_CHECKING:
    from bigcp3d.face.view.scene import Scene

Store = Annotated[
    str,
    typer.Argument(
        metavar="STORE.zarr",
        help="Image with labels, store from --output, or one labels group: a path, s3://BUCKET/PATH or https://.",
    ),
]
Names = Annotated[
    list[str] | None,
    o.option(
        "--name",
        metavar="NAME",
        text="Labels to show; may be given several times. Default: cells, as for the other commands; if no "
        "labels have this name, those that were finished last. All others are hidden at first.",
    ),
]
Port = Annotated[
    int | None,
    o.option(
        "--port", metavar="N", min=1, max=65534, text="Port of the page; its data use port N + 1. Default: free ports."
    ),
]
PrintUrl = Annotated[
    bool,
    o.option(
        "--print-url",
        text="For a viewer on a remote machine: open no browser. Print the address, and the ssh command that makes it "
        "reachable from your machine.",
    ),
]
At = Annotated[
    str | None,
    o.option(
        "--at",
        metavar="Z,Y,X",
        text="Begin at this position, such as 24,100,80 in voxels of level 0. With um at the end, the numbers are "
        "micrometres. Default: the middle of the volume.",
    ),
]
Maps = Annotated[
    bool, o.option("--maps", text="Also show the predicted foreground and flow (kept by segment --keep-maps).")
]
Prepare = Annotated[
    str | None,
    o.option(
        "--prepare",
        metavar="'NAME:SIZE ...'",
        text="Also show the filtered image, as segment --prepare filters it: 'background:30um median:3px'. It is "
        "hidden at first.",
    ),
]
Meshes = Annotated[
    bool, o.option("--meshes", text="Also show picked cells as surfaces in the 3D panel, at the time point of --time.")
]
WorkDir = Annotated[
    Path | None,
    o.option(
        "--work-dir", metavar="DIR", text="Work directory with the maps for --maps. Default: where the run kept them."
    ),
]
SETTINGS = [replace(s, option=replace(s.option, panel="")) for s in o.choose_settings(Request, only=["scale_um"])]


@o.with_options(SETTINGS)
def view(
    arguments: o.Arguments,
    store: Store,
    names: Names = None,
    image: o.ImageOfLabels = None,
    at: At = None,
    time: Annotated[int, o.option("--time", metavar="N", text="Begin at this time point, from 0.")] = 0,
    maps: Maps = False,
    prepare: Prepare = None,
    meshes: Meshes = False,
    work_dir: WorkDir = None,
    napari: Annotated[
        bool, o.option("--napari", text="Open napari instead of a browser (needs bigcp3d[napari]).")
    ] = False,
    port: Port = None,
    print_url: PrintUrl = False,
    no_browser: Annotated[bool, o.option("--no-browser", text="Print the address, and open nothing.")] = False,
    verbose: o.Verbose = False,
    quiet: o.Quiet = False,
) -> None:
    """Look at an image and its labels in a browser, with Neuroglancer. No internet connection is needed.

    Double-click a cell to pick it. Its id is that in the table of cells. For picked cells, the terminal and the bottom
    of the page show the commands that correct them. At the start, a change of the labels that was interrupted is
    completed or taken back. The viewer writes nothing else. Ctrl-C ends it.
    """
    set_up_logging(verbose, quiet)
    scale = arguments["scale_um"]
    of_browser = (maps, meshes, work_dir is not None, scale is not None, port is not None, print_url, no_browser)
    if napari and any(of_browser):
        raise InputError(
            "--napari opens a window; leave out the options of the browser: --maps, --meshes, --work-dir, "
            "--scale, --port, --print-url, --no-browser"
        )
    if napari and not has_screen():
        raise InputError("napari needs a display, and there is none; use the browser: --print-url shows its address")
    from bigcp3d.edge.image.image import open_image
    from bigcp3d.face.view.napari_view import need_napari, open_in_napari
    from bigcp3d.face.view.neuroglancer_view import need_neuroglancer
    from bigcp3d.face.view.scene import make_scene
    from bigcp3d.schedule.edits.correction import settle_labels

    need_napari() if napari else need_neuroglancer()
    for name in names or open_image(store).label_names:
        settle_labels(store, name)
    scene = make_scene(store, names or (), image=image, scale_um=scale, at=at, time=time)
    _tell_hidden(scene)
    if prepare is not None:
        from bigcp3d.face.view.prepared_layers import with_prepared

        scene = with_prepared(scene, prepare, scale)
    if napari:
        open_in_napari(scene)
        return
    if maps or work_dir is not None:
        from bigcp3d.face.view.maps_layers import with_maps

        scene = with_maps(scene, work_dir)
    if meshes:
        from bigcp3d.face.view.cell_meshes import with_meshes

        scene = with_meshes(scene)
    _serve(scene, port, print_url=print_url, no_browser=no_browser)


def _tell_hidden(scene: Scene) -> None:
    if hidden := [labels.name for labels in scene.labels if not labels.visible]:
        shown = ", ".join(labels.name for labels in scene.labels if labels.visible)
        typer.echo(f"shown: the labels {shown}; hidden at first: {', '.join(hidden)} (--name NAME shows others)")


def _serve(scene: Scene, port: int | None, *, print_url: bool, no_browser: bool) -> None:
    """Show a scene in a browser until Ctrl-C."""
    from bigcp3d.face.view.neuroglancer_view import serving

    with suppress(KeyboardInterrupt), serving(scene, port, say=typer.echo) as served:
        typer.echo(served.url)
        if print_url:
            typer.echo(f"on your own machine: {ssh_command(served.ports)}\nthen open the address above there")
        elif not no_browser and not (has_screen() and webbrowser.open(served.url)):
            typer.echo("no browser can be opened here; open the address yourself, or give --print-url", err=True)
        typer.echo("Ctrl-C ends the viewer", err=True)
        threading.Event().wait()  # until Ctrl-C, which is the usual end and no failure
    typer.echo("closed", err=True)


def ssh_command(ports: tuple[int, int]) -> str:
    """The command for another machine after which the same addresses lead here; the host name may need a correction."""
    tunnels = " ".join(f"-L {port}:127.0.0.1:{port}" for port in ports)
    return f"ssh -N {tunnels} {getpass.getuser()}@{socket.gethostname()}"


def has_screen() -> bool:
    """Whether a browser can open a window. On Linux without a display, Python would start one inside the terminal."""
    return not sys.platform.startswith("linux") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
