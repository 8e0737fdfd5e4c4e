"""How long a run is expected to take: guessed at once when it is planned, measured on one patch as it begins."""

import pytest

import bigcp3d
from bigcp3d.edge.image.new_image import create_image
from bigcp3d.schedule.running import expected_time
from bigcp3d.schedule.running.events import ClusterReady, PassStarted, TimeExpected
from bigcp3d.schedule.running.expected_time import expect_seconds, guess_patch_seconds, wall_seconds
from bigcp3d.schedule.running.tasks import count_passes, label_passes, object_passes
from bigcp3d.work.plan.pass_blocks import count_patches
from tests.schedule.conftest import CUT, SHAPE


@pytest.fixture
def settings(tissue_store, random_model, tmp_path):
    return {"source": tissue_store, "model": random_model, "output": tmp_path / "o.zarr", **CUT, "block": SHAPE}


@pytest.mark.parametrize("where", ["in this process", pytest.param("on Dask", marks=pytest.mark.slow)])
def test_a_run_of_many_patches_measures_one_as_it_begins(settings, where, request, monkeypatch):
    monkeypatch.setattr(expected_time, "LEAST_PATCHES", 1)
    seen = []
    bigcp3d.segment(
        **{**settings, **(request.getfixturevalue("two_workers") if where == "on Dask" else {})}, on_event=seen.append
    )
    kinds = [type(event) for event in seen]
    (told,) = [event for event in seen if isinstance(event, TimeExpected)]
    assert kinds.index(TimeExpected) < kinds.index(PassStarted)
    assert (ClusterReady in kinds) == (where == "on Dask")
    assert told.patch_seconds > 0
    assert told.patches == 18
    assert told.passes["predict"] == pytest.approx(18 * told.patch_seconds / _threads(seen))
    assert {event.name for event in seen if isinstance(event, PassStarted)} == set(told.passes)


def _threads(seen):
    return seen[0].plan.running.threads


def test_short_and_resumed_runs_measure_nothing(settings, monkeypatch):
    seen = []
    bigcp3d.segment(**settings, on_event=seen.append)
    assert not any(isinstance(event, TimeExpected) for event in seen)
    plan = seen[0].plan
    assert not expected_time.worth_measuring(plan, resumed=False)
    monkeypatch.setattr(expected_time, "LEAST_PATCHES", 1)
    assert expected_time.worth_measuring(plan, resumed=False)  # the control
    assert not expected_time.worth_measuring(plan, resumed=True)


def test_a_measurement_that_fails_does_not_end_the_run(settings, monkeypatch):
    from bigcp3d.work.run import measure_patch

    def fail(run):
        raise RuntimeError("no patch today")

    monkeypatch.setattr(expected_time, "LEAST_PATCHES", 1)
    monkeypatch.setattr(measure_patch, "measure_patch", fail)
    seen = []
    assert bigcp3d.segment(**settings, on_event=seen.append).cells > 0
    assert not any(isinstance(event, TimeExpected) for event in seen)


def test_the_expectation_follows_patches_threads_workers_and_region(settings):
    def plan(**more):
        return bigcp3d.plan_segmentation(**{**settings, "executor": "auto", "workers": 2, **more})

    two, four, part = plan(), plan(workers=4), plan(roi="0:17,:,:")
    assert count_patches(two) == 18
    assert 0 < count_patches(part) <= 18
    seconds = expect_seconds(two, 10.0)
    assert seconds["predict"] == 180
    work = [wall_seconds(each, seconds) - wall_seconds(each, {}) for each in (two, four)]
    assert work[0] == pytest.approx(2 * work[1])
    assert "predict" not in expect_seconds(two, None)
    slow, quick = guess_patch_seconds(two, 1e9), guess_patch_seconds(two, 2e9)
    assert slow == pytest.approx(2 * quick)


@pytest.mark.parametrize("flow_error", [None, 2.0])
def test_a_region_takes_its_share_of_the_time_of_a_large_volume(settings, tmp_path, flow_error):
    create_image(
        tmp_path / "large.zarr",
        (2000, 2000, 2000),
        "uint8",
        chunk=(64,) * 3,
        shard=(256,) * 3,
        scale_um=None,
        factors=((2, 2, 2),),
    )
    large = {**settings, "source": tmp_path / "large.zarr", "block": (256, 256, 256), "max_flow_error": flow_error}
    whole, part = (bigcp3d.plan_segmentation(**{**large, "roi": roi}) for roi in (None, "900:964,900:964,900:964"))
    seconds, share = expect_seconds(whole, 1.0), expect_seconds(part, 1.0)
    for plan, passes in ((whole, seconds), (part, share)):
        assert set(passes) == set(count_passes([*object_passes(plan), *label_passes(plan)]))
        assert min(passes.values()) > 0
    assert {"stitch", "join", "gather", "filter"} <= set(seconds)
    assert not {"stitch", "gather", "filter"} & set(share)
    for name in ("predict", "merge", "track", "label", "pyramid"):
        assert share[name] < seconds[name] / 100
    assert share["track"] == pytest.approx(seconds["track"] * part.scope.tracked.size / 2000**3)


def test_the_patches_of_a_region_are_those_that_its_blocks_compute(settings):
    plan = bigcp3d.plan_segmentation(**{**settings, "block": CUT["block"], "roi": "0:8,0:8,0:8"})
    blocks = plan.patch_blocks
    computed = [layer for index in blocks.grid for layer in blocks.layers(index, plan.scope.mapped)]
    assert count_patches(plan) == sum(map(len, computed))


def test_the_time_of_a_network_of_another_family_is_not_guessed(settings):
    plan = bigcp3d.plan_segmentation(**settings)
    card = plan.prediction.card.model_copy(update={"architecture": "of others"})
    other = plan.model_copy(update={"prediction": plan.prediction.model_copy(update={"card": card})})
    assert guess_patch_seconds(plan, 1e9) is not None
    assert guess_patch_seconds(other, 1e9) is None
    assert "before a patch is measured" in bigcp3d.describe_plan(other)
    assert "time       about 0:0" in bigcp3d.describe_plan(plan)
