"""What follows from the expected radius of a cell, against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest

from bigcp3d.pure.track.radius import closing_radius, path_reach, path_steps, smallest_volume


@pytest.mark.parametrize(
    ("radius", "reach", "steps", "closing"),
    [(1.0, 3, 50, 0), (2.1, 7, 50, 1), (4.0, 12, 50, 1), (5.95, 18, 60, 1), (6.0, 18, 60, 2), (11.9, 36, 119, 3)],
)
def test_paths_and_closing_follow_from_the_radius(radius: float, reach: int, steps: int, closing: int) -> None:
    assert path_reach(radius) == reach
    assert path_steps(radius) == steps
    assert closing_radius(radius) == closing


def test_the_smallest_cell_is_a_fortieth_of_the_ball() -> None:
    assert smallest_volume(10) == pytest.approx(1000 * math.pi / 30)
    assert smallest_volume(20) == pytest.approx(8 * smallest_volume(10))
