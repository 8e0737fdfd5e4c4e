"""A result that has nowhere to go is refused with exit code 3 and one line, before anything is computed."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from bigcp3d.face.cli import app
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.work.simulate import simulate


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("unwritable") / "tissue.zarr"
    simulate(path, Tissue((12, 24, 24), 10.0, "nuclei"))
    return path


@pytest.mark.parametrize(
    "command",
    [
        "measure STORE --name truth --output TAKEN/cells.csv",
        "evaluate STORE STORE --pred-name truth --csv TAKEN/cells.csv",
        "evaluate STORE STORE --pred-name truth --json TAKEN/numbers.json",
        "evaluate STORE STORE --pred-name truth --picture TAKEN/picture.png",
        "sweep STORE --output TAKEN/deep",
        "sweep STORE --output TAKEN",
        "demo TAKEN",
        "train STORE --output TAKEN/mine.safetensors --steps 1",
        "segment STORE --serial --table TAKEN/cells.csv",
        "segment STORE --serial --work-dir TAKEN",
        "segment STORE --serial --output TAKEN/out.zarr",
    ],
)
def test_a_file_where_a_folder_is_needed_is_said_at_once(store, tmp_path, command):
    taken = tmp_path / "taken"
    taken.write_text("mine")
    before = sorted(store.parent.rglob("*"))
    words = [word.replace("STORE", str(store)).replace("TAKEN", str(taken)) for word in command.split()]
    words += ["--model", "nuclei", "--diameter", "as-is"] if words[0] == "segment" else []
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, done.stdout) == (3, ""), done.exception
    assert "bigcp3d: TargetError" in done.stderr
    assert "taken" in done.stderr
    assert sorted(store.parent.rglob("*")) == before
    assert taken.read_text() == "mine"


@pytest.mark.parametrize("command", ["measure STORE --name truth --output FILE", "segment STORE --serial --table FILE"])
def test_what_cannot_be_written_after_all_is_one_line_too(store, tmp_path, monkeypatch, command):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bigcp3d.edge.cell_tables.cell_files.write_cell_list", full)
    words = command.replace("FILE", str(tmp_path / "cells.csv")).replace("STORE", str(store)).split()
    more = (
        ["--output", str(tmp_path / "out.zarr"), "--model", "nuclei", "--diameter", "as-is"]
        if words[0] == "segment"
        else []
    )
    done = CliRunner().invoke(app, [*words, *more])
    assert done.exit_code == 3, done.exception
    assert "cells.csv: cannot be written: No space left on device; make space" in done.stderr
