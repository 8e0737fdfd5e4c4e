"""The check of plausibility: each oddity has its sentence; right and wrong settings of small tissues are told apart.

`tests.benchmarks.plausibility` does the same on many volumes.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from bigcp3d.pure.boxes import Box
from bigcp3d.pure.cells.found import Found
from bigcp3d.pure.cells.plausibility import OF_THE_MODEL, doubt, find_oddities, is_hopeless
from bigcp3d.pure.plural import count
from bigcp3d.pure.tissue.tissue import render
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.pure.track.path_error import path_squares
from bigcp3d.pure.track.units import UNASSIGNED, UNIT
from tests.benchmarks.plausibility import Crop, Trial, Volume, measure

USUAL = Found(
    diameter_vox=20.0,
    volume_vox=100_000,
    foreground_vox=50_000,
    assigned_vox=50_000,
    path_squares=round(0.15 * UNIT**2 * 50_000),
    cells=12,
    whole=8,
    removed={"too small": 2, "weak foreground": 0},
    removed_vox=100,
    labelled_vox=49_900,
    largest_vox=6_000,
    median_vox=4_000.0,
    fill=0.92,
    foreground=0.95,
)


def kinds(found: Found) -> list[str]:
    return [oddity.kind for oddity in find_oddities(found)]


def test_nothing_is_odd_about_usual_cells() -> None:
    assert USUAL.size == pytest.approx(0.985, abs=0.001)
    assert USUAL.path_error == pytest.approx(0.15)
    assert find_oddities(USUAL) == []


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"path_squares": 3 * USUAL.path_squares}, "crooked flow", r"path error 0\.45.*--model"),
        ({"median_vox": 4000 / 8}, "size", r"0\.49 times the expected diameter.*--diameter that is 0\.49 times"),
        ({"median_vox": 4000 / 8, "diameter_um": 8}, "size", r"try a --diameter of about 3\.9 um"),
        ({"median_vox": 4000 * 8}, "size", r"1\.97 times"),
        ({"largest_vox": 80_000}, "largest cell", r"19\.1 times the volume of a ball.*larger --diameter"),
        ({"removed": {"too small": 30, "too long": 0}}, "removed", r"71% of 42 candidates \(30 too small\)"),
        ({"fill": 0.6}, "ragged cells", "60% of its ellipsoid"),
        ({"foreground": 0.8}, "weak foreground", r"mean foreground 0\.80"),
        ({"assigned_vox": 45_000}, "unassigned", "5,000 of 50,000 foreground voxels.*30 voxels"),
        ({"cells": 0, "median_vox": 0.0, "largest_vox": 0, "removed": {}}, "no cells", "--channel"),
    ],
)
def test_each_oddity_has_a_sentence_with_its_number_and_what_to_try(changes, kind: str, said: str) -> None:
    odd = replace(USUAL, **changes)
    assert kinds(odd) == [kind]
    assert re.search(said, find_oddities(odd)[0].text)
    assert bool(doubt(odd)[0]) == (kind in OF_THE_MODEL)


@pytest.mark.parametrize(
    ("path_error", "changes", "hopeless"),
    [
        (0.15, {}, False),
        (0.38, {}, False),  # membranes 5:1, blurred
        (0.42, {}, True),  # the membrane model in noise
        (0.12, {"foreground": 0.86}, False),  # nuclei of a mouse brain
        (0.18, {"foreground": 0.86}, True),  # the nuclei model in membranes
        (0.10, {"foreground": 0.80}, True),  # the nuclei model in an empty channel
        (0.15, {"fill": 0.7}, True),
        (0.15, {"cells": 4}, True),
    ],
)
def test_odd_cells_are_not_yet_hopeless(path_error: float, changes: dict, hopeless: bool) -> None:
    assert is_hopeless(replace(USUAL, path_squares=round(path_error * UNIT**2 * 50_000), **changes)) == hopeless


def test_an_empty_volume_has_no_cells_and_nothing_else() -> None:
    assert kinds(Found(20.0, 1000, 0, 0, 0)) == ["no cells"]


def test_flow_that_points_to_the_end_has_no_error() -> None:
    offsets = np.random.default_rng(1).integers(-9, 10, (3, 4, 5, 6), np.int8)
    flow = np.rint(UNIT * np.tanh(offsets / 4)).astype(np.int8)
    how = {"representation": "tanh", "scale_vox": 4.0}
    assert path_squares(flow, offsets, **how) == 0
    flow[1, 2, 2, 2] += 3
    assert path_squares(flow, offsets, **how) == 9
    offsets[:, 2, 2, 2] = UNASSIGNED
    assert path_squares(flow, offsets, **how) == 0


def volume(stain: str, diameter: float) -> Volume:
    tissue = Tissue((40, 72, 72), diameter, stain, seed=4)
    image, truth = render(tissue, Box.of_shape(tissue.shape))
    return Volume(stain, "", image, (1.0, 1.0, 1.0), stain, diameter, truth)


@pytest.mark.parametrize(("stain", "other", "diameter"), [("nuclei", "membrane", 14.0), ("membrane", "nuclei", 20.0)])
def test_right_settings_pass_and_wrong_ones_do_not(stain: str, other: str, diameter: float) -> None:
    tissue = volume(stain, diameter)

    def find(*settings, **more) -> dict:
        crop = Crop(tissue, Trial("", *settings, **more))
        return measure(crop, crop.predict())

    right, wrong = find(stain, diameter), find(other, diameter)
    assert right["ap50"] > 0.75 > 0.4 > wrong["ap50"]  # control: the settings are right and wrong
    assert find_oddities(right["found"]) == []
    assert "crooked flow" in kinds(wrong["found"])
    assert doubt(right["found"]) < doubt(wrong["found"])
    inverted = find(stain, diameter, inverted=True)
    if stain == "nuclei":
        assert "size" in kinds(find(stain, 2.5 * diameter)["found"])
        assert inverted["ap50"] > 0.6, "dark nuclei are found too"
    else:
        assert kinds(inverted["found"])


def test_noise_does_not_pass() -> None:
    noise = np.random.default_rng(3).normal(500, 100, (40, 72, 72))
    crop = Crop(Volume("noise", "", noise, (1.0, 1.0, 1.0), "", 16.0), Trial("", "nuclei", None))
    assert kinds(measure(crop, crop.predict())["found"])


def test_counts_of_one_are_singular() -> None:
    assert [count(number, "cell") for number in (0, 1, 2, 1234)] == ["0 cells", "1 cell", "2 cells", "1,234 cells"]
