"""Training learns, writes a model that segmentation can load, goes on where it stopped, and refuses early."""

import csv
import dataclasses
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import zarr

from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.edge.models.model_families import load_card, load_network
from bigcp3d.errors import InputError, ModelError, TargetError
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.work.analyse import measure
from bigcp3d.work.simulate import simulate
from bigcp3d.work.train import volume_source
from bigcp3d.work.train.batches import Recipe
from bigcp3d.work.train.fit import Trained, Validated
from bigcp3d.work.train.optimise import ON_PATCHES, Device, compute_loss
from bigcp3d.work.train.samples import Look, TissueSource
from bigcp3d.work.train.settings import TrainSettings
from bigcp3d.work.train.train import train
from bigcp3d.work.train.train_checks import avoid_wrong_gradients, make_card
from bigcp3d.work.train.training_data import open_training_data, part_of, split_name
from bigcp3d.work.train.validate import ON_REGIONS

SMALL = {
    "features": 4, "depth": 2, "patch": (16, 24, 24), "batch": 1, "diameter_vox": 8.0, "prediction_patch": (32, 32, 32),
    "margin": 4, "every": 5, "learning_rate": 1e-2,
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("train") / "nuclei.zarr"
    simulate(path, Tissue((24, 48, 48), 8.0, "nuclei", seed=3, noise=0.05, empty=0.0))
    return path


def losses(path):
    with path.with_suffix(".losses.csv").open() as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    ("representation", "painted"), [("tanh", False), pytest.param("heat", True, marks=pytest.mark.slow)]
)
def test_training_lowers_the_losses_on_what_was_held_out(store, tmp_path, representation, painted):
    small = {**SMALL, "every": 20, "precision": "float32"}
    out = train(
        [f"{store}::truth"], tmp_path / "new" / "m.safetensors", holdout_x=0.4, steps=40, min_cell_vox=5,
        representation=representation, **({"painted": [store], "simulate": "nuclei"} if painted else {}), **small,
    )  # fmt: skip
    rows = losses(out)
    assert [row["step"] for row in rows] == [20, 40]
    first, last = (row["val_foreground"] + row["val_flow"] for row in (rows[0], rows[-1]))
    assert last < 0.93 * first
    card = load_card(out)
    assert (card.representation, card.diameter_vox, card.scale_vox) == (representation, 8.0, 1.6)
    assert str(store) in card.training


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
        ({"patch": (15, 24, 24)}, "multiples of 2"),
        ({"batch": 0}, "batch is 0"),
        ({"every": 0}, "every is 0"),
        ({"workers": -1}, "workers is -1"),
        ({"patience": -1}, "patience is -1"),
        ({"balance": 1.5}, "balance is 1.5"),
        ({"patience": 2}, "nothing is held out"),
        ({"learning_rate": 0.0}, "learning_rate is 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"keep": "first"}, "keep is 'first'"),
        ({"precision": "float16"}, "precision is 'float16'"),
        ({"device": "tpu"}, "device is 'tpu'"),
        ({"shares": (0, 0, 0, 0)}, "shares are"),
        ({"architecture": "cellpose"}, "architecture is 'cellpose'"),
        ({"holdout_x": 1.0}, "holdout_x"),
        ({"steps": 0}, "steps"),
        ({"diameter_vox": -3.0}, "diameter_vox is -3.0; give a number above 0"),
        ({"diameter_um": float("nan")}, "diameter_um is nan; give a number above 0"),
        ({"tanh_scale_vox": 0.0}, "tanh_scale_vox is 0.0; give a number above 0"),
        ({"seed": -1}, "seed is -1"),
        ({"min_cell_vox": -5}, "min_cell_vox is -5"),
        ({"depth": 0}, "depth is 0; give 2 or more"),
        ({"holdout_x": {"./a.zarr": 0.3}}, "holdout_x has a number for ./a.zarr, but no such volume was given"),
        ({"diameter_um": {"a.zarr": 9.0}}, "diameter_um has a number for a.zarr, but no such volume was given"),
        ({"patience": 2, "simulate": "nuclei"}, "nothing is held out"),
        ({"diameter_vox": 90.0}, "diameter_vox is 90; use at most 84"),
        ({"features": 5}, r"together \(Value error, features 5, depth 2: use an even number"),
        ({"prediction_patch": (8, 8, 8)}, "4 x margin"),
        ({"labels_name": "absent"}, "absent"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_it_starts(store, tmp_path, wrong, message):
    with pytest.raises(InputError, match=message):
        train([store], tmp_path / "m.safetensors", **{"steps": 1, **SMALL, **wrong})
    assert not list(tmp_path.iterdir())


def weights(path):
    return load_network(path)[0].state_dict()


def distance(one, other):
    """Largest difference of any weight."""
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_a_training_starts_from_the_weights_of_a_model_and_keeps_its_form(store, tmp_path):
    small = {"patch": (16, 24, 24), "batch": 1, "every": 5, "learning_rate": 1e-7}
    form = {"features": 4, "depth": 2, "diameter_vox": 7.0, "prediction_patch": (48, 48, 48), "margin": 8}
    form |= {"percentiles": (2.0, 98.0), "representation": "heat"}
    first = train([store], tmp_path / "first.safetensors", steps=2, seed=1, **form, **small)
    then = train([store], tmp_path / "then.safetensors", steps=2, start=first, **small)
    alone = train([store], tmp_path / "alone.safetensors", steps=2, **form, **small)
    assert distance(weights(first), weights(then)) < 1e-4
    assert distance(weights(first), weights(alone)) > 1e-2  # control: other weights at random
    before, after = load_card(first), load_card(then)
    same = {"representation", "diameter_vox", "scale_vox", "features", "depth", "patch", "margin", "low_percentile"}
    assert before.model_dump(include=same) == after.model_dump(include=same)


def test_a_network_of_another_form_is_no_start(store, tmp_path):
    first = train([store], tmp_path / "first.safetensors", steps=1, **SMALL)
    with pytest.raises(InputError, match="features is 8, but the network to start from"):
        train([store], tmp_path / "then.safetensors", start=first, features=8, steps=1)
    with pytest.raises(ModelError, match="absent"):
        train([store], tmp_path / "then.safetensors", start=tmp_path / "absent.safetensors", steps=1)
    assert not list(tmp_path.glob("then*"))


def test_a_checkpoint_of_another_start_is_refused(store, tmp_path):
    first = train([store], tmp_path / "first.safetensors", steps=1, **SMALL)
    out = tmp_path / "m.safetensors"
    train([store], out, steps=1, **SMALL)
    with pytest.raises(InputError, match="start"):
        train([store], out, start=first, steps=1, resume=True, **SMALL)


def test_a_folder_is_no_model(store, tmp_path):
    with pytest.raises(TargetError, match="is a folder"):
        train([store], tmp_path, steps=1, **SMALL)


def test_a_model_file_has_the_name_of_one(store, tmp_path):
    with pytest.raises(TargetError, match=r"m.txt: a model is a .safetensors file"):
        train([store], tmp_path / "m.txt", steps=1, **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_learn_from_is_refused(tmp_path):
    with pytest.raises(InputError, match="nothing to learn from"):
        train([], tmp_path / "m.safetensors", steps=1, **SMALL)


def test_validation_scores_whole_segmentations_and_the_watcher_sees_every_row(store, tmp_path):
    seen = []

    def watch(event):
        table = event.curve.read_text().splitlines()
        seen.append((type(event), len(table) - 1))
        assert table[-1].startswith(f"{event.row['step']},")

    small = {**SMALL, "patch": (16, 24, 32), "precision": "float32"}
    out = train([store], tmp_path / "m.safetensors", holdout_x=0.4, steps=10, min_cell_vox=5, on_event=watch, **small)
    assert seen == [(Validated, 1), (Validated, 2), (Trained, 2)]
    for row in losses(out):
        assert list(row) == ["step", "foreground", "flow", *ON_PATCHES, *ON_REGIONS]
        assert 0 <= row["val_ap50"] <= 1
        assert 0 <= row["val_dice_cells"] <= 1


def test_without_held_out_data_there_are_no_scores(store, tmp_path):
    out = train([store], tmp_path / "m.safetensors", steps=5, **SMALL)
    assert [list(row) for row in losses(out)] == [["step", "foreground", "flow"]]


def test_volumes_of_different_voxels_are_learned_at_one_diameter(tmp_path, monkeypatch):
    """One tissue, imaged with two voxel sizes: the samples of both show cells of the model's diameter."""
    import bigcp3d.work.train.train as module

    recipes = []
    stores = [tmp_path / "fine.zarr", tmp_path / "coarse.zarr"]
    simulate(
        stores[0], Tissue((30, 80, 80), (6.0, 15.0, 15.0), "nuclei", seed=3, scale=(2.5, 1, 1)), scale_um=(1, 0.4, 0.4)
    )
    simulate(stores[1], Tissue((40, 40, 40), 6.0, "nuclei", seed=3), scale_um=(1.0, 1.0, 1.0))
    monkeypatch.setattr(module, "Training", lambda recipe, *_: [recipes.append(recipe), Mock()][1])
    monkeypatch.setattr(module, "save_model", lambda *_: None)
    train(stores, tmp_path / "m.safetensors", **SMALL)
    sizes = []
    for _, source in recipes[0].sources[:2]:
        plain = dataclasses.replace(source, jitter=False)
        labels = [plain.draw(np.random.default_rng(n), (40, 40, 40)).labels for n in range(4)]
        counts = np.concatenate([np.bincount(array.ravel())[1:] for array in labels])
        sizes.append(np.cbrt(6 / np.pi * np.median(counts[counts > 100])))
    assert sizes == pytest.approx([8.0, 8.0], rel=0.2)
    factors = [source.factors for _, source in recipes[0].sources[:2]]
    assert factors[0][1] / factors[0][0] == pytest.approx(2.5)
    assert factors[1][1] == pytest.approx(factors[1][0])


def test_a_large_volume_is_read_in_pieces(tmp_path, monkeypatch):
    """Image and labels of 38 million voxels, 115 MB: little is asked of the store at once, and little for a sample."""
    shape = (128, 544, 544)
    group = zarr.open_group(tmp_path / "big.zarr", mode="w", zarr_format=3)
    for path, dtype in (("0", "uint8"), ("labels/truth/0", "uint16")):
        group.create_array(path, shape=shape, dtype=dtype, chunks=(32, 32, 32), dimension_names=["z", "y", "x"])
    axes = [{"name": name, "type": "space"} for name in "zyx"]
    scales = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]}]
    multiscales = [{"axes": axes, "datasets": scales}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": multiscales}
    group["labels"].attrs["ome"] = {"version": "0.5", "labels": ["truth"]}
    group["labels/truth"].attrs["ome"] = {"version": "0.5", "multiscales": multiscales, "image-label": {}}
    centres = np.random.default_rng(0).integers(8, np.array(shape) - 8, (100, 3))
    for number, (z, y, x) in enumerate(centres.tolist()):
        cell = (slice(z - 4, z + 4), slice(y - 4, y + 4), slice(x - 4, x + 4))
        group["labels/truth/0"][cell] = number + 1
        group["0"][cell] = 200
    reads = []

    def read(info, level, box, **more):
        values = read_box(info, level, box, **more)
        reads.append(values.nbytes)
        return values

    monkeypatch.setattr(volume_source, "read_box", read)
    monkeypatch.setattr(measure, "read_box", read)
    monkeypatch.setattr(measure, "BLOCK_VOX", 2**21)  # as the volume is small for a test's sake
    labels = open_labels(tmp_path / "big.zarr", "truth")
    source = volume_source.open_volume(
        open_image(tmp_path / "big.zarr"), labels, Look(8.0), part=Box.of_shape(shape), diameter_um=None, min_cell_vox=5
    )
    volume = 3 * int(np.prod(shape))
    assert len(source.cells.ids) > 93
    assert max(reads) < volume / 10  # the labels were measured block by block
    reads.clear()
    for seed in range(5):
        source.draw(np.random.default_rng(seed), (32, 40, 40))
    assert 0 < sum(reads) < 5 * volume / 50


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

    from bigcp3d.pure.learn.targets import tanh_flow

    card = SimpleNamespace(diameter_vox=8.0, scale_vox=1.6, representation="tanh", clip=(-0.5, 2.5))
    source = TissueSource("membrane", Look(8.0), (48, 64, 64))
    image, target, known = Recipe(((1.0, source),), 0, 1, (16, 24, 24), card, augment=False).make(0)
    rng = np.random.default_rng([0, 0])
    rng.choice(1, p=[1.0])
    labels = source.draw(rng, (32, 40, 40)).labels
    inner = (slice(None), *(slice(8, -8),) * 3)
    assert image.shape == known.shape == (1, 1, 16, 24, 24)
    np.testing.assert_allclose(target[0, 1:], tanh_flow(labels, 1.6)[inner], atol=0.5 / 127 + 1e-6)
    assert np.abs(target[0, 1:] - tanh_flow(labels[inner[1:]], 1.6)).max() > 0.1


def test_volumes_name_their_labels_after_two_colons():
    assert split_name("a/b.zarr::cells", "truth") == ("a/b.zarr", "cells")
    assert split_name("a/b.zarr", "truth") == ("a/b.zarr", "truth")


def test_a_held_out_part_has_the_diameter_of_its_volume(store, tmp_path):
    settings = TrainSettings(volumes=[store], painted=[store], output="m.safetensors", holdout_x=0.25, min_cell_vox=5)
    data = open_training_data(settings, make_card(settings, [0]), [0])
    (_, own), (_, painted), held, drawn = data.kinds[0][0], data.kinds[1][0], *(source for _, source in data.held_out)
    assert held.part.start[2] == drawn.part.start[2] == own.part.stop[2] == 36
    assert held.factors == pytest.approx(own.factors, rel=1e-12)
    assert drawn.factors == pytest.approx(painted.factors, rel=1e-12)
    alone = volume_source.open_volume(None, held.labels, held.look, part=held.part, diameter_um=None, min_cell_vox=5)
    assert abs(alone.factors[0] / own.factors[0] - 1) > 0.02, "the control: its few whole cells are others"
    assert data.diameters == {str(store): (pytest.approx(own.factors[0] * own.look.diameter_vox), True)}


def test_the_held_out_part_is_the_rest():
    whole = Box.of_shape((4, 5, 100))
    kept, held = part_of(whole, 0.3, held_out=False), part_of(whole, 0.3, held_out=True)
    assert (kept.stop, held.start) == ((4, 5, 70), (0, 0, 70))
    assert kept.size + held.size == 2000
    kept, held = part_of(whole, 0.001, held_out=False), part_of(whole, 0.001, held_out=True)
    assert (kept.stop, held.start) == ((4, 5, 99), (0, 0, 99)), "at least one column"
    assert part_of(whole, 0.0, held_out=False) == whole


def gradient_of_weights(depth, dtype):
    """Of a convolution whose input is so deep, by torch."""
    generator = torch.Generator().manual_seed(0)
    image, weight = (torch.randn(*shape, generator=generator) for shape in ((1, 16, depth, 8, 8), (16, 16, 3, 3, 3)))
    weight.requires_grad_()
    output = torch.nn.functional.conv3d(image.to(dtype), weight.to(dtype), padding=1)
    output.float().square().mean().backward()
    return weight.grad


@pytest.mark.parametrize("stride", [8, 16])
def test_patches_that_the_network_sees_two_voxels_deep_are_not_trained_in_bfloat16(stride, caplog):
    card = SimpleNamespace(stride=stride)
    fast = Device("cpu", True)
    for z in (card.stride, 2 * card.stride):
        assert not avoid_wrong_gradients(fast, card, (z, 64, 64), "auto").bfloat16
        assert "float32" in caplog.text
        with pytest.raises(InputError, match="two voxels in z"):
            avoid_wrong_gradients(fast, card, (z, 64, 64), "bfloat16")
        on_gpu = dataclasses.replace(fast, kind="cuda")
        assert avoid_wrong_gradients(on_gpu, card, (z, 64, 64), "bfloat16") is on_gpu
    assert avoid_wrong_gradients(fast, card, (3 * card.stride, 32, 32), "auto") is fast


@pytest.mark.parametrize("depth", [1, 3, 4, 6])
def test_gradients_of_all_other_depths_are_right_in_bfloat16(depth):
    true, found = (gradient_of_weights(depth, dtype) for dtype in (torch.float32, torch.bfloat16))
    assert (found - true).abs().max() < 0.05 * true.abs().max()
