"""What the user does not say, the model and the diameter, is estimated once and recorded."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

import bigcp3d
from bigcp3d.edge.image.metadata import own_part
from bigcp3d.edge.image.new_image import create_image, write_image_box
from bigcp3d.edge.image.open_node import read_attributes
from bigcp3d.errors import InputError, TargetError
from bigcp3d.face.cli import app
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.schedule import estimate
from bigcp3d.schedule.complete_request import complete_request
from bigcp3d.schedule.planning.request import Request
from bigcp3d.schedule.running.events import BlockDone, Estimated, EstimateStarted
from bigcp3d.work.analyse import diameter_sample
from bigcp3d.work.analyse.estimate_diameter import Estimate, NoCellsError
from tests.schedule.conftest import read_labels

DIAMETER_UM = 7.0
SERIAL = {"executor": "serial", "block": (32, 72, 40)}


@pytest.fixture(scope="module")
def nuclei(tmp_path_factory):
    """Simulated nuclei of 7 micrometres."""
    path = tmp_path_factory.mktemp("nuclei") / "in.zarr"
    bigcp3d.simulate(path, Tissue((32, 72, 72), 14.0, "nuclei", seed=1), scale_um=(0.5, 0.5, 0.5))
    return path


@pytest.fixture(scope="module")
def suited(nuclei):
    """The model and the diameter that suit them, estimated once; small diameters, which take longest, are not tried."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diameter_sample, "SMALLEST_VOX", 10.0)
        return estimate.find_suited(Request(nuclei))


@pytest.fixture
def counted(suited, monkeypatch):
    """Counts the estimates."""
    calls = []

    def count(request, **_):
        calls.append(request)
        return suited

    monkeypatch.setattr(estimate, "find_suited", count)
    return calls


def test_nothing_said_model_and_diameter_are_found_and_recorded(nuclei, tmp_path, counted):
    events, resumed = [], []
    out = tmp_path / "out.zarr"

    def stop(event):
        events.append(event)
        if isinstance(event, BlockDone) and event.name == "track":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bigcp3d.segment(nuclei, output=out, keep_maps=True, on_event=stop, **SERIAL)
    bigcp3d.segment(nuclei, output=out, keep_maps=True, on_event=resumed.append, **SERIAL)
    assert len(counted) == 1, "a stopped run goes on with its estimate"
    assert not any(isinstance(event, EstimateStarted) for event in resumed)
    predicted = [event for event in resumed if isinstance(event, BlockDone) and event.name == "predict"]
    assert predicted
    assert all(event.seconds == 0 for event in predicted), "it was resumed"
    started, told, planned = events[:3]
    assert started == EstimateStarted("the model and the diameter")
    assert isinstance(told, Estimated)
    guess = told.guess
    assert guess.model == "nuclei"
    assert "membrane: " in guess.chosen
    assert guess.diameter == pytest.approx(DIAMETER_UM, rel=0.15)
    assert guess.low < guess.diameter < guess.high
    assert guess.cells > 5
    assert planned.plan.guess == guess
    made = own_part(read_attributes(str(out / "labels" / "cells")))
    assert made["estimated"]["diameter"] == guess.diameter
    assert made["asked"]["diameter"] == f"{guess.diameter:g} um"
    assert made["asked"]["model"] == "nuclei"

    said = {"model": "nuclei", "diameter_um": guess.diameter}
    bigcp3d.segment(nuclei, output=tmp_path / "said.zarr", **said, **SERIAL)
    assert np.array_equal(read_labels(out, "cells"), read_labels(tmp_path / "said.zarr", "cells"))
    assert len(counted) == 1, "what is said is not estimated"
    assert bigcp3d.plan_segmentation(nuclei, output=out, name="more", foreground=0.4, **SERIAL).reuses_maps
    assert len(counted) == 1, "kept maps hold the answer"
    with pytest.raises(TargetError, match="there are labels of that name already"):
        bigcp3d.segment(nuclei, output=out, **SERIAL)
    assert len(counted) == 1, "finished labels hold the answer"


@pytest.mark.parametrize(
    ("said", "asks"),
    [
        ({"model": "nuclei", "diameter_um": "as-is"}, []),
        ({"model": "nuclei", "diameter_vox": 14.0}, []),
        ({"model": "nuclei"}, ["the diameter"]),
        ({"diameter_um": 7.0}, ["the model"]),
        ({"diameter_um": "as-is"}, ["the model"]),
        ({}, ["the model and the diameter"]),
    ],
)
def test_only_what_is_left_open_is_estimated(nuclei, tmp_path, monkeypatch, said, asks):
    found = Estimate(7.2345, 6.0, 8.0, 31, True, (), None, ())
    suited = estimate.Suited("nuclei", "it fits", None if "diameter_um" in said else found)
    monkeypatch.setattr(estimate, "find_suited", lambda *_, **__: suited)
    events = []
    request, guess = complete_request(Request(nuclei, output=tmp_path / "out.zarr", **said), events.append)
    assert [event.what for event in events if isinstance(event, EstimateStarted)] == asks
    assert {name: getattr(request, name) for name in said} == said
    assert request.model == "nuclei"
    assert request.has_diameter
    assert (guess is None) == (asks == [])
    if "the diameter" in " ".join(asks) or not said:
        assert request.diameter_um == guess.diameter == 7.23, "three digits, as the command to paste has"


