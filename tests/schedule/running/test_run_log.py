"""What is odd about the cells is said once for all time points; other warnings of a whole run."""

from __future__ import annotations

import itertools

import zarr

import bigcp3d
from bigcp3d.pure.cells.plausibility import Finding
from bigcp3d.schedule.running.events import Warned
from bigcp3d.schedule.running.run_log import describe_times
from bigcp3d.work.run.run import Run
from tests.schedule.conftest import Case

SMALL, CROOKED = Finding("size", "the cells are small"), Finding("crooked flow", "the paths are crooked")


def test_one_time_point_is_not_named():
    assert list(describe_times({4: [SMALL, CROOKED]})) == [SMALL, CROOKED]


def test_each_kind_is_said_for_its_first_time_point_with_the_number_of_others():
    found = list(describe_times({0: [], 1: [SMALL], 2: [Finding("size", "other"), CROOKED], 3: [SMALL]}))
    assert [finding.text for finding in found] == [
        "time point 1: the cells are small (the same at 2 more time points)",
        "time point 2: the paths are crooked",
    ]


def test_a_run_on_different_processors_warns_and_the_labels_name_them(
    tissue_store, random_model, tmp_path, monkeypatch
):
    case = Case(tissue_store, random_model, tmp_path)
    settings = {**case.settings, "output": tmp_path / "out.zarr", "work_dir": case.work}

    def warnings() -> str:
        told: list = []
        bigcp3d.segment(case.store, **settings, overwrite=True, on_event=told.append)
        return " ".join(event.message for event in told if isinstance(event, Warned))

    assert "processors" not in warnings()
    kinds = itertools.cycle(["x86_64 AVX2", "x86_64 AVX512"])
    monkeypatch.setattr(Run, "processor", property(lambda run: next(kinds)))
    assert "different kinds of processors (x86_64 AVX2; x86_64 AVX512)" in warnings()
    made = zarr.open_group(tmp_path / "out.zarr/labels/cells").attrs["bigcp3d"]
    assert made["processors"] == ["x86_64 AVX2", "x86_64 AVX512"]
