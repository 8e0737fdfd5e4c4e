"""A package for bioimageio.core holds a whole model, runs there, comes back equal, and runs no code on the way back."""

import hashlib
import io
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from bigcp3d.edge.models import bioimageio_package
from bigcp3d.edge.models.bioimageio_package import read_package, write_package
from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.edge.models.model_files import save_model
from bigcp3d.errors import InputError, ModelError, TargetError
from bigcp3d.pure.predict import network

CARD = ModelCard(
    name="tiny", representation="tanh", scale_vox=2.0, diameter_vox=10.0, channels=2,
    channel_names=("wall", "nuclei 1"), features=4, depth=2, architecture="half", patch=(16, 16, 16), margin=4,
    low_percentile=1.0, high_percentile=99.5, clip=(-0.5, 2.5), min_foreground=0.5,
    training="some tissue (its licence, CeCILL-C)", date="2026-01-01", bigcp3d_version="0", command="pytest",
)  # fmt: skip


MADE = {"authors": ["Ada Lovelace"], "licence": "CC-BY-4.0"}


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setattr(bioimageio_package, "SIDE", 32)
    torch.manual_seed(0)
    path = tmp_path / "tiny.safetensors"
    save_model(path, network.HalfUNet3D(2, 4, 2), CARD)
    return path


@pytest.fixture
def package(model, tmp_path):
    return write_package(str(model), tmp_path / "package", **MADE).parent


def change(package, **values):
    rdf = yaml.safe_load((package / "rdf.yaml").read_text())
    rdf.update(values)
    (package / "rdf.yaml").write_text(yaml.safe_dump(rdf))


def replace_weights(package, content):
    (package / "weights.pt").write_bytes(content)
    weights = yaml.safe_load((package / "rdf.yaml").read_text())["weights"]
    weights["pytorch_state_dict"]["sha256"] = hashlib.sha256(content).hexdigest()
    change(package, weights=weights)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_model_comes_back_byte_for_byte_and_the_source_in_the_package_does_not_run(model, package, tmp_path, zipped):
    (package / "network.py").write_text("raise SystemExit('this ran')")
    source = package
    if zipped:
        source = tmp_path / "package.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for file in package.iterdir():
                archive.write(file, file.name)
    assert read_package(source, tmp_path / "back.safetensors") == CARD
    assert (tmp_path / "back.safetensors").read_bytes() == model.read_bytes()
    read_package(package / "rdf.yaml", tmp_path / "again.safetensors")


def test_the_package_says_how_to_get_cells_who_made_it_and_what_it_learned_from(package):
    rdf = yaml.safe_load((package / "rdf.yaml").read_text())
    assert rdf["authors"] == [{"name": "Ada Lovelace"}]
    assert rdf["license"] == "CC-BY-4.0"
    assert "CeCILL-C" in rdf["description"]
    assert (package / "network.py").read_text() == Path(network.__file__).read_text()
    text = (package / "README.md").read_text()
    assert "some tissue (its licence, CeCILL-C)" in text
    assert "tanh(d / 2)" in text
    assert re.search(r"in 50 steps at most.*at most 15 voxels.*radius 1\D", text, re.DOTALL)
    assert "mean foreground below 0.5" in text
    assert not re.findall(r"\{|None", text)


@pytest.mark.filterwarnings("ignore")  # bioimageio.core leaves files open
def test_bioimageio_core_validates_the_package_and_gives_the_same_output(package):
    core = pytest.importorskip("bioimageio.core", reason="no bioimageio.core (pip install 'bigcp3d[bioimageio]')")
    summary = core.test_model(package / "rdf.yaml")
    assert summary.status == "passed", summary.format()
    image, maps = (np.load(package / f"test_{name}.npy") for name in ("input", "output"))
    assert image.shape[:2] == (1, 2)
    assert maps.shape[:2] == (1, 4)
    assert maps.std() > 0


def test_authors_and_licence_of_a_model_of_ones_own_must_be_said(model, package, tmp_path):
    assert "Licence of the weights: CC-BY-4.0" in (package / "README.md").read_text()
    with pytest.raises(InputError, match="say who made this model and under which licence"):
        write_package(str(model), tmp_path / "other", authors=["Ada Lovelace"])
    assert not (tmp_path / "other").exists()
    rdf = yaml.safe_load(write_package("nuclei", tmp_path / "shipped").read_text())
    assert (rdf["authors"], rdf["license"]) == ([{"name": "The bigcp3d developers"}], "BSD-3-Clause")


def test_a_package_is_not_written_over_anything(model, package, tmp_path):
    with pytest.raises(TargetError, match="exists already"):
        write_package(str(model), package, **MADE)
    with pytest.raises(TargetError, match="exists already"):
        read_package(package, model)


def test_weights_that_hold_objects_are_refused_and_nothing_is_written(package, tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    file = io.BytesIO()
    torch.save({"a": Evil()}, file)
    for content in (pickle.dumps(Evil()), file.getvalue()):
        replace_weights(package, content)
        with pytest.raises(ModelError, match="no table of weights"):
            read_package(package, tmp_path / "back.safetensors")
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "back.safetensors").exists()


def test_a_package_that_cannot_be_used_is_refused_with_the_reason(package, tmp_path):
    target = tmp_path / "back.safetensors"
    (package / "weights.pt").write_bytes(b"changed")
    with pytest.raises(ModelError, match="other sha256"):
        read_package(package, target)
    weights = io.BytesIO()
    torch.save({"a": torch.zeros(2)}, weights)
    replace_weights(package, weights.getvalue())
    with pytest.raises(ModelError, match="do not fit"):
        read_package(package, target)
    change(package, weights={"pytorch_state_dict": {"source": "../tiny.safetensors", "sha256": ""}})
    with pytest.raises(ModelError, match="outside the package"):
        read_package(package, target)
    change(package, config={})
    with pytest.raises(ModelError, match="no model card of bigcp3d"):
        read_package(package, target)
    (package / "rdf.yaml").write_text("a: [")
    with pytest.raises(ModelError, match="not YAML"):
        read_package(package, target)
    with pytest.raises(ModelError, match=r"found no rdf\.yaml"):
        read_package(tmp_path / "nowhere", target)
    assert not target.exists()
