"""Cellpose's models are found, described and loaded without running code; every failure says what to do."""

import importlib.metadata
import pickle
import sys
import warnings
from types import SimpleNamespace

import pytest
import torch

from bigcp3d.edge.models.model_families import find_model, load_card, load_network, model_hash
from bigcp3d.errors import InputError, ModelError
from tests.fake_cellpose import CPnet, install, write_weights


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Cellpose's folder of models, with the stand-in for the package."""
    return install(monkeypatch, tmp_path)


@pytest.fixture
def weights(folder, tmp_path):
    return write_weights(tmp_path / "my_model", diameter=12.5)


def test_a_file_becomes_a_card_and_a_network_on_patches(weights):
    network, card = load_network(f"cellpose:{weights}")
    assert card == load_card(f"cellpose:{weights}")
    assert (card.architecture, card.representation, card.channels) == ("cellpose", "heat", 1)
    assert (card.diameter_vox, card.features, card.stride) == (12.5, 4, 4)
    assert (card.low_percentile, card.high_percentile) == (1.0, 99.0)
    assert card.name == "cellpose:my_model"
    assert "3.1.1.3" in card.command
    patch = torch.rand(1, 1, 8, 12, 16)
    with torch.inference_mode():
        answer = network(patch)
    assert answer.shape == (1, 4, 8, 12, 16)
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())


def test_the_weights_are_those_of_the_file(weights):
    network, _ = load_network(f"cellpose:{weights}")
    for name, tensor in torch.load(weights, weights_only=True).items():
        assert torch.equal(network.network.state_dict()[name], tensor), name


def test_a_name_is_resolved_by_cellpose_itself(folder):
    write_weights(folder / "cyto3", diameter=30.0)
    write_weights(folder / "mine", diameter=21.0)
    assert find_model("cellpose:cyto3") == folder / "cyto3"
    assert load_card("cellpose:cyto3").name == "cellpose:cyto3"
    assert load_card("cellpose:mine").diameter_vox == 21.0
    with pytest.raises(ModelError, match=r"could not fetch .*no way to the network.*Copy the file .*PATH"):
        load_card("cellpose:nuclei")


@pytest.mark.parametrize("wrong", ["cyto9", "no/such/file", ""])
def test_an_unknown_name_is_refused_where_cellpose_would_take_its_default(folder, wrong):
    with pytest.raises(ModelError, match="use a weight file or one of cyto3, nuclei, mine"):
        find_model(f"cellpose:{wrong}")


@pytest.mark.parametrize("name", ["cpsam", "cpsam_v2", "cpdino", "cyto3", "livecell_cp3"])
def test_a_name_of_cellpose_without_its_prefix_is_answered_with_it(name):
    with pytest.raises(ModelError, match=f"--model cellpose:{name}$"):
        find_model(name)


def test_a_model_of_the_other_version_says_which_to_install(folder):
    with pytest.raises(ModelError, match=r"cpsam is a model of Cellpose 4: pip install 'cellpose>=4'"):
        find_model("cellpose:cpsam")


def test_a_torchvision_of_another_build_says_where_both_come_from(folder, monkeypatch):
    def broken(name):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.delitem(sys.modules, "cellpose.models")
    monkeypatch.delattr(sys.modules["cellpose"], "models")
    monkeypatch.setattr("bigcp3d.edge.models.cellpose.import_module", broken)
    with pytest.raises(ModelError, match=r"does not fit torch .*pip install --force-reinstall torch torchvision"):
        find_model("cellpose:cyto3")


def test_the_nuclei_model_knows_smaller_cells(folder):
    assert load_card(f"cellpose:{write_weights(folder / 'nucleitorch_0')}").diameter_vox == 17.0


def test_a_file_without_a_diameter_is_of_the_usual_one(folder, weights):
    state = {k: v for k, v in torch.load(weights, weights_only=True).items() if not k.startswith("diam")}
    torch.save(state, weights)
    assert load_network(f"cellpose:{weights}")[1].diameter_vox == 30.0


def test_a_changed_file_is_read_again(weights):
    before = load_card(f"cellpose:{weights}"), model_hash(f"cellpose:{weights}")
    write_weights(weights, diameter=13.5)
    assert load_card(f"cellpose:{weights}").diameter_vox == 13.5
    assert model_hash(f"cellpose:{weights}") != before[1]


def test_weights_of_parallel_training_lose_their_prefix(weights):
    state = torch.load(weights, weights_only=True)
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, weights)
    assert load_network(f"cellpose:{weights}")[1].diameter_vox == 12.5


