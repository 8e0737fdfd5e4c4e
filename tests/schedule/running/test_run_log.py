"""What is odd about the cells is said once for all time points."""

from __future__ import annotations

from bigcp3d.pure.cells.plausibility import Finding
from bigcp3d.schedule.running.run_log import describe_times

SMALL, CROOKED = Finding("size", "the cells are small"), Finding("crooked flow", "the paths are crooked")


def test_one_time_point_is_not_named():
    assert list(describe_times({4: [SMALL, CROOKED]})) == [SMALL, CROOKED]


def test_each_kind_is_said_for_its_first_time_point_with_the_number_of_others():
    found = list(describe_times({0: [], 1: [SMALL], 2: [Finding("size", "other"), CROOKED], 3: [SMALL]}))
    assert [finding.text for finding in found] == [
        "time point 1: the cells are small (the same at 2 more time points)",
        "time point 2: the paths are crooked",
    ]
