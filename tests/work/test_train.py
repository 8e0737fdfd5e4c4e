"""Training learns, writes a model that segmentation can load, goes on where it stopped, and refuses early."""

import csv

import numpy as np
import pytest
import torch

from bigcp3d.edge.models import load_card, load_network
from bigcp3d.errors import InputError, TargetError
from bigcp3d.pure.tissue import Tissue
from bigcp3d.work.fit import compute_loss, make_batch
from bigcp3d.work.samples import Look, TissueSource
from bigcp3d.work.simulate import simulate
from bigcp3d.work.train import part_of, split_name, train

SMALL = {
    "features": 4, "depth": 2, "patch": (16, 24, 24), "batch": 1, "diameter_vox": 8.0, "prediction_patch": (32, 32, 32),
    "margin": 8, "every": 5, "lr": 1e-2,
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("train") / "nuclei.zarr"
    simulate(path, Tissue((24, 48, 48), 8.0, "nuclei", seed=3, noise=0.05, empty=0.0))
    return path


@pytest.fixture(autouse=True)
def one_thread():
    """Small convolutions on many threads are slower than on one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def losses(path):
    with path.with_suffix(".losses.csv").open() as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def weights(path):
    return load_network(path)[0].state_dict()


@pytest.mark.parametrize("representation", ["tanh", "heat"])
def test_training_lowers_the_losses_on_what_was_held_out(store, tmp_path, representation):
    out = train(
        [f"{store}::truth"], tmp_path / "new" / "m.safetensors", holdout_x=0.4, steps=40, min_cell_vox=5,
        representation=representation, painted=[store], simulate="nuclei", **SMALL,
    )  # fmt: skip
    rows = losses(out)
    assert [row["step"] for row in rows] == list(range(5, 41, 5))
    first, last = (row["val_foreground"] + row["val_flow"] for row in (rows[0], rows[-1]))
    assert last < 0.85 * first
    card = load_card(out)
    assert (card.representation, card.diameter_vox, card.scale_vox) == (representation, 8.0, 1.6)
    assert str(store) in card.training


def test_a_run_that_stopped_goes_on_with_what_it_would_have_seen(store, tmp_path, monkeypatch):
    whole = train([store], tmp_path / "whole.safetensors", steps=10, **SMALL)
    import bigcp3d.work.fit as fit_module

    def stop(sources, seed, *rest, **more):
        if seed[-1] == 7:
            raise KeyboardInterrupt
        return make_batch(sources, seed, *rest, **more)

    monkeypatch.setattr(fit_module, "make_batch", stop)
    with pytest.raises(KeyboardInterrupt):
        train([store], tmp_path / "cut.safetensors", steps=10, **SMALL)
    monkeypatch.undo()
    assert not (tmp_path / "cut.safetensors").exists()
    resumed = train([store], tmp_path / "cut.safetensors", steps=10, resume=True, **SMALL)
    assert losses(resumed) == losses(whole)
    a, b = weights(whole), weights(resumed)
    assert all(torch.equal(a[k], b[k]) for k in a)
    other = weights(train([store], tmp_path / "other.safetensors", steps=10, seed=1, **SMALL))
    assert not all(torch.equal(a[k], other[k]) for k in a)


def test_an_existing_model_is_replaced_only_when_asked(store, tmp_path):
    out = tmp_path / "m.safetensors"
    out.write_text("precious")
    with pytest.raises(TargetError, match="exists"):
        train([store], out, steps=1, **SMALL)
    assert out.read_text() == "precious"
    train([store], out, steps=1, overwrite=True, **SMALL)
    assert load_card(out).name == "m"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"patch": (16, 24, 16)}, "y and x equal"),
        ({"patch": (15, 24, 24)}, "multiples of 2"),
        ({"holdout_x": 1.0}, "holdout_x"),
        ({"steps": 0}, "steps"),
        ({"diameter_vox": -3.0}, "diameter_vox"),
        ({"features": 5}, "features"),
        ({"prediction_patch": (16, 16, 16)}, "4 x margin"),
        ({"label_name": "absent"}, "absent"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_it_starts(store, tmp_path, wrong, message):
    with pytest.raises(InputError, match=message):
        train([store], tmp_path / "m.safetensors", **{"steps": 1, **SMALL, **wrong})
    assert not list(tmp_path.iterdir())


def test_loss_is_taken_only_where_the_truth_is_known_and_flow_only_on_cells():
    rng = np.random.default_rng(0)
    target = torch.from_numpy(rng.random((2, 4, 4, 6, 6), np.float32))
    target[:, 0] = (target[:, 0] > 0.5).float()
    known = torch.from_numpy((rng.random((2, 1, 4, 6, 6)) > 0.3).astype(np.float32))
    output = target + 0.5
    assert [v.item() for v in compute_loss(output, target, known)] == pytest.approx([0.5, 0.25])
    spoiled = torch.where(known > 0, output, 77.0)
    assert compute_loss(spoiled, target, known)[0].item() == pytest.approx(0.5)
    background = torch.where(target[:, :1] > 0, output, output + 1)
    background[:, :1] = output[:, :1]
    on_cells = torch.where(target[:, :1] > 0, output + 1, output)
    on_background, on_all_cells = (compute_loss(o, target, known)[1] - 0.25 for o in (background, on_cells))
    assert 0 < on_background < 0.02 * on_all_cells


def test_centres_are_those_of_whole_cells_not_of_the_patchs_pieces():
    from types import SimpleNamespace

    from bigcp3d.pure.targets import tanh_flow

    card = SimpleNamespace(diameter_vox=8.0, scale_vox=1.6, representation="tanh", clip=(-0.5, 2.5))
    source = TissueSource("membrane", Look(8.0), (48, 64, 64))
    image, target, known = make_batch([(1.0, source)], (0, 0), 1, (16, 24, 24), card, augment=False)
    rng = np.random.default_rng([0, 0])
    rng.choice(1, size=1, p=[1.0])
    labels = source.draw(rng, (28, 36, 36)).labels
    inner = (slice(None), *(slice(6, -6),) * 3)
    assert image.shape == known.shape == (1, 1, 16, 24, 24)
    np.testing.assert_array_equal(target[0, 1:], tanh_flow(labels, 1.6)[inner])
    assert not np.array_equal(target[0, 1:], tanh_flow(labels[inner[1:]], 1.6))


def test_volumes_name_their_labels_after_two_colons():
    assert split_name("a/b.zarr::cells", "truth") == ("a/b.zarr", "cells")
    assert split_name("a/b.zarr", "truth") == ("a/b.zarr", "truth")


def test_the_held_out_part_is_the_rest():
    kept, held = part_of((4, 5, 100), 0.3, held_out=False), part_of((4, 5, 100), 0.3, held_out=True)
    assert (kept.stop, held.start) == ((4, 5, 70), (0, 0, 70))
    assert kept.size + held.size == 2000
