"""Cells that are picked in the browser are told as the commands that correct them."""

import copy
import shlex
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner

from bigcp3d.face.cli import app
from bigcp3d.face.view.picked_cells import MOST, STATUS
from bigcp3d.face.view.scene import make_scene
from tests.schedule.edits.conftest import ball_store, store, write_moving_balls

__all__ = ["ball_store", "store"]


@contextmanager
def picking(path, said):
    """A function that picks cells, at a time point, and gives what the viewer shows then."""
    neuroglancer = pytest.importorskip("neuroglancer", reason="neuroglancer is not installed")
    from bigcp3d.face.view.neuroglancer_view import serving

    with serving(make_scene(path), say=said.append) as served:

        def pick(*cells, time=None):
            state = copy.deepcopy(served.viewer.state.to_json())  # which would be changed in place, unseen
            state["layers"][-1]["segments"] = [str(cell) for cell in cells]
            if time is not None:
                state["position"][-1] = time
            served.viewer.set_state(neuroglancer.ViewerState(state))
            return served.viewer.config_state.state.status_messages.get(STATUS, "")

        yield pick


def test_commands_for_picked_cells_are_said_and_shown_and_can_be_run(store):
    said, labels = [], str(store.path / "labels" / "cells")
    with picking(store.path, said) as pick:
        shown = pick(3)
        assert said == [f"bigcp3d edit {labels} split 3", f"bigcp3d edit {labels} delete 3"]
        assert all(command in shown for command in said)
        pick(3)
        assert len(said) == 2, "said once"
        pick(1, 2)
        assert said[2:] == [f"bigcp3d edit {labels} merge 1 2", f"bigcp3d edit {labels} delete 1 2"]
        assert pick() == ""
        pick(*range(1, MOST + 2))
        assert len(said) == 4
    done = CliRunner().invoke(app, shlex.split(said[2])[1:])
    assert (done.exit_code, done.stdout.strip()) == (0, "change 1: merge of 1, 2")


def test_picked_cells_that_are_hidden_are_left_out(store):
    said = []
    with picking(store.path, said) as pick:
        pick("3", "!5")
        assert [command.split()[-2:] for command in said] == [["split", "3"], ["delete", "3"]]
        assert pick("!3", "!5") == ""


def test_commands_are_about_the_time_point_that_is_shown(tmp_path):
    write_moving_balls(tmp_path / "moving.zarr")
    said = []
    with picking(tmp_path / "moving.zarr", said) as pick:
        assert "--time" not in pick(7)
        shown = pick(7, time=0.6)
        assert shown.count("delete 7 --time 1") == 1
        assert said[-1].endswith("delete 7 --time 1")
        assert "--time 1" in pick(7, time=3), "beyond the last time point"
        assert "--time" not in pick(7, time=-0.4)
