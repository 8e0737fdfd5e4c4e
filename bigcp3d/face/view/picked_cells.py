"""Tells which cells are picked in the browser, and the commands that correct them, to be copied."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.face.paste import edit_command
from bigcp3d.face.view.scene import Scene

STATUS = "bigcp3d"
MOST = 20
"""Of more picked cells no command is told."""


def commands_for(labels: ImageInfo, image: ImageInfo | None, cells: Sequence[int], time: int) -> list[str]:
    """The commands that correct picked cells: delete or split one, merge or delete several; none for too many."""
    if not 0 < len(cells) <= MOST:
        return []
    actions = ("split", "delete") if len(cells) == 1 else ("merge", "delete")
    return [edit_command(labels, image, [action, *cells], time) for action in actions]


def follow_picks(viewer: Any, scene: Scene, say: Callable[[str], None]) -> None:
    """Whenever other cells are picked, say the commands, and show them at the bottom of the viewer.

    They are said again at another time point, where the same ids may be other cells. ``viewer`` is a
    ``neuroglancer.Viewer``; ``say`` is called in its server's thread with a command at a time.
    """
    image = scene.images[0].info if scene.images else None
    last: dict[str, tuple[list[int], int] | None] = {}

    def changed() -> None:
        state = viewer.state.to_json()
        layers = {layer["name"]: layer for layer in state.get("layers", [])}
        for labels in scene.labels:
            cells = _picked(layers.get(labels.name, {}))
            time = min(_time_of(state, scene.time), labels.info.times - 1)
            picked = (cells, time) if cells else None
            if picked == last.get(labels.name):
                continue
            last[labels.name] = picked
            commands = commands_for(labels.info, image, cells, time)
            for command in commands:
                say(command)
            with viewer.config_state.txn() as config:
                config.status_messages[STATUS] = "    or    ".join(commands)

    viewer.shared_state.add_changed_callback(changed)


def _picked(layer: Mapping[str, Any]) -> list[int]:
    """The cells that are picked and visible; Neuroglancer writes ``"!5"`` for a picked cell that is hidden."""
    return [int(word) for word in map(str, layer.get("segments", ())) if not word.startswith("!")]


def _time_of(state: Mapping[str, Any], default: int) -> int:
    """The time point of the viewer's position. Time point t reaches from t - 0.5 to t + 0.5, as voxels do."""
    axes, position = [*state.get("dimensions", ())], state.get("position", ())
    if "t" not in axes or len(position) != len(axes):
        return default
    return max(0, math.floor(float(position[axes.index("t")]) + 0.5))
