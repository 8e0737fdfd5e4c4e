"""A model is chosen only where it is plausible and clearly better."""

from __future__ import annotations

import math

import pytest

from bigcp3d.work.analyse.choose_model import Fit, choose_model

GOOD = Fit(cells=40, flow_error=0.2, fill=0.93, foreground=0.95)
"""As a model that knows the stain."""

WRONG = Fit(cells=60, flow_error=0.9, fill=0.75, foreground=0.9)


def change(fit, **more):
    return Fit(**{**vars(fit), **more})


@pytest.mark.parametrize(
    ("membrane", "nuclei", "taken"),
    [
        (GOOD, WRONG, "membrane"),
        (WRONG, GOOD, "nuclei"),
        (Fit.nothing(), GOOD, "nuclei"),
        (change(GOOD, flow_error=0.28), GOOD, None),
        (GOOD, GOOD, None),
        (WRONG, WRONG, None),
        (Fit.nothing(), Fit.nothing(), None),
        (WRONG, change(GOOD, foreground=0.76), None),
        (WRONG, change(GOOD, cells=4), None),
        (WRONG, change(GOOD, fill=0.7), None),
        (change(WRONG, flow_error=0.1), GOOD, None),
    ],
)
def test_the_one_that_fits_is_taken_or_none(membrane, nuclei, taken):
    assert choose_model({"membrane": membrane, "nuclei": nuclei}) == taken


def test_nothing_is_never_plausible():
    assert not Fit.nothing().is_plausible
    assert math.isinf(Fit.nothing().flow_error)
    assert str(Fit.nothing()) == "no cells"
