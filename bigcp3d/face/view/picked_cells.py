"""Tells which cells are picked in the browser, and the commands that correct them, to be copied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bigcp3d.edge.stores.platforms import join_words
from bigcp3d.face.view.scene import Scene

STATUS = "bigcp3d"
MOST = 20
"""Of more picked cells no command is told."""


def commands_for(path: str, cells: list[int]) -> list[str]:
    """The commands that correct picked cells of a labels group: delete or split one, merge or delete several."""
    ids = [str(cell) for cell in cells]
    actions = ("split", "delete") if len(ids) == 1 else ("merge", "delete")
    return [join_words(["bigcp3d", "edit", path, action, *ids]) for action in actions]


def follow_picks(viewer: Any, scene: Scene, say: Callable[[str], None]) -> None:
    """Whenever other cells are picked, say the commands, and show them at the bottom of the viewer.

    ``viewer`` is a ``neuroglancer.Viewer``; ``say`` is called in its server's thread with a command at a time.
    """
    last: dict[str, list[int]] = {}

    def changed() -> None:
        layers = viewer.state.to_json().get("layers", [])
        picked = {layer["name"]: [int(cell) for cell in layer.get("segments", ())] for layer in layers}
        for labels in scene.labels:
            cells = picked.get(labels.name, [])
            if cells == last.get(labels.name, []):
                continue
            last[labels.name] = cells
            commands = commands_for(str(labels.info.path), cells) if 0 < len(cells) <= MOST else []
            for command in commands:
                say(command)
            with viewer.config_state.txn() as config:
                config.status_messages[STATUS] = "    or    ".join(commands)

    viewer.shared_state.add_changed_callback(changed)