@pytest.mark.parametrize("diameter", [7.0, pytest.param("as-is", marks=pytest.mark.slow)])
def test_with_a_diameter_both_models_are_tried_at_it(nuclei, diameter):
    suited = estimate.find_suited(Request(nuclei, diameter_um=diameter))
    assert (suited.model, suited.estimate) == ("nuclei", None)


def test_with_maps_no_network_runs(nuclei, counted):
    request, guess = complete_request(Request(nuclei, maps="maps.zarr"))
    assert (request.model, request.has_diameter, guess, counted) == ("membrane", False, None, [])


def test_other_words_are_no_diameter(nuclei):
    with pytest.raises(InputError, match="use a number of micrometres, or 'as-is'"):
        bigcp3d.plan_segmentation(nuclei, diameter_um="small")
    with pytest.raises(InputError, match="--diameter and --diameter-voxels were both given"):
        bigcp3d.plan_segmentation(nuclei, diameter_um="as-is", diameter_vox=3.0)


def test_other_errors_come_before_a_long_estimate(nuclei, tmp_path, counted):
    (tmp_path / "cells.csv").touch()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    many = {
        "roi": "0:4,0:4", "channel": 5, "time": 9, "output": nuclei / "zarr.json", "table": tmp_path / "cells.csv",
        "work_dir": tmp_path / "taken", "cluster_config": tmp_path / "none.yaml", "name": "a/b", "tls": tmp_path,
    }  # fmt: skip
    for name, value in [*many.items(), ("table", "cells.txt"), ("work_dir", tmp_path / "cells.csv" / "work")]:
        with pytest.raises((InputError, TargetError)):
            bigcp3d.plan_segmentation(nuclei, **{name: value})
        assert not counted, name


def test_errors_of_a_sweep_come_before_a_long_estimate(nuclei, counted):
    for values, more in (({"foreground": [1.5]}, {}), ({"foreground": [0.5]}, {"truth": "nobody"})):
        with pytest.raises(InputError):
            bigcp3d.plan_sweep(nuclei, values, **more)
        assert not counted


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """An image without cells."""
    path, shape = tmp_path_factory.mktemp("noise") / "in.zarr", (20, 32, 32)
    image = create_image(path, shape, "uint16", scale_um=(1.0, 1.0, 1.0), chunk=shape, shard=shape)
    values = np.random.default_rng(0).normal(300, 60, shape)
    write_image_box(image, Box.of_shape(shape), values.astype(np.uint16))
    return path


def test_without_cells_the_error_says_what_to_do(noise):
    with pytest.raises(InputError, match=r"finds no (plausible )?cells of any diameter.*--channel.*--diameter"):
        bigcp3d.plan_segmentation(noise, model="nuclei")
    assert not (noise.parent / "in.bigcp3d").exists()


@pytest.fixture
def find_with(nuclei, suited, monkeypatch):
    """The estimate of a named model, if its cells had this path error."""

    def find(path_error):
        best = suited.estimate.best
        look = replace(best.look, path_squares=round(path_error / best.look.path_error * best.look.path_squares))
        given = replace(suited.estimate, best=replace(best, look=look))
        monkeypatch.setattr(estimate, "_estimate", lambda *_: given)
        return estimate.find_suited(Request(nuclei, model="nuclei")).estimate

    return find


@pytest.mark.parametrize(("path_error", "doubtful"), [(0.11, False), (0.33, True)])
def test_odd_cells_of_a_named_model_are_a_doubt(find_with, path_error, doubtful):
    doubts = ", ".join(find_with(path_error).doubts)
    assert ("may not know this stain" in doubts and "path error 0.33" in doubts) == doubtful


def test_what_is_surely_no_cells_is_an_error(find_with):
    with pytest.raises(InputError, match=r"no plausible cells of any diameter \(at best .*path error 0\.99"):
        find_with(0.99)


def test_a_doubt_shows_what_both_models_found(noise, monkeypatch):
    def nothing(*_):
        raise NoCellsError("none")

    monkeypatch.setattr(estimate, "_estimate", nothing)
    with pytest.raises(InputError, match=r"(?s)not clear which model.*--model membrane.*--model nuclei.*--channel"):
        bigcp3d.plan_segmentation(noise)
    monkeypatch.setattr(estimate, "_try_given", lambda *_: SimpleNamespace(look=estimate.Found(1.0, 0, 0, 0, 0)))
    with pytest.raises(InputError, match=r"not clear which model suits this stain; give --model\. On a few crops"):
        bigcp3d.plan_segmentation(noise, diameter_vox=14)


def test_the_dry_run_and_json_tell_the_estimate(nuclei, suited, tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "find_suited", lambda *_, **__: replace(suited, chosen=""))
    command = ["segment", str(nuclei), "--model", "nuclei", "--output", str(tmp_path / "out.zarr"), "--dry-run"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "estimating the diameter on a few crops" in done.stderr
    assert "estimated  diameter " in done.stdout
    lines = [json.loads(line) for line in CliRunner().invoke(app, [*command, "--json"]).stdout.splitlines()]
    assert [line["event"] for line in lines] == ["estimating", "estimated", "planned"]
    assert lines[1]["diameter"] == lines[2]["estimated"]["diameter"] == pytest.approx(DIAMETER_UM, rel=0.15)
    as_is = CliRunner().invoke(app, [*command, "--diameter", "as-is"])
    assert as_is.exit_code == 0, as_is.output
    assert "1, 1, 1 image voxels per working voxel" in as_is.stdout
