"""Cellpose-SAM with the code of Cellpose 4 itself, on random weights of a small network: needs `bigcp3d[cellpose]`.

The network is Cellpose's own class around a vision transformer of 2 layers instead of 24, which Cellpose takes from the
registry of segment_anything. All code is the real one.
"""

from __future__ import annotations

import logging
import ssl
import warnings

import numpy as np
import pytest
import torch

import bigcp3d
from bigcp3d.edge.models.model_families import find_model, load_card, load_network
from bigcp3d.errors import ModelError
from tests.schedule.conftest import read_labels, tissue_values, write_image

pytest.importorskip("segment_anything", reason="Cellpose 4 is not installed")

SHAPE = (12, 20, 28)


@pytest.fixture
def models(monkeypatch, tmp_path):
    """`cellpose.models` with a small transformer, and an empty cache."""
    from segment_anything import sam_model_registry
    from segment_anything.build_sam import _build_sam

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models = pytest.importorskip("cellpose.models", reason="Cellpose 4 is not installed")
        pytest.importorskip("cellpose.vit", reason="Cellpose 4.2 is not installed")
    small = {"encoder_embed_dim": 32, "encoder_depth": 2, "encoder_num_heads": 2, "encoder_global_attn_indexes": [0, 1]}
    monkeypatch.setitem(sam_model_registry, "vit_l", lambda checkpoint: _build_sam(**small))
    monkeypatch.setattr(models, "MODEL_DIR", tmp_path / "cache")
    return models


@pytest.fixture
def weights(models, tmp_path):
    """Random weights, as Cellpose writes them, whose logits have both signs and whose flows are about a voxel long."""
    torch.manual_seed(0)
    network = models.CPSAM().eval()
    with torch.no_grad():
        network.encoder.pos_embed += 0.1 * torch.randn_like(network.encoder.pos_embed)
        answer = network(torch.rand(1, 3, 256, 256))[0][0]
        scale = (5 / answer.std(dim=(1, 2))).repeat_interleave(network.ps**2)
        network.out.weight *= scale[:, None, None, None]
        network.out.bias *= scale
        network.out.bias -= (answer.mean(dim=(1, 2)) * 5 / answer.std(dim=(1, 2))).repeat_interleave(network.ps**2)
    network.save_model(tmp_path / "my_cpsam")
    return tmp_path / "my_cpsam"


def image_values(shape=SHAPE):
    return np.asarray(tissue_values(shape, diameter_vox=8.0), np.float32)


def test_maps_equal_cellposes_own_3d_run_on_the_same_weights(models, weights):
    """Its intensities, planes, padding and sums: twice our averages for flows of length 5, three times for logits."""
    values = image_values()
    theirs = models.CellposeModel(pretrained_model=str(weights), use_bfloat16=False)
    _, (_, flow, logit), _ = theirs.eval(values, do_3D=True, z_axis=0, diameter=None, compute_masks=False)
    network, card = load_network(f"cellpose:{weights}")
    assert (card.architecture, card.diameter_vox, card.channels, card.optional_channels) == ("cellpose-sam", 30.0, 1, 2)
    low, high = np.percentile(values, (card.low_percentile, card.high_percentile))
    seen = torch.from_numpy(((values - low) / (high - low)).astype(np.float32))
    with torch.inference_mode():
        ours = network(seen[None, None])[0].numpy()
    np.testing.assert_allclose(ours[1:], flow / 10, atol=1e-5)
    np.testing.assert_allclose(ours[0], 1 / (1 + np.exp(-logit / 3)), atol=1e-5)
    assert np.std(ours[1:], axis=(1, 2, 3)).min() > 0.1, "control: flows to agree on"
    assert 0.1 < np.mean(ours[0] > 0.5) < 0.9, "control: foreground to agree on"


