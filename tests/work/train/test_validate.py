"""Validation segments as `bigcp3d.segment` does, and scores whole cells of what was held out."""

import numpy as np
import pytest
import torch

import bigcp3d
from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.edge.models.model_families import load_network
from bigcp3d.edge.models.model_files import save_model
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.learn.augment import Sample
from bigcp3d.pure.predict.network import UNet3D
from bigcp3d.pure.predict.normalise import estimate_range, normalise_intensity, sample_boxes
from bigcp3d.pure.tissue.tissue_random import random_tissue
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.work.simulate import simulate
from bigcp3d.work.train import samples, validate
from bigcp3d.work.train.samples import Look, NoiseSource, TissueSource
from bigcp3d.work.train.validate import Region, draw_regions, region_shape, score_regions, segment_crop
from bigcp3d.work.train.volume_source import open_volume

SHAPE = (34, 60, 51)
CARD = ModelCard(
    name="random", representation="tanh", scale_vox=1.6, diameter_vox=8.0, channels=1, features=4, depth=2,
    patch=(32, 32, 32), margin=4, low_percentile=1.0, high_percentile=99.8, clip=(-0.5, 2.0), training="", date="",
    bigcp3d_version="", command="",
)  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("validate") / "nuclei.zarr"
    simulate(path, Tissue(SHAPE, 10.0, "nuclei", seed=3, noise=0.05, empty=0.2))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Random weights: ragged maps that a trained network would not give."""
    torch.manual_seed(5)
    network = UNet3D(channels=1, features=4, depth=2)
    with torch.no_grad():
        network.head[-1].weight *= 3
        network.head[-1].bias[:] = torch.tensor([0.6, 0, 0, 0])
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    save_model(path, network, CARD)
    return str(path)


def source(store, part=None):
    labels = open_labels(store, "truth")
    return open_volume(
        open_image(store), labels, Look(8.0), part=part or Box.of_shape(SHAPE), diameter_um=8.0, min_cell_vox=5
    )


def test_validation_finds_the_labels_that_segment_finds(store, model, tmp_path):
    bigcp3d.segment(
        store, output=tmp_path / "out.zarr", model=model, executor="serial", diameter_um="as-is", precision="float32"
    )
    found = read_box(open_labels(tmp_path / "out.zarr", "cells"), 0, Box.of_shape(SHAPE))
    info = open_image(store)
    low, high = estimate_range([read_box(info, 0, box) for box in sample_boxes(SHAPE)], 1.0, 99.8)
    image = normalise_intensity(read_box(info, 0, Box.of_shape(SHAPE)), low, high, CARD.clip)
    labels = segment_crop(image[None], load_network(model)[0], CARD)
    assert labels.max() > 10
    np.testing.assert_array_equal(labels, found)
    wider = CARD.model_copy(update={"diameter_vox": 12.0})
    assert not np.array_equal(segment_crop(image[None], load_network(model)[0], wider), found)


def test_regions_lie_in_the_held_out_part_and_are_not_bent(store):
    part = Box((0, 0, 20), SHAPE)
    regions = draw_regions([("a", source(store, part)), ("noise", NoiseSource(Look(8.0)))], CARD, 1)
    again = draw_regions([("a", source(store, part)), ("noise", NoiseSource(Look(8.0)))], CARD, 1)
    truth = read_box(open_labels(store, "truth"), 0, part)
    ids = np.append(0, source(store, part).cells.ids)  # samples number the cells
    assert [region.name for region in regions] == ["a"] * len(regions)
    assert 1 <= len(regions) <= validate.MOST_REGIONS
    for region, other in zip(regions, again, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(region.sample, other.sample, strict=True))
        shape = np.array(region.sample.labels.shape)
        assert (shape <= region_shape(CARD)).all()
        assert (shape >= 0.7 * np.minimum(region_shape(CARD), truth.shape)).all()
        where = find(truth, ids[region.sample.labels])  # a piece of the truth as it is
        assert region.sample.known.mean() > 0.9
        assert where is not None


@pytest.mark.parametrize("stain", ["membrane", "nuclei"])
def test_simulated_regions_hold_cells_of_the_models_diameter(monkeypatch, stain):
    asked = []

    def draw(rng, shape, stain, diameter):
        asked.append(diameter)
        return random_tissue(rng, shape, stain, diameter)

    monkeypatch.setattr(samples, "random_tissue", draw)
    draw_regions([("simulated", TissueSource(stain, Look(8.0), (48, 64, 64)))], CARD, 1)
    assert set(asked) == {8.0}


def find(truth, piece):
    """Where a piece lies in an array."""
    room = np.array(truth.shape) - piece.shape + 1
    for start in np.ndindex(*room):
        at = tuple(slice(a, a + n) for a, n in zip(start, piece.shape, strict=True))
        if np.array_equal(np.where(piece > 0, truth[at], 0), piece) and (piece > 0).sum() > 100:
            return start
    return None


def test_many_held_out_volumes_cost_no_more_than_a_few(store):
    one = source(store)
    regions = draw_regions([(str(n), one) for n in range(30)], CARD, 1)
    assert len(regions) == validate.MOST_REGIONS
    assert {int(region.name) for region in regions} >= {0, 29}
    assert max(region.sample.labels.size for region in regions) <= validate.LONGEST_SIDE**3


def test_scores_are_those_of_whole_cells(monkeypatch):
    truth = np.zeros((20, 20, 40), np.int32)
    truth[4:16, 4:16, 2:12], truth[4:16, 4:16, 14:24], truth[4:16, 4:16, 26:36] = 1, 2, 3
    truth[0, 0, 0] = 4  # a crumb
    found = np.where(truth == 3, 0, truth).astype(np.uint32)  # one missed, one exact,
    found[4:16, 4:16, 2:4] = 0  # and one with 8 of its 10 planes
    known = np.ones(truth.shape, bool)
    known[:, :, 38:] = False
    found[:, :, 38:] = 9  # nothing is known there
    monkeypatch.setattr(validate, "segment_crop", lambda *_: found)
    region = Region("a", Sample(np.zeros((1, *truth.shape), np.float32), truth, known))
    scores = score_regions(torch.nn.Identity(), [region], CARD)
    assert scores["val_dice_cells"] == pytest.approx((2 * 8 / 18 + 1 + 0) / 3)
    assert scores["val_ap50"] == pytest.approx(2 / 3)
    perfect = Region("b", Sample(np.zeros((1, *truth.shape), np.float32), found.astype(np.int32), known))
    both = score_regions(torch.nn.Identity(), [region, perfect], CARD)
    assert both["val_ap50"] == pytest.approx((2 / 3 + 1) / 2)


def test_a_region_holds_about_four_cells_a_side_in_whole_patches():
    def shape(diameter, patch, margin):
        sides = {"diameter_vox": diameter, "patch": patch, "margin": margin}
        return region_shape(CARD.model_copy(update=sides))

    assert shape(20.0, (96, 96, 96), 12) == (72, 72, 72)
    assert shape(8.0, (32, 32, 32), 8) == (32, 32, 32)
    assert shape(60.0, (48, 96, 96), 12) == (96, 96, 96)
