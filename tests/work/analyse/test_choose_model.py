"""A model is chosen only where it is plausible and clearly better."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bigcp3d.pure.cells.found import Found
from bigcp3d.pure.cells.plausibility import doubt
from bigcp3d.pure.track.units import UNIT
from bigcp3d.work.analyse.choose_model import choose_model

NOTHING = Found(20.0, 1000, 0, 0, 0)


def found(path_error, cells=40, fill=0.93, foreground=0.95):
    """What a model finds in 100,000 foreground voxels."""
    squares, voxels = round(path_error * UNIT**2 * 100_000), 100_000
    size = {"median_vox": 1500.0, "labelled_vox": voxels, "largest_vox": 4000}  # small: the diameter told was too large
    return Found(20.0, 200_000, voxels, voxels, squares, cells, 30, {}, 0, **size, fill=fill, foreground=foreground)


GOOD, WRONG = found(0.15), found(0.7, cells=60)
"""As of a model that knows the stain, and of one that does not."""


@pytest.mark.parametrize(
    ("membrane", "nuclei", "taken"),
    [
        (GOOD, WRONG, "membrane"),
        (WRONG, GOOD, "nuclei"),
        (NOTHING, GOOD, "nuclei"),
        (found(0.21), GOOD, None),
        (GOOD, GOOD, None),
        (WRONG, WRONG, None),
        (NOTHING, NOTHING, None),
        (WRONG, found(0.15, foreground=0.76), None),
        (WRONG, found(0.15, cells=4), None),
        (WRONG, found(0.15, fill=0.7), None),
        (found(0.1, cells=60, fill=0.7), GOOD, "nuclei"),
        (found(0.18), found(0.19, foreground=0.88), "membrane"),  # the nuclei model is unsure of membranes
        (found(0.36), WRONG, None),  # as in noise
        (found(0.33), found(0.12, foreground=0.88), "nuclei"),
        (found(0.2), found(0.14, foreground=0.88), None),
    ],
)
def test_the_one_that_fits_is_taken_or_none(membrane, nuclei, taken):
    assert choose_model({"membrane": membrane, "nuclei": nuclei}) == taken


def test_nothing_is_never_plausible():
    assert doubt(NOTHING)[0] > 0
    assert str(NOTHING) == "no cells"


def test_what_is_found_in_several_crops_adds_up():
    other = replace(found(0.45, cells=10, fill=0.83), largest_vox=9000, removed={"too small": 3})
    both = Found.join([GOOD, other, NOTHING])
    assert (both.cells, both.largest_vox, both.removed) == (50, 9000, {"too small": 3})
    assert both.path_error == pytest.approx(0.3)
    assert both.fill == pytest.approx(0.91)
    assert both.foreground == pytest.approx(0.95)
    assert Found.join([GOOD]) == GOOD
