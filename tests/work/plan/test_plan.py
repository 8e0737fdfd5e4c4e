"""A plan's sections: what depends on which, and what a refusal says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import create_model

import bigcp3d
from bigcp3d.edge.workdir.records import write_record
from bigcp3d.errors import InputError, TargetError
from bigcp3d.schedule.running.start import State, find_state, prepare
from bigcp3d.work.plan import plan as plan_module
from bigcp3d.work.plan.plan import MAPS, RESULT, RESUMED, Plan, read_plan
from bigcp3d.work.plan.sections import Section
from bigcp3d.work.run.kept_maps import read_kept
from tests.schedule.conftest import CUT, save_random_model, write_image


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> dict:
    """An image of known scale, and a network."""
    folder = tmp_path_factory.mktemp("plan")
    rng = np.random.default_rng(0)
    write_image(folder / "image.zarr", rng.integers(0, 999, (20, 24, 24)).astype(np.uint16))
    return {**CUT, "source": folder / "image.zarr", "model": save_random_model(folder / "random.safetensors")}


@pytest.fixture
def plan(settings, tmp_path):
    """Makes plans in a work directory of the test's own."""
    return lambda **more: bigcp3d.plan_segmentation(**{**settings, "work_dir": tmp_path / "work", **more})


def test_every_section_counts_but_for_where_things_lie_and_what_was_said():
    assert set(RESUMED) | {"storage", "asked", "guess", "running"} == set(Plan.model_fields)
    assert set(MAPS) < set(RESUMED)
    assert set(RESULT) < set(RESUMED)


@pytest.mark.parametrize("section", [name for name in RESUMED if name not in ("version", "filters")])
def test_a_new_setting_counts_as_soon_as_it_stands_in_a_section(plan, section):
    before = plan()
    own = getattr(before, section)
    larger = create_model("Larger", __base__=type(own), later=(int, 0))
    plans = create_model("Plans", __base__=Plan, **{section: (larger, ...)})

    def grown(later: int) -> Plan:
        sections = {name: getattr(before, name) for name in Plan.model_fields}
        return plans(**{**sections, section: larger(**dict(own), later=later)})

    then, now = grown(1), grown(2)
    assert then.key != now.key
    assert now.differences(then) == [f"{section}.later: 1 then, 2 now"]
    assert (then.sections(MAPS) != now.sections(MAPS)) == (section in MAPS)
    assert grown(1).key == then.key, "the control"


def test_sections_forbid_what_they_do_not_know():
    sections = [one for one in vars(plan_module).values() if isinstance(one, type) and issubclass(one, Section)]
    assert len(sections) > 10
    assert all(one.model_config["extra"] == "forbid" and one.model_config["frozen"] for one in sections)


def test_what_was_said_is_kept_with_its_units_and_decides_nothing(plan, monkeypatch):
    made = plan(diameter_um=6.0, scale_um=(2.0, 0.5, 0.5), channel=0, min_volume=3)
    assert made.asked.command == "from Python"
    said = made.asked.settings
    assert (said["diameter"], said["scale"], said["channel"], said["min_volume"]) == ("6 um", "2 0.5 0.5 um", 0, 3)
    assert "block" in said
    assert "work_dir" not in said
    monkeypatch.setattr("sys.argv", ["/usr/bin/bigcp3d", "segment", "my image.zarr", "--diameter", "6"])
    again = plan(diameter_um=6.0, scale_um=(2.0, 0.5, 0.5), channel=0, min_volume=3)
    assert again.asked.command == "bigcp3d segment 'my image.zarr' --diameter 6"
    assert again.key == made.key
    assert plan(diameter_vox=12.0, diameter_um=None).asked.settings["diameter"] == "12 voxels"


def test_a_refusal_names_what_was_asked_and_derived_numbers_only_where_nothing_else_differs(plan, tmp_path):
    then = plan(diameter_um=6.0)
    prepare(then, resumed=False, overwrite=False)
    with pytest.raises(
        TargetError, match=r"other settings \(diameter 6 um then, 9 um now\); to continue it, repeat the command"
    ):
        plan(diameter_um=9.0)
    derived = then.model_copy(update={"tracking": then.tracking.model_copy(update={"reach": 3})})
    assert derived.differences(then) == [f"tracking.reach: {then.tracking.reach} then, 3 now"]
    assert find_state(derived) is State.OTHER
    assert plan(diameter_um=6.0, on_error="skip").differences(then) == []


def test_a_plan_or_maps_of_another_version_are_refused_in_one_sentence_and_may_be_discarded(plan, settings, tmp_path):
    made, work = plan(), tmp_path / "work"
    work.mkdir()
    (work / "plan.json").write_text(json.dumps({"image": {}, "level": 0, "version": "0.0.9"}))
    with pytest.raises(InputError, match=r"written by another version of bigcp3d \(0.0.9\).*--overwrite to discard it"):
        read_plan(work)
    with pytest.raises(TargetError, match=r"another version of bigcp3d \(0.0.9\).*--overwrite"):
        plan()
    prepare(plan(overwrite=True), resumed=False, overwrite=True)
    assert read_plan(work) == made
    old = {"settings": {"level": 0}, "times": [0], "device": "cpu", "samples": {}, "maps": None, "offsets": None}
    write_record(work, "kept", (0, 0, 0), old)
    with pytest.raises(InputError, match="another version of bigcp3d kept these maps"):
        read_kept(work)
    with pytest.raises(InputError, match="another version of bigcp3d kept these maps"):
        plan(start="maps", overwrite=True)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "the plan is damaged"), ("[]", "the plan is damaged"), (None, "cannot be read")]
)
def test_a_plan_that_cannot_be_read_says_so(tmp_path: Path, text, message):
    if text is not None:
        (tmp_path / "plan.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_plan(tmp_path)