def test_code_in_a_file_is_never_run(folder, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "boom"), "w"))

    for content in (pickle.dumps(Bomb()), b"", b"PK\x03\x04 no zip"):
        (tmp_path / "bomb").write_bytes(content)
        with pytest.raises(ModelError, match="without running code"):
            load_network(f"cellpose:{tmp_path / 'bomb'}")
    torch.save({"a": Bomb()}, tmp_path / "bomb")
    with pytest.raises(ModelError, match="without running code"):
        load_network(f"cellpose:{tmp_path / 'bomb'}")
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ([1, 2], "a list, not a table of weights"),
        ({"a": torch.zeros(2)}, "1 tensors .* of another network.*--maps"),
        ({"W2": torch.zeros(2), "encoder.cls_token": torch.zeros(2)}, "this is Cellpose-DINO.*use cellpose:cpsam"),
        ({"output.2.weight": torch.zeros(2, 4, 1, 1)}, "of another network"),
    ],
)
def test_other_files_are_refused(folder, tmp_path, state, message):
    torch.save(state, tmp_path / "other")
    with pytest.raises(ModelError, match=message):
        load_network(f"cellpose:{tmp_path / 'other'}")


def test_incomplete_weights_are_refused(folder, weights):
    state = torch.load(weights, weights_only=True)
    torch.save({k: v for k, v in state.items() if k != "output.0.weight"}, weights)
    with pytest.raises(ModelError, match=r"no weights for output.0.weight \(1 are missing\)"):
        load_network(f"cellpose:{weights}")
    torch.save({**state, "output.0.weight": torch.zeros(1)}, weights)
    with pytest.raises(ModelError, match="do not fit Cellpose's network"):
        load_network(f"cellpose:{weights}")


def test_a_diameter_that_is_none_is_refused(weights):
    write_weights(weights, diameter=-1.0)
    with pytest.raises(ModelError, match="diameter"):
        load_card(f"cellpose:{weights}")


def test_a_cellpose_without_the_network_is_named(folder, tmp_path, weights):
    torch.save({"W2": torch.zeros(2), "diam_mean": torch.tensor([30.0])}, tmp_path / "cpsam")
    card = load_card(f"cellpose:{tmp_path / 'cpsam'}")
    assert (card.architecture, card.patch, card.stride) == ("cellpose-sam", (256, 256, 256), 8)
    with pytest.raises(ModelError, match=r"Cellpose-SAM.*3.1.1.3.*pip install 'cellpose>=4'"):
        load_network(f"cellpose:{tmp_path / 'cpsam'}")


def test_a_missing_cellpose_is_named(monkeypatch, tmp_path):
    error = importlib.metadata.PackageNotFoundError

    def missing(name):
        raise error(name)

    without = SimpleNamespace(version=missing, PackageNotFoundError=error)
    monkeypatch.setattr("bigcp3d.edge.models.cellpose.metadata", without)
    with pytest.raises(ModelError, match=r"not installed.*pip install 'bigcp3d\[cellpose\]'") as caught:
        load_card("cellpose:cyto3")
    assert isinstance(caught.value, InputError)


def test_a_card_of_cellpose_in_a_safetensors_file_is_refused(tmp_path):
    from bigcp3d.edge.models.model_card import ModelCard, PatchMemory
    from bigcp3d.edge.models.model_files import save_model

    card = ModelCard(
        name="x", representation="heat", scale_vox=1.0, diameter_vox=10.0, architecture="cellpose", channels=1,
        features=4, depth=2, patch=(16, 16, 16), margin=4, low_percentile=1.0, high_percentile=99.0, clip=(-1.0, 9.0),
        memory=PatchMemory(fixed=0, per_voxel=1),
        training="", date="", bigcp3d_version="", command="",
    )  # fmt: skip
    save_model(tmp_path / "x.safetensors", CPnet([1, 4], 3, 3), card)
    with pytest.raises(ModelError, match="use the file of that model family"):
        load_network(tmp_path / "x.safetensors")


def test_the_network_of_cellpose_3_gives_cellposes_own_answers(tmp_path):
    """With the package itself: its `save_model`, and its network beside ours."""
    pytest.importorskip("cellpose.resnet_torch", reason="Cellpose 3 is not installed")
    from cellpose.resnet_torch import CPnet as Real

    path = write_weights(tmp_path / "real", Real, diameter=11.0)
    network, card = load_network(f"cellpose:{path}")
    assert (card.features, card.stride, card.diameter_vox) == (4, 4, 11.0)
    theirs = Real([2, 4, 8, 16], 3, 3)
    theirs.load_model(str(path))
    plane = torch.rand(1, 2, 16, 16)
    with torch.inference_mode():
        assert torch.equal(network.network(plane)[0], theirs.eval()(plane)[0])


def test_the_names_of_the_installed_cellpose_are_known(monkeypatch, tmp_path):
    pytest.importorskip("cellpose", reason="Cellpose is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cellpose import models
    name = models.MODEL_NAMES[0]
    monkeypatch.setattr(models, "MODEL_DIR", tmp_path)

    def no_network(*args, **more):
        raise OSError("no network here")

    monkeypatch.setattr(models.utils, "download_url_to_file", no_network)
    with pytest.raises(ModelError, match=r"could not fetch its weights .*no network here"):
        find_model(f"cellpose:{name}")
    (tmp_path / name).write_bytes(b"weights")
    assert find_model(f"cellpose:{name}") == tmp_path / name
    with pytest.raises(ModelError, match=name):
        find_model("cellpose:no-such-name")
