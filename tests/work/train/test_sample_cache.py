"""Samples on disk are those that would be made; they are shown again, turned; old ones go."""

import dataclasses
from contextlib import closing
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.learn.augment import Sample
from bigcp3d.work.train import validate
from bigcp3d.work.train.batches import Recipe, Shown, fill_cache, make_batches, turn_targets
from bigcp3d.work.train.sample_cache import SampleCache, open_cache
from bigcp3d.work.train.samples import Look, NoiseSource
from bigcp3d.work.train.train import train

CARD = SimpleNamespace(diameter_vox=8.0, scale_vox=1.6, representation="tanh", clip=(-0.5, 2.5))


class Cubes(NoiseSource):
    """Noise with a cube in it."""

    def draw(self, rng: np.random.Generator, shape: Vec3) -> Sample:
        labels = np.zeros(shape, np.int32)
        z, y, x = rng.integers(8, 16, 3)
        labels[z : z + 6, y : y + 6, x : x + 6] = 1
        image = rng.standard_normal((1, *shape), np.float32) + labels
        return Sample(image, labels, np.ones(shape, bool))


@pytest.fixture
def recipe():
    return Recipe(((0.7, Cubes(Look(8.0))), (0.3, NoiseSource(Look(8.0)))), 7, 2, (16, 16, 16), CARD, block=4)


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_batches_from_disk_are_those_that_are_made(recipe, tmp_path, monkeypatch):
    cache = SampleCache(tmp_path, 1.0)
    plain = list(make_batches(recipe, range(5), 0))
    kept = list(make_batches(recipe, range(5), 0, cache))
    monkeypatch.setattr(Recipe, "make_sample", None)  # from here on nothing can be made
    read = list(make_batches(recipe, range(5), 0, cache))
    assert all(same(a, b) and same(a, c) for a, b, c in zip(plain, kept, read, strict=True))
    assert same(next(iter(make_batches(recipe, [3], 0, cache))), plain[3])


def test_workers_fill_a_cache_that_another_training_reads(recipe, tmp_path, quick_processes, monkeypatch):
    cache, plain = SampleCache(tmp_path, 1.0), list(make_batches(recipe, range(4), 0))
    assert fill_cache(recipe, range(4), 2, cache) == 8
    monkeypatch.setattr(Recipe, "make_sample", None)
    with closing(make_batches(recipe, range(4), 0, cache)) as read:
        assert all(same(a, b) for a, b in zip(plain, read, strict=True))


def test_a_damaged_sample_is_made_again(recipe, tmp_path):
    cache = SampleCache(tmp_path, 1.0)
    before = list(make_batches(recipe, range(2), 0, cache))
    whole = cache.path(1).read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"no sample"):
        cache.path(1).write_bytes(damaged)
        assert all(same(a, b) for a, b in zip(before, make_batches(recipe, range(2), 0, cache), strict=True))
        assert cache.path(1).read_bytes() == whole


def test_each_sample_is_shown_as_often_as_asked_in_another_order_each_time(recipe):
    often = dataclasses.replace(recipe, repeat=3)
    shown = [s for step in range(12) for s in often.samples_of(step)]
    assert [s.number for s in shown[:4]] == [0, 1, 2, 3]
    for block in (shown[:12], shown[12:]):
        assert len(set(block)) == 12
        assert len({s.number for s in block}) == 4
    orders = [tuple(s.number for s in shown[k : k + 4]) for k in (0, 4, 8)]
    assert len(set(orders)) > 1
    assert all(s.times == 0 for s in recipe.samples_of(99))
    first, second = (often.show(Shown(0, times), often.make_sample(0)) for times in (0, 1))
    assert np.allclose(np.sort(first[0].ravel()), np.sort(second[0].ravel()))


@pytest.mark.slow
def test_workers_show_the_same_when_samples_are_repeated(recipe, tmp_path):
    often = dataclasses.replace(recipe, repeat=3)
    alone = list(make_batches(often, range(2, 9), 0, SampleCache(tmp_path / "a", 1.0)))
    with closing(make_batches(often, range(2, 9), 1, SampleCache(tmp_path / "b", 1.0))) as ahead:
        assert all(same(a, b) for a, b in zip(alone, ahead, strict=True))


def test_flows_turn_with_the_image():
    """The image is a ramp along each axis, and the flow is its gradient, whatever the turn."""
    ramp = np.indices((8, 8, 8)).astype(np.float32)
    seen = set()
    for seed in range(60):
        weights = 3 * ramp[0] + 5 * ramp[1] + 7 * ramp[2]
        target = np.stack([np.ones_like(weights), *(np.full_like(weights, v) for v in (3, 5, 7))])
        image, turned, again = turn_targets(weights[None], target, weights, np.random.default_rng(seed))
        assert np.array_equal(image[0], again)
        for axis in range(3):
            assert (np.diff(image[0], axis=axis) == np.delete(turned[1 + axis], 0, axis)).all()
        seen.add(tuple(turned[1:, 0, 0, 0].tolist()))
    assert len(seen) == 16


def test_the_oldest_samples_go_and_those_to_come_stay(recipe, tmp_path):
    cache = SampleCache(tmp_path, 1e-12, 4)
    list(make_batches(recipe, range(7), 0, cache))
    assert not cache.path(0).exists()
    assert not cache.path(11).exists()
    assert cache.path(12).exists()
    roomy = SampleCache(tmp_path / "roomy", 1.0)
    list(make_batches(recipe, range(7), 0, roomy))
    assert all(roomy.path(n).exists() for n in range(14))


def test_other_settings_have_other_folders(tmp_path):
    one, same_, other = (open_cache(tmp_path, 1.0, {"seed": seed}).folder for seed in (1, 1, 2))
    assert one == same_ != other
    assert '"seed": 1' in (one / "samples.json").read_text()


SMALL = {
    "simulate": "nuclei", "features": 4, "depth": 2, "patch": (16, 16, 16), "batch": 1, "diameter_vox": 8.0,
    "prediction_patch": (32, 32, 32), "margin": 4, "every": 2, "steps": 4,
}  # fmt: skip


def test_a_cache_made_ahead_serves_a_training_and_its_log_says_what_waiting_took(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(validate, "MOST_OF_ONE", 1)
    ahead = train([], tmp_path / "x.safetensors", cache=tmp_path / "c", samples_only=True, **SMALL)
    made = {path: path.stat().st_mtime_ns for path in ahead.glob("*/*.zst")}
    assert len(made) == 4
    assert not (tmp_path / "x.safetensors").exists()
    with caplog.at_level("INFO"):
        kept = train([], tmp_path / "a.safetensors", cache=tmp_path / "c", **SMALL)
    assert {path: path.stat().st_mtime_ns for path in ahead.glob("*/*.zst")} == made
    assert "s waiting for samples" in caplog.text
    plain = train([], tmp_path / "b.safetensors", **SMALL)
    curves = [path.with_suffix(".losses.csv").read_text() for path in (kept, plain)]
    assert curves[0] == curves[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"repeat": 2}, "--cache"), ({"samples_only": True}, "--cache"), ({"repeat": 0}, "repeat"),
     ({"cache_gb": -1.0}, "cache_gb")],
)  # fmt: skip
def test_wrong_settings_are_refused(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        train([], tmp_path / "m.safetensors", **{**SMALL, **options})


def test_numbers_of_samples_run_through_the_steps(recipe):
    numbers = [s.number for step in range(5) for s in recipe.samples_of(step)]
    assert all(b == a + 1 for a, b in pairwise(numbers))
