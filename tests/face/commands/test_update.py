"""``bigcp3d update`` hands its options to the library, says what was done, and asks before cells are lost."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from bigcp3d.errors import LossError
from bigcp3d.face.cli import app
from bigcp3d.face.commands import update as command
from bigcp3d.face.commands.update import describe_updated
from bigcp3d.option import settings_of
from bigcp3d.schedule import undo, update
from bigcp3d.schedule.planning.request import Request, UpdateRequest, decides_labels
from bigcp3d.schedule.undo import Undone
from bigcp3d.schedule.update import Updated

DONE = SimpleNamespace(labels="a.zarr/labels/cells", came=3, kept=2, same=1, gone=2, stayed=4)
LABELS = "a.zarr/labels/cells"


def run(words):
    return CliRunner().invoke(app, ["update", "a.zarr", *words.split()])


@pytest.mark.parametrize(
    ("options", "meant"),
    [
        ("--diameter 8 --foreground 0.4", {"diameter_um": 8.0, "foreground": 0.4}),
        ("--serial --channel 1 --radius 5", {"executor": "serial", "channel": ("1",), "radius_vox": 5.0}),
        ("--diameter-voxels 7 --missing-chunks fail", {"diameter_vox": 7.0, "missing_chunks": "fail"}),
        ("--mask m.zarr --dry-run --yes", {"mask": "m.zarr", "dry_run": True, "yes": True}),
        ("", {}),
    ],
)
def test_every_option_is_an_argument_of_the_library_and_what_is_not_said_is_none(options, meant, monkeypatch):
    calls = []
    monkeypatch.setattr(update, "update", lambda **given: calls.append(given) or DONE)
    done = run(f"--roi 0:4,0:4,0:4 {options}")
    assert done.exit_code == 0, done.output
    words = "3 cells found in the region: 2 keep the id of an earlier cell, and 1 of these are unchanged; 2 earlier"
    assert words in done.output
    (given,) = calls
    del given["on_event"]
    UpdateRequest(**given)  # refuses others
    assert {name: given[name] for name in meant} == meant
    deciding = {name for name, each in settings_of(Request).items() if decides_labels(each)}
    assert {name for name in deciding if given[name] is not None} == deciding & set(meant)


def test_a_region_is_needed(tissue_store):
    done = CliRunner().invoke(app, ["update", str(tissue_store)])
    assert done.exit_code == 2
    assert "give --roi" in done.stderr


def test_one_process_and_many_are_not_asked_for_at_once(tissue_store):
    done = CliRunner().invoke(app, ["update", str(tissue_store), "--roi", "0:4,0:4,0:4", "--serial", "--workers", "2"])
    assert done.exit_code == 2
    assert "leave out --serial" in done.stderr


def losing(calls):
    def lose(**given):
        calls.append(given["yes"])
        if not given["yes"]:
            raise LossError("29 of the 29 cells would disappear")
        return DONE

    return lose


def test_without_a_terminal_a_loss_is_an_error(monkeypatch):
    calls = []
    monkeypatch.setattr(update, "update", losing(calls))
    done = run("--roi 0:4,0:4,0:4")
    assert done.exit_code == 3
    assert "29 of the 29 cells would disappear" in done.stderr
    assert calls == [False]
    assert run("--roi 0:4,0:4,0:4 --yes").exit_code == 0


@pytest.mark.parametrize(("answer", "code", "asked"), [("y", 0, [False, True]), ("n", 3, [False])])
def test_a_person_is_asked(monkeypatch, answer, code, asked):
    calls = []
    monkeypatch.setattr(update, "update", losing(calls))
    monkeypatch.setattr(command, "_is_a_person_there", lambda: True)
    done = CliRunner().invoke(app, ["update", "a.zarr", "--roi", "0:4,0:4,0:4"], input=f"{answer}\n")
    assert done.exit_code == code, done.output
    assert "29 of the 29 cells would disappear" in done.stderr
    assert calls == asked


@pytest.mark.parametrize(
    ("undone", "words"),
    [
        (Undone(LABELS, False, True, False), "the last update is undone, and its region is as before it"),
        (Undone(LABELS, True, True, False), "the unfinished update is discarded, and its region is as before it"),
        (Undone(LABELS, True, False, False), "the unfinished update is discarded; it had changed nothing"),
        (Undone(LABELS, False, True, True), "Level 0 keeps the voxels that the other program changed"),
    ],
)
def test_undo_says_what_it_brought_back(monkeypatch, undone, words):
    calls = []
    monkeypatch.setattr(undo, "undo_update", lambda **given: calls.append(given) or undone)
    done = run("--undo --name nuclei")
    assert done.exit_code == 0, done.output
    assert words in done.output
    assert (calls[0]["source"], calls[0]["name"], calls[0]["yes"]) == ("a.zarr", "nuclei", False)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--roi 0:4,0:4,0:4", "--roi"),
        ("--dry-run", "--dry-run"),
        ("--yes --foreground 0.4 --serial --channel 1", "--channel, --foreground, --serial"),
    ],
)
def test_undo_refuses_what_it_would_not_follow(monkeypatch, options, told):
    monkeypatch.setattr(undo, "undo_update", lambda **given: Undone(LABELS, False, True, False))
    assert run("--undo --yes --output b.zarr --name nuclei").exit_code == 0
    done = run(f"--undo {options}")
    assert done.exit_code == 2
    assert f"leave out {told}. It takes only --output, --name and --yes" in done.stderr


def test_after_a_correction_by_hand_settings_of_a_segmentation_are_refused(monkeypatch):
    monkeypatch.setattr(update, "update", lambda **given: Updated("labels"))
    assert run("--roi 0:4,:,: --edited --time 0 --serial").exit_code == 0
    done = run("--roi 0:4,:,: --edited --diameter 5 --foreground 0.4")
    assert done.exit_code == 2
    assert "it does not segment; leave out --diameter, --foreground" in done.stderr


def test_the_help_says_that_settings_are_those_of_the_labels():
    each = settings_of(UpdateRequest)
    assert each["foreground"].option.help.endswith("Default: as the labels were made.")
    assert "half the diameter" not in each["radius_vox"].option.help
    assert "Labels of other time points stay as they are" in each["time"].option.help
    assert each["name"].default == "cells"
    assert all(setting.option.help.count("Default:") <= 1 for setting in each.values())
    assert "Default: as the labels were made." in each["model"].option.help
    assert "the command stops and lists both" not in each["model"].option.help


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"output": None, "name": "cells"}, "a.zarr"),
        ({"output": "b c.zarr", "name": "nuclei"}, "a.zarr --output 'b c.zarr' --name nuclei"),
    ],
)
def test_the_command_that_takes_an_update_back_names_the_same_labels(given, words):
    told = describe_updated(Updated("labels"), {"source": "a.zarr", "edited": False, "dry_run": False, **given})
    assert told.endswith(f"To take it back: bigcp3d update {words} --undo")
