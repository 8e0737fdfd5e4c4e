"""A network of several channels is trained, validated and used as one of a single channel is; or refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

import bigcp3d
from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.image.new_image import create_image
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.edge.models.model_families import load_card, load_network
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.learn.augment import Sample
from bigcp3d.pure.tissue.tissue import render
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.work.simulate import simulate
from bigcp3d.work.train.batches import make_sample
from bigcp3d.work.train.samples import Look, NoiseSource
from bigcp3d.work.train.train import train
from bigcp3d.work.train.volume_source import open_volume

SHAPE = (24, 48, 48)
SMALL = {
    "features": 4, "depth": 2, "patch": (16, 24, 24), "batch": 2, "diameter_vox": 12.0,
    "prediction_patch": (32, 32, 32), "margin": 4, "every": 3, "learning_rate": 1e-2, "min_cell_vox": 5,
    "precision": "float32",
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """Membranes of cells, whose truth it is, and nuclei at the same places: one seed, rendered twice."""
    folder = tmp_path_factory.mktemp("train")
    simulate(folder / "one.zarr", Tissue(SHAPE, 12.0, "membrane", seed=3, empty=0.0))
    image = create_image(
        folder / "two.zarr", SHAPE, "uint16", scale_um=(1, 1, 1), channels=2, chunk=(24, 48, 48), shard=(24, 48, 48)
    )
    for channel, stain in enumerate(("nuclei", "membrane")):
        values, _ = render(Tissue(SHAPE, 12.0, stain, seed=3, empty=0.0), Box.of_shape(SHAPE))
        zarr.open_array(f"{image.path}/0", mode="r+")[channel] = values
    (folder / "one.zarr" / "labels").rename(folder / "two.zarr" / "labels")
    metadata = json.loads((folder / "two.zarr" / "zarr.json").read_text())
    metadata["attributes"]["ome"]["omero"] = {"channels": [{"label": "nuclei"}, {"label": "membrane"}]}
    (folder / "two.zarr" / "zarr.json").write_text(json.dumps(metadata))
    return folder / "two.zarr"


@pytest.mark.slow
def test_a_network_of_two_channels_is_trained_and_used(store, tmp_path):
    out = train([store], tmp_path / "m.safetensors", channel=("membrane", "nuclei"), steps=6, holdout_x=0.4, **SMALL)
    card = load_card(out)
    assert (card.channels, card.channel_names) == (2, ("membrane", "nuclei"))
    start = {name: value.clone() for name, value in load_network(out)[0].state_dict().items()}
    again = train([store], tmp_path / "n.safetensors", start=out, steps=3, **SMALL)
    assert load_card(again).channel_names == ("membrane", "nuclei"), "taken over, as is what they are called"
    assert any(not torch.equal(value, start[name]) for name, value in load_network(again)[0].state_dict().items())
    plan = bigcp3d.plan_segmentation(store, model=out, diameter_um="as-is", output=tmp_path / "o.zarr")
    assert plan.source.channels == (1, 0), "found in the image by their names"
    exchanged = train(
        [store], tmp_path / "x.safetensors", channel=("nuclei", "membrane"), steps=6, holdout_x=0.4, **SMALL
    )
    other = load_network(exchanged)[0].state_dict()
    assert any(not torch.equal(value, start[name]) for name, value in other.items()), "the control"


def test_samples_show_each_channel_where_it_is_and_in_the_order_asked(store):
    def source(*channels):
        image, labels = open_image(store), open_labels(store, "truth")
        return open_volume(
            image, labels, Look(12.0), part=Box.of_shape(SHAPE), diameter_um=None, min_cell_vox=5, channels=channels
        )

    both, turned, single = source("membrane", 0), source(0, 1), source(1)
    for seed in range(3):
        samples = [s.draw(np.random.default_rng(seed), (16, 24, 24)) for s in (both, turned, single)]
        assert samples[0].image.shape == (2, 16, 24, 24)
        assert np.array_equal(samples[0].image, samples[1].image[::-1])
        assert np.array_equal(samples[0].image[:1], samples[2].image)
        assert not np.array_equal(*samples[0].image)
    low, high = np.percentile(read_box(open_image(store), 0, Box.of_shape(SHAPE), channel=0), [1.0, 99.8])
    assert both.ranges[1] == pytest.approx((low, high), abs=1)


class Same:
    """A source that shows the same in both channels."""

    def draw(self, rng, shape):
        image = np.random.default_rng(0).random(shape, np.float32)
        return Sample(np.stack([image, image]), np.ones(shape, np.int32), np.ones(shape, bool))


def test_intensities_change_in_each_channel_by_itself_and_places_in_all_alike(store, tmp_path):
    card = load_card(train([store], tmp_path / "m.safetensors", channel=(1, 0), steps=1, **SMALL))
    plain, _, _ = make_sample(Same(), np.random.default_rng(1), (16, 24, 24), card, augment=False)
    assert np.array_equal(*plain)
    differ = 0
    for seed in range(4):
        image, _, _ = make_sample(Same(), np.random.default_rng(seed), (16, 24, 24), card)
        differ += not np.array_equal(*image)
        assert np.corrcoef(image[0].ravel(), image[1].ravel())[0, 1] > 0.1, "turned and cut alike"
    assert differ == 4
    noise = NoiseSource(Look(12.0), 2).draw(np.random.default_rng(0), (16, 24, 24)).image
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.5


def test_what_has_one_stain_is_refused(store, tmp_path):
    simulate(tmp_path / "one.zarr", Tissue(SHAPE, 12.0, "membrane", seed=3, empty=0.0))
    two = {"channel": (0, 1), "steps": 1, **SMALL}
    with pytest.raises(InputError, match=r"one\.zarr: there is no channel 1"):
        train([store, tmp_path / "one.zarr"], tmp_path / "m.safetensors", **two)
    for more in ({"simulate": "nuclei"}, {"painted": [store]}):
        with pytest.raises(InputError, match="shows one stain"):
            train([store], tmp_path / "m.safetensors", **more, **two)
    with pytest.raises(InputError, match="2 channels were given, but membrane takes 1"):
        train([store], tmp_path / "m.safetensors", channel=(0, 1), start="membrane", steps=1)
    assert not list(tmp_path.glob("*.safetensors"))