def test_several_channels_are_seen_as_cellpose_sees_them(models, weights):
    values = np.stack([image_values(), image_values()[:, ::-1]], axis=-1)
    theirs = models.CellposeModel(pretrained_model=str(weights), use_bfloat16=False)
    _, (_, flow, _), _ = theirs.eval(values, do_3D=True, z_axis=0, channel_axis=3, normalize=False, compute_masks=False)
    network, _ = load_network(f"cellpose:{weights}")
    with torch.inference_mode():
        ours = network(torch.from_numpy(np.moveaxis(values, -1, 0).copy())[None])[0].numpy()
    np.testing.assert_allclose(ours[1:], flow / 10, atol=1e-4 * np.abs(flow).max())


def test_a_diameter_makes_the_grid_of_cellposes_own_rescaling(models, weights, tmp_path, monkeypatch):
    """Cellpose scales cells of the given diameter to 30 pixels; so does the working grid, on each axis by the scale."""
    seen = []
    monkeypatch.setattr(models, "run_3D", lambda net, x, **more: (seen.append(x.shape), 1 / 0))
    theirs = models.CellposeModel(pretrained_model=str(weights), use_bfloat16=False)
    values = image_values()
    with pytest.raises(ZeroDivisionError):
        theirs.eval(values, do_3D=True, z_axis=0, diameter=15.0, anisotropy=2.0)
    write_image(tmp_path / "a.zarr", values, scale_um=(2.0, 1.0, 1.0))
    plan = bigcp3d.plan_segmentation(tmp_path / "a.zarr", model=f"cellpose:{weights}", diameter_um=15.0)
    assert plan.shape == seen[0][:3] == (48, 40, 56)


def test_a_run_does_not_depend_on_blocks(weights, tmp_path):
    write_image(tmp_path / "a.zarr", image_values(), scale_um=(1.0, 1.0, 1.0))
    labels = []
    for name, block in (("whole", (99, 99, 99)), ("cut", (7, 11, 13))):
        settings = {"executor": "serial", "min_volume": 2, "radius_vox": 4.0, "precision": "float32"}
        bigcp3d.segment(tmp_path / "a.zarr", model=f"cellpose:{weights}", name=name, block=block, **settings)
        labels.append(read_labels(tmp_path / "a.zarr", name))
    assert labels[0].max() > 3
    assert np.array_equal(*labels)


def test_a_name_is_taken_from_the_cache_and_a_missing_one_says_how_to_fetch_it(models, weights, monkeypatch):
    def no_network(*args, **more):
        ssl._create_default_https_context = None  # as Cellpose's download does
        raise OSError("no network here")

    monkeypatch.setattr(models.utils, "download_url_to_file", no_network)
    before = ssl._create_default_https_context
    with pytest.raises(ModelError, match=r"no network here.*models.cache_model_path\('cpsam'\).*cache here, or give"):
        find_model("cellpose:cpsam")
    assert ssl._create_default_https_context is before, "certificates are still checked"
    (models.MODEL_DIR / "cpsam").write_bytes(weights.read_bytes())
    assert find_model("cellpose:cpsam") == models.MODEL_DIR / "cpsam"
    assert load_card("cellpose:cpsam").name == "cellpose:cpsam"


def test_names_of_other_networks_are_refused_with_what_to_use(models):
    with pytest.raises(ModelError, match=r"cpsam.* cyto3 is a model of Cellpose 3: pip install 'cellpose<4'"):
        find_model("cellpose:cyto3")
    with pytest.raises(ModelError, match="this is Cellpose-DINO, which bigcp3d does not run; use cellpose:cpsam"):
        find_model("cellpose:cpdino-vitb")


def test_cellpose_says_nothing_and_changes_no_arithmetic(models, weights, caplog):
    torch.backends.cuda.matmul.allow_tf32 = False
    with caplog.at_level(logging.DEBUG):
        load_network(f"cellpose:{weights}")
    assert [record for record in caplog.records if record.name.startswith("cellpose")] == []
    assert torch.backends.cuda.matmul.allow_tf32 is False
