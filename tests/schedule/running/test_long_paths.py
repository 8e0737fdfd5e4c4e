"""Paths that Windows would cut are told before a run writes anything. Windows is simulated."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bigcp3d.edge.stores import platforms
from bigcp3d.errors import TargetError
from bigcp3d.schedule.running.long_paths import IN_LABELS, IN_WORK_DIR, MORE
from bigcp3d.schedule.running.start import check_start, warn_of_storage
from tests.schedule.conftest import Case


@pytest.fixture
def case(tissue_store, random_model, tmp_path) -> Case:
    return Case(tissue_store, random_model, tmp_path)


@pytest.fixture
def opened(monkeypatch):
    """The paths of all files that are opened during a test."""
    paths, hears = [], [True]  # a hook cannot be taken away

    def hear(event, args):
        if hears and event == "open" and isinstance(args[0], str | Path):
            paths.append(str(args[0]))

    sys.addaudithook(hear)
    yield paths
    hears.clear()


def test_a_small_run_opens_paths_of_the_length_that_is_expected_of_every_run(case, opened):
    case.segment()
    expected = {case.work: IN_WORK_DIR, case.folder / "out.zarr" / "labels" / "cells": IN_LABELS}
    found = {f: max(len(path) - len(str(f)) for path in opened if path.startswith(str(f))) for f in expected}
    assert found == expected


@pytest.mark.parametrize("name", ["work_dir", "output"])
def test_windows_refuses_paths_that_are_too_long_and_warns_of_paths_that_may_be(case, monkeypatch, name):
    def plan(letters):
        """A plan whose longest path in this folder has so many letters in every run."""
        below = IN_WORK_DIR if name == "work_dir" else len("/labels/cells") + IN_LABELS
        folder = f"{case.folder}/"
        return case.plan(**{name: folder + "a" * (letters - below - len(folder))})

    limit = 330  # the folder of a test may be long already
    monkeypatch.setattr(platforms, "PATH_LIMIT", limit)
    long = plan(limit + 1)
    assert not check_start(long, overwrite=False)
    assert not [text for text in warn_of_storage(long) if "LongPathsEnabled" in text]
    monkeypatch.setattr(platforms, "WINDOWS", True)
    with pytest.raises(TargetError, match="will have 331 letters or more, and Windows takes 330; give shorter paths"):
        check_start(long, overwrite=False)
    for letters, warns in ((limit, True), (limit - MORE + 1, True), (limit - MORE, False)):
        assert not check_start(plan(letters), overwrite=False)
        assert any("LongPathsEnabled" in text for text in warn_of_storage(plan(letters))) == warns
