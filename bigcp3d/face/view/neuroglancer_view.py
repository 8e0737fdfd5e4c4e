"""Shows a scene in Neuroglancer, in a browser on this machine or on one that an ssh tunnel connects.

Two servers listen on the loopback address: ours sends voxels (`bigcp3d.face.view.store_server`), and that of
Neuroglancer's Python package sends the viewer. Nothing comes from another machine.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from bigcp3d.errors import InputError
from bigcp3d.face.view.neuroglancer_state import MESHES, describe_state, only_shown
from bigcp3d.face.view.picked_cells import follow_picks
from bigcp3d.face.view.scene import Scene
from bigcp3d.face.view.store_server import HOST, StoreServer


@dataclass(frozen=True)
class Served:
    """A scene that a browser can open: the viewer, its address, and the ports (viewer, voxels) for a tunnel."""

    url: str
    ports: tuple[int, int]
    viewer: Any


def need_neuroglancer() -> ModuleType:
    """The package neuroglancer; `InputError` with the command that installs it where it is missing."""
    try:
        return importlib.import_module("neuroglancer")
    except ImportError as error:
        raise InputError(
            f"the viewer in the browser needs the package neuroglancer, which is not installed ({error}); install "
            "it: pip install 'bigcp3d[view]' (in a clone: pip install '.[view]'), or give --napari"
        ) from error


@contextmanager
def serving(
    scene: Scene, port: int | None = None, *, say: Callable[[str], None] = lambda words: None
) -> Iterator[Served]:
    """Serve a scene while the block runs, at ``port`` and the next port, or at free ports.

    ``say`` gets the commands that correct the cells picked in the browser, which the viewer shows as well.
    `InputError` where Neuroglancer is not installed or a port cannot be used.
    """
    neuroglancer = need_neuroglancer()
    scene = only_shown(scene)
    names = {group.info.path: str(number) for number, group in enumerate(scene.groups)}
    groups = {names[group.info.path]: group.served for group in scene.groups}
    groups |= {names[each.info.path] + MESHES: each.meshes for each in scene.labels if each.meshes is not None}
    with StoreServer(groups, 0 if port is None else port + 1) as voxels:
        neuroglancer.set_server_bind_address(HOST, port or 0)
        try:
            viewer = neuroglancer.Viewer(allow_credentials=False)
        except OSError as error:
            raise InputError(f"port {port} cannot be used ({error}); give another --port") from error
        try:
            urls = {path: f"{voxels.url}{name}/" for path, name in names.items()}
            viewer.set_state(neuroglancer.ViewerState(describe_state(scene, urls)))
            follow_picks(viewer, scene, say)
            url = viewer.get_viewer_url()
            yield Served(url, (urlsplit(url).port or 0, voxels.server_port), viewer)
        finally:
            neuroglancer.stop()
