"""Models of any family are found by the prefix of their name; what is wrong with a family is said."""

import importlib.metadata

import pytest

from bigcp3d.edge.models import model_families
from bigcp3d.edge.models.model_card import PatchMemory
from bigcp3d.edge.models.model_families import find_model, load_card
from bigcp3d.edge.models.model_files import shipped_models
from bigcp3d.errors import ModelError

OWN = importlib.metadata.EntryPoint("bigcp3d", "bigcp3d.edge.models.model_files", "bigcp3d.models")


def offer(monkeypatch, *entries):
    """Let these entry points be all that are installed."""
    entries = [OWN, *(importlib.metadata.EntryPoint(name, value, "bigcp3d.models") for name, value in entries)]
    monkeypatch.setattr(
        model_families, "entry_points", lambda group, name: [e for e in entries if (e.group, e.name) == (group, name)]
    )


def test_our_own_and_cellposes_are_installed():
    names = {entry.name: entry.value for entry in importlib.metadata.entry_points(group="bigcp3d.models")}
    assert names["bigcp3d"] == OWN.value
    assert names["cellpose"] == "bigcp3d.edge.models.cellpose"


def test_a_model_without_a_prefix_is_ours(monkeypatch, tmp_path):
    offer(monkeypatch)
    assert find_model("nuclei") == find_model("bigcp3d:nuclei") == shipped_models()["nuclei"]
    odd = tmp_path / "a:b.safetensors"
    odd.write_bytes(b"")
    assert find_model(odd) == odd
    with pytest.raises(ModelError, match=r"other:x: there is no such file; use a .safetensors file or one of membrane"):
        load_card("other:x")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            [("bright", "no_such_package")],
            "bright:8: .* cannot be used: ModuleNotFoundError.* install its",
        ),
        ([("bright", "json")], "lacks find_file, read_card, read_network"),
        ([("bright", "json"), ("bright", "math")], "one installed package must offer the model family 'bright'"),
    ],
)
def test_a_family_that_cannot_be_used_is_named(monkeypatch, entries, message):
    offer(monkeypatch, *entries)
    with pytest.raises(ModelError, match=message):
        load_card("bright:8")
    assert load_card("membrane").name == "membrane", "a broken family harms no other"


def test_memory_grows_with_the_patch_and_its_channels():
    memory = PatchMemory(fixed=1000, per_voxel=3, per_plane_voxel=7)
    assert memory.count((2, 5, 4), 1) == 1000 + 40 * 3 + 20 * 7
    assert memory.count((2, 5, 4), 3) - memory.count((2, 5, 4), 1) == 40 * 8 * 2
