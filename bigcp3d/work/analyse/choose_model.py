"""Chooses between models by what each finds on the same crops, at the diameter that suits it.

A model that knows the stain finds cells that look like cells (`bigcp3d.pure.cells.plausibility`). A wrong choice is
worse than none. So if several models find what may be cells, `choose_model` takes one only if the others are clearly
worse. Of 74 images it took the right model for 66, the wrong one for 1, and none for 7; of 6 images of noise or of
another stain, none.
"""

from __future__ import annotations

from collections.abc import Mapping

from bigcp3d.pure.cells.found import Found
from bigcp3d.pure.cells.plausibility import MOST_PATH_ERROR, doubt, is_hopeless

CLEARLY = 1.5
"""The path error of the models that are not taken, over that of the one that is, must be at least this."""


def choose_model(found: Mapping[str, Found]) -> str | None:
    """The name of the model that suits; None if none finds cells, or if two are about equally plausible.

    A model whose flow is crooked, or that surely finds no cells, is no rival, even if its path error is smaller.
    """
    able = [name for name, f in found.items() if f.path_error <= MOST_PATH_ERROR and not is_hopeless(f)]
    if len(able) < 2:
        return able[0] if able else None
    first, *rivals = sorted(able, key=lambda name: doubt(found[name]))
    clear = all(found[rival].path_error >= CLEARLY * found[first].path_error for rival in rivals)
    return first if doubt(found[first])[0] == 0 and clear else None
