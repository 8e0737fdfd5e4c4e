"""Free space is compared with what a run will write to each file system, before it starts."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

import bigcp3d
from bigcp3d.errors import BlockError, TargetError
from bigcp3d.face.cli import app
from bigcp3d.schedule.running import disk_space
from bigcp3d.schedule.running.events import Warned
from bigcp3d.work.passes import passes
from bigcp3d.work.plan.memory_and_disk import disk_bytes
from tests.schedule.conftest import CUT, Case

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def case(tissue_store, random_model, tmp_path) -> Case:
    return Case(tissue_store, random_model, tmp_path)


@pytest.fixture
def free(monkeypatch):
    """Sets how many bytes are free on every disk."""

    def set_free(number: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(2**40, 0, number))

    return set_free


def test_work_directory_and_labels_on_one_disk_are_added_up_and_on_two_are_not(case, monkeypatch):
    plan = case.plan()
    need = disk_bytes(plan)
    (one,) = disk_space.find_needs(plan, resumed=False)
    assert one.need_bytes == sum(need.values()) > need["labels"] > 0
    case.work.mkdir()
    stat = os.stat
    monkeypatch.setattr(
        os, "stat", lambda path, **more: SimpleNamespace(st_dev=1) if path == case.work else stat(path, **more)
    )
    two = disk_space.find_needs(plan, resumed=False)
    assert [disk.need_bytes for disk in two] == [sum(need.values()) - need["labels"], need["labels"]]


def test_a_small_disk_is_warned_of_and_one_that_is_far_too_small_refused(case, free):
    need, events = sum(disk_bytes(case.plan()).values()), []
    free(need - 1)
    case.segment(on_event=events.append)
    warned = next(event.message for event in events if isinstance(event, Warned))
    assert warned.startswith(f"{(need - 1) / 2**20:.1f} MiB are free on the disk of")
    free(need)
    events.clear()
    case.segment("b.zarr", on_event=events.append)
    assert not any("are free" in event.message for event in events if isinstance(event, Warned))
    free(need // 11)
    with pytest.raises(TargetError, match=r"at least .* are needed, and .* are free on the disk of .*work and .*cells"):
        case.segment("c.zarr")
    assert not (case.folder / "c.zarr").exists()


def test_a_disk_that_can_take_few_files_is_warned_of(case, monkeypatch):
    plan = case.plan()
    for free, warns in ((11 * 8 - 1, True), (11 * 8, False), (None, False)):
        monkeypatch.setattr(disk_space, "_free_files", lambda path, free=free: free)
        assert any("can take 87 more files" in text for text in disk_space.warn_of_space(plan, resumed=False)) == warns


def test_on_windows_nothing_is_said_of_the_number_of_files(case, free, monkeypatch):
    free(2**60)
    plan = case.plan()
    monkeypatch.delattr(os, "statvfs")
    assert list(disk_space.warn_of_space(plan, resumed=False)) == []


def test_a_run_that_is_carried_on_needs_what_is_left(case, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(passes.PASSES, "cluster", lambda *_: 1 / 0)
        with pytest.raises(BlockError):
            case.segment()
    plan = case.plan()
    (left,) = disk_space.find_needs(plan, resumed=True)
    assert left.need_bytes == disk_bytes(plan)["labels"], "maps, parts and offsets are there"


def test_a_dry_run_warns_too(case, free):
    free(sum(disk_bytes(case.plan()).values()) - 1)
    block = " ".join(map(str, CUT["block"]))
    command = f"segment {case.store} --model {case.settings['model']} --block {block} --min-volume 2 --serial --dry-run"
    command += " --diameter as-is"
    where = ["--output", str(case.folder / "o.zarr"), "--work-dir", str(case.work)]
    said = CliRunner().invoke(app, [*command.split(), *where])
    assert said.exit_code == 0, said.output
    assert "warning: " in said.stderr
    assert "are free on the disk of" in said.stderr
    said = CliRunner().invoke(app, [*command.split(), *where, "--json"])
    assert '"event": "warning"' in said.stdout
    assert bigcp3d.__version__ in said.stdout
