"""Whether what a run found looks like cells: a few numbers, and a sentence about each that is odd.

A wrong model, channel or diameter gives labels too, so the numbers (`bigcp3d.pure.cells.found`) are compared with those
that cells give.

Invariant: the check changes no label. `tests.benchmarks.plausibility` shows how often it warns of right and of wrong
settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bigcp3d.pure.cells.found import FEW_CELLS, Found

OF_THE_MODEL = ("no cells", "crooked flow", "ragged cells", "weak foreground")
"""Oddities that speak against the model, whatever diameter it was told."""

MOST_PATH_ERROR = 0.3
"""Mean path error up to which the flow fits; right settings gave 0.08 to 0.27, most wrong ones more."""

SIZES = (0.6, 1.6)
"""Diameter of the typical cell over the expected one."""

MOST_BALLS = 8.0
"""Volume of the largest cell over that of the ball of the expected diameter."""

MOST_REMOVED = 0.5
"""Share of the objects that the filters remove."""

LEAST_FILL = 0.75
"""Median volume of the cells over that of their ellipsoid."""

LEAST_FOREGROUND = 0.91
"""Mean predicted foreground of the cells."""

MOST_UNASSIGNED = 0.01
"""Share of the foreground whose paths end out of reach."""

HOPELESS_PATH_ERROR = 0.4
"""Path error above which nothing that was found is a cell. Right models gave up to 0.38 in images unlike those of their
training, and the membrane model gave 0.41 to 0.44 in noise."""

HOPELESS_IF_UNSURE = 0.15
"""The same where the foreground is weak too. Right models gave up to 0.14; the nuclei model gave 0.18 to 0.29 in
membranes."""

HOPELESS_FOREGROUND = 0.84
"""Mean foreground below which nothing that was found is a cell. Right models gave at least 0.86. Noise gave 0.74 to
0.83, or 0.85 with crooked flow."""


@dataclass(frozen=True)
class Finding:
    """One thing that is odd: a word for programs (``kind``), and a sentence with the numbers and what to try."""

    kind: str
    text: str


def find_oddities(found: Found) -> list[Finding]:
    """What is odd about the cells that were found, in the order in which it matters; empty where nothing is."""
    return [Finding(kind, text) for kind, text in _oddities(found)]


def is_hopeless(found: Found) -> bool:
    """Whether what was found is surely no cells. Cells that are only odd may be right, in an unusual image."""
    most = HOPELESS_IF_UNSURE if found.foreground < LEAST_FOREGROUND else HOPELESS_PATH_ERROR
    weak = found.foreground < HOPELESS_FOREGROUND
    return found.cells < FEW_CELLS or found.path_error > most or weak or found.fill < LEAST_FILL


def doubt(found: Found) -> tuple[int, float]:
    """How much the cells speak against the model: of two models, the one with the smaller value is more plausible.

    The number of odd things, too few cells among them, then the path error.
    """
    odd = [kind for kind, _ in _oddities(found) if kind in OF_THE_MODEL]
    return len(odd) + (found.cells < FEW_CELLS), found.path_error


def _oddities(found: Found) -> Iterator[tuple[str, str]]:
    if not found.cells:
        yield "no cells", "no cells were found: check --channel, or try another --model or --diameter"
    if found.assigned_vox and found.path_error > MOST_PATH_ERROR:
        yield (
            "crooked flow",
            "the predicted flow does not lead straight to the centres of the cells (path error "
            f"{found.path_error:.2f}; usual is at most {MOST_PATH_ERROR:g}). The model may not know this stain: try "
            "another --model or --channel",
        )
    if found.cells and not SIZES[0] <= found.size <= SIZES[1]:
        other = f"that is {found.size:.2f} times as large as now"
        if found.diameter_um is not None:
            other = f"of about {found.size * found.diameter_um:.2g} um"
        yield "size", f"the typical cell has {found.size:.2f} times the expected diameter: try a --diameter {other}"
    if (balls := found.largest_vox / found.ball_vox) > MOST_BALLS:
        yield (
            "largest cell",
            f"the largest cell has {balls:.3g} times the volume of a ball of the expected diameter. Several cells may "
            "be fused in it: try a larger --diameter, or another --model",
        )
    objects = found.cells + sum(found.removed.values())
    if objects - found.cells > MOST_REMOVED * objects:
        why = ", ".join(f"{number:,} {name}" for name, number in found.removed.items() if number)
        yield (
            "removed",
            f"the filters removed {1 - found.cells / objects:.0%} of {objects:,} candidates ({why}). If you "
            "did not want this, try another --model, --channel or --diameter",
        )
    if found.cells and found.fill < LEAST_FILL:
        yield (
            "ragged cells",
            f"the typical cell has a ragged shape: it fills {found.fill:.0%} of its ellipsoid, while a compact cell "
            "fills about 90 %. Try another --model or a larger --diameter",
        )
    if found.cells and found.foreground < LEAST_FOREGROUND:
        yield (
            "weak foreground",
            f"the model is unsure of the cells (mean foreground {found.foreground:.2f}; usual is at least "
            f"{LEAST_FOREGROUND:g}). Try another --model, --channel or --diameter",
        )
    lost = found.foreground_vox - found.assigned_vox
    if lost > MOST_UNASSIGNED * found.foreground_vox:
        yield (
            "unassigned",
            f"{lost:,} of {found.foreground_vox:,} foreground voxels stay without a label, as the flow leads them more "
            f"than {1.5 * found.diameter_vox:.0f} voxels away. Cells may be larger than expected: give "
            "a larger --diameter or --radius",
        )
