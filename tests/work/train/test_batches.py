"""Batches follow from the seed and their number alone, whoever makes them; patches may have any sides."""

import dataclasses
import os
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest

from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.errors import BigCP3DError
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.learn.augment import Sample
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.work.simulate import simulate
from bigcp3d.work.train import batches
from bigcp3d.work.train.batches import Recipe, make_batches, make_sample
from bigcp3d.work.train.samples import Look, NoiseSource
from bigcp3d.work.train.volume_source import open_volume

CARD = SimpleNamespace(diameter_vox=8.0, scale_vox=1.6, representation="tanh", clip=(-0.5, 2.5))


class Fatal(NoiseSource):
    """Ends its process, as the system does where memory runs out."""

    def draw(self, rng, shape):
        os._exit(9)


def recipe(tmp_path, patch=(16, 24, 24)):
    path = tmp_path / "nuclei.zarr"
    simulate(path, Tissue((24, 48, 48), 8.0, "nuclei", seed=3, noise=0.05, empty=0.0))
    volume = open_volume(
        open_image(path), open_labels(path, "truth"), Look(8.0), part=Box.of_shape((24, 48, 48)), diameter_um=8.0,
        min_cell_vox=5,
    )  # fmt: skip
    return Recipe(((0.6, volume), (0.4, NoiseSource(Look(8.0)))), 7, 2, patch, CARD)


@pytest.mark.parametrize("start", ["quick_processes", pytest.param("tmp_path", marks=pytest.mark.slow, id="new")])
def test_workers_give_the_same_batches_in_the_same_order(tmp_path, request, start):
    request.getfixturevalue(start)
    ours = recipe(tmp_path)
    alone = list(make_batches(ours, range(5), 0))
    with closing(make_batches(ours, range(5), 2)) as ahead:
        for one, other in zip(alone, ahead, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    with closing(make_batches(ours, range(3, 5), 0)) as later:
        assert np.array_equal(next(later)[0], alone[3][0])
    assert not np.array_equal(alone[0][0], alone[1][0])


def test_a_worker_that_dies_is_reported(quick_processes):
    fatal = Recipe(((1.0, Fatal(Look(8.0))),), 0, 1, (16, 16, 16), CARD)
    with pytest.raises(BigCP3DError, match="1 workers"), closing(make_batches(fatal, range(3), 1)) as ahead:
        next(ahead)


@pytest.mark.parametrize("patch", [(8, 24, 16), (24, 8, 16), (16, 16, 16)])
def test_a_patch_may_have_any_sides(tmp_path, patch):
    ours = recipe(tmp_path, patch)
    for number in range(6):  # so that each turn is met
        image, target, known = ours.make(number)
        assert image.shape == known.shape == (2, 1, *patch)
        assert target.shape == (2, 4, *patch)
        inside = target[:, 0] > 0
        assert not target[:, 1:].transpose(0, 2, 3, 4, 1)[~inside].any()


def test_small_cells_count_as_the_balance_says(tmp_path):
    plain = recipe(tmp_path)
    balanced = dataclasses.replace(plain, balance=0.5)
    for number in range(4):
        (image, target, known), (same, as_well, weights) = plain.make(number), balanced.make(number)
        assert np.array_equal(image, same)
        assert np.array_equal(target, as_well)
        assert np.unique(known).tolist() in ([0, 1], [1])
        assert np.array_equal(weights > 0, known > 0)
        assert (weights[target[:, :1] == 0] <= 1).all()
    cells = np.concatenate([balanced.make(n)[2].ravel() for n in range(4)])
    assert cells.max() > 1.2


class Bar(NoiseSource):
    """A bar along x that leaves the patch, in the middle of every sample."""

    half = 12

    def draw(self, rng, shape):
        labels = np.zeros(shape, np.int32)
        z, y, x = (n // 2 for n in shape)
        labels[z - 1 : z + 1, y - 1 : y + 1, x - self.half : x + self.half] = 5
        return Sample(np.zeros((1, *shape), np.float32), labels, np.ones(shape, bool))


def test_a_cell_that_the_patch_cuts_weighs_as_the_whole_of_it():
    card = SimpleNamespace(**{**vars(CARD), "diameter_vox": 12.0})
    _, target, weights = make_sample(Bar(Look(12.0)), np.random.default_rng(0), (8, 8, 8), card, 0.5, augment=False)
    ball, whole = np.pi / 6 * 12**3, 2 * 2 * 24
    assert np.unique(weights[target[0] > 0]) == pytest.approx((ball / whole) ** 0.5)
    assert np.unique(weights[target[0] == 0]) == 1


class LongBar(Bar):
    """A bar from face to face of the sample: nobody knows where its middle is."""

    half = 16


@pytest.mark.parametrize("augment", [True, False])
def test_a_cell_that_the_sample_cuts_is_not_known_but_what_is_around_it_is(augment):
    """A volume cut by its own border is known: beyond the border lies no cell, so no cell is on the sample's face."""
    card = SimpleNamespace(**{**vars(CARD), "diameter_vox": 12.0})
    for seed in range(3):
        rng = np.random.default_rng(seed)
        _, target, weights = make_sample(LongBar(Look(12.0)), rng, (8, 8, 8), card, augment=augment)
        assert target[0].any()
        assert not weights[target[0] > 0].any()
        assert weights[target[0] == 0].any()


@pytest.mark.parametrize("known", [True, False])
def test_a_border_is_not_cut_where_it_would_hide_all_that_is_known(monkeypatch, known):
    def cut(sample, rng):
        return sample._replace(known=np.full_like(sample.known, known))

    monkeypatch.setattr(batches, "cut_border", cut)
    card = SimpleNamespace(**{**vars(CARD), "diameter_vox": 12.0})
    _, _, weights = make_sample(Bar(Look(12.0)), np.random.default_rng(0), (8, 8, 8), card)
    assert weights.all()
