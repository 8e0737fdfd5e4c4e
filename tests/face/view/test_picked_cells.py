"""Cells that are picked in the browser are told as the commands that correct them."""

import copy
import shlex

import pytest
from typer.testing import CliRunner

from bigcp3d.face.cli import app
from bigcp3d.face.view.picked_cells import MOST, STATUS, commands_for
from bigcp3d.face.view.scene import make_scene
from tests.schedule.edits.conftest import ball_store, store

__all__ = ["ball_store", "store"]


def test_commands_for_picked_cells_are_said_and_shown_and_can_be_run(store):
    neuroglancer = pytest.importorskip("neuroglancer", reason="neuroglancer is not installed")
    from bigcp3d.face.view.neuroglancer_view import serving

    said, labels = [], str(store.path / "labels" / "cells")
    with serving(make_scene(store.path), say=said.append) as served:

        def pick(*cells):
            state = copy.deepcopy(served.viewer.state.to_json())  # which would be changed in place, unseen
            state["layers"][-1]["segments"] = [str(cell) for cell in cells]
            served.viewer.set_state(neuroglancer.ViewerState(state))
            return served.viewer.config_state.state.status_messages.get(STATUS, "")

        shown = pick(3)
        assert said == [f"bigcp3d edit {labels} split 3", f"bigcp3d edit {labels} delete 3"]
        assert all(command in shown for command in said)
        pick(3)
        assert len(said) == 2, "said once"
        pick(1, 2)
        assert said[2:] == commands_for(labels, [1, 2])
        assert pick() == ""
        pick(*range(1, MOST + 2))
        assert len(said) == 4
    done = CliRunner().invoke(app, shlex.split(said[2])[1:])
    assert (done.exit_code, done.stdout.strip()) == (0, "change 1: merge of 1, 2")
