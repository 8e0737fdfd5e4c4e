"""A model file holds weights and card, runs no code, and every failure says what to do."""

import json
import pickle
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.edge.models.model_families import load_card, load_network, model_hash
from bigcp3d.edge.models.model_files import save_model, shipped_models
from bigcp3d.errors import InputError, ModelError
from bigcp3d.pure.predict.network import UNet3D

CARD = ModelCard(
    name="tiny", representation="tanh", scale_vox=2.0, diameter_vox=10.0, channels=1, features=4, depth=2,
    patch=(16, 16, 16), margin=4, low_percentile=1.0, high_percentile=99.5, clip=(-0.5, 2.5), training="nothing",
    date="2026-01-01", bigcp3d_version="0", command="pytest",
)  # fmt: skip


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "folder" / "tiny.safetensors"
    save_model(path, UNet3D(1, 4, 2), CARD)
    return path


def test_a_model_comes_back_with_its_card_and_its_answers(model):
    torch.manual_seed(0)
    original, patch = UNet3D(1, 4, 2).eval(), torch.randn(1, 1, 8, 8, 8)
    network, card = load_network(model)
    assert card == CARD == load_card(str(model))
    assert not network.training
    with torch.inference_mode():
        assert torch.equal(network(patch), original(patch))
    assert list(model.parent.iterdir()) == [model]  # no partial file stays


def test_the_hash_is_that_of_the_file(model, tmp_path):
    other = tmp_path / "other.safetensors"
    other.write_bytes(model.read_bytes())
    assert model_hash(model) == model_hash(other)
    save_model(other, UNet3D(1, 4, 2), CARD)
    assert model_hash(model) != model_hash(other)
    assert len(model_hash(model)) == 64


def test_the_stride_is_that_of_the_network():
    assert CARD.stride == UNet3D(1, 4, 2).stride == 2
    assert CARD.model_copy(update={"depth": 4}).stride == UNet3D(1, 2, 4).stride == 8


def rewrite(model, metadata):
    save_file(load_file(model), model, metadata=metadata)


def changed(**fields):
    return {"bigcp3d": json.dumps({**CARD.model_dump(mode="json"), **fields})}


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "no model card"),
        ({"bigcp3d": "{"}, "card cannot be used"),
        (changed(surprise=1), "surprise"),
        (changed(diameter_vox=-1), "diameter_vox"),
        (changed(representation="distance"), "representation"),
        (changed(features=3), "even number"),
        (changed(architecture="another"), "is not known for the network"),
        (changed(architecture="another", memory={"fixed": 0, "per_voxel": 1}), "use the file of that model family"),
        (changed(patch=[15, 16, 16]), "multiples of 2"),
        (changed(patch=[8, 16, 16]), "4 x margin"),
        (changed(low_percentile=99.9), "lower number first"),
    ],
)
def test_cards_that_cannot_be_used_are_refused(model, metadata, message):
    rewrite(model, metadata)
    with pytest.raises(ModelError, match=message) as caught:
        load_card(model)
    assert str(model) in str(caught.value)


def test_weights_of_another_network_are_refused(model):
    rewrite(model, changed(features=8))
    assert load_card(model).features == 8
    with pytest.raises(ModelError, match="do not fit 1 channels, 8 features"):
        load_network(model)


def test_what_is_no_model_is_refused_and_never_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (print, ("boom",))

    for name, content in (
        ("a.pt", pickle.dumps(Bomb())),
        ("empty.safetensors", b""),
        ("short.safetensors", b"\xff" * 40),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match="not a readable safetensors"):
            load_network(tmp_path / name)
    with pytest.raises(ModelError, match="no such file"):
        load_card("no-such-model")
    with pytest.raises(ModelError, match="a folder") as caught:
        load_card(tmp_path)
    assert isinstance(caught.value, InputError)


def test_an_unwritable_place_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="cannot be written"):
        save_model(tmp_path / "file" / "m.safetensors", UNet3D(1, 4, 2), CARD)


def test_a_truncated_model_is_refused(model):
    model.write_bytes(model.read_bytes()[:-100])
    with pytest.raises(ModelError):
        load_network(model)


@pytest.mark.parametrize("name", ["membrane", "nuclei"])
def test_shipped_models_load_are_small_and_say_where_they_come_from(name):
    path = shipped_models()[name]
    network, card = load_network(name)
    assert card == load_card(path)
    assert card.name == name
    assert path.stat().st_size < 12e6  # 16 bits a weight
    assert network.stride == card.stride
    assert "CC BY" in card.training or "MIT" in card.training
    assert card.date
    assert "train_shipped_models.py" in card.command


def test_a_card_is_read_without_torch(model):
    load = f"import sys; from bigcp3d.edge.models.model_families import load_card; load_card({str(model)!r})"
    subprocess.run([sys.executable, "-c", load + "; assert 'torch' not in sys.modules"], check=True)
