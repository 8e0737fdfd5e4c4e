"""``bigcp3d update`` hands its options to the library, in names that the library takes."""

from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from bigcp3d.face.cli import app
from bigcp3d.schedule import update as module
from bigcp3d.schedule.planning.request import UpdateRequest

DONE = SimpleNamespace(labels="a.zarr/labels/cells", came=3, same=1, gone=2, stayed=4)


@pytest.mark.parametrize(
    ("options", "meant"),
    [
        ("--diameter 8 --foreground 0.4", {"diameter_um": 8.0, "foreground": 0.4, "executor": "dask"}),
        ("--serial --channel 1 --radius 5", {"executor": "serial", "channel": (1,), "radius_vox": 5.0}),
    ],
)
def test_every_option_is_an_argument_of_the_library(options, meant, monkeypatch):
    calls = []
    monkeypatch.setattr(module, "update", lambda **given: calls.append(given) or DONE)
    done = CliRunner().invoke(app, f"update a.zarr --roi 0:4,0:4,0:4 {options}".split())
    assert done.exit_code == 0, done.output
    assert "3 cells found in the region, 1 of them unchanged; 2 cells gone, 4 at its border left" in done.output
    (given,) = calls
    del given["on_event"]
    request = UpdateRequest(**given)  # refuses others
    assert {name: getattr(request, name) for name in meant} == meant


def test_one_process_and_many_are_not_asked_for_at_once(tissue_store):
    done = CliRunner().invoke(app, ["update", str(tissue_store), "--roi", "0:4,0:4,0:4", "--serial", "--workers", "2"])
    assert done.exit_code == 2
    assert "leave out --serial, or" in done.stderr
