"""Small volumes and models for whole runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

from bigcp3d.edge.image import ImageInfo
from bigcp3d.edge.labels import create_image, write_image_box
from bigcp3d.edge.models import ModelCard, save_model
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.network import UNet3D
from bigcp3d.pure.tissue import Tissue, render

SHAPE = (34, 60, 51)


def write_image(path: Path, values: np.ndarray, *, scale_um=(1.0, 1.0, 1.0), **more) -> ImageInfo:
    """A small OME-Zarr image of the values, in chunks that fit no block."""
    side = tuple(min(s, 24) for s in values.shape)
    image = create_image(path, values.shape, values.dtype.name, scale_um=scale_um, chunk=side, shard=side, **more)
    for index in np.ndindex(*(-(-s // c) for s, c in zip(values.shape, side, strict=True))):
        start = tuple(i * c for i, c in zip(index, side, strict=True))
        box = Box(start, tuple(a + c for a, c in zip(start, side, strict=True))).clip(values.shape)
        write_image_box(image, box, values[box.slices()])
    return image


def tissue_values(shape=SHAPE, *, stain="nuclei", diameter_vox=14.0, seed=3) -> np.ndarray:
    """A simulated tissue with an empty third, so that some blocks hold nothing."""
    values, _ = render(Tissue(shape=shape, diameter_vox=diameter_vox, stain=stain, seed=seed), Box.of_shape(shape))
    values[:, : shape[1] // 3] = values.min()
    return values


def read_labels(store: str | Path, name: str) -> np.ndarray:
    """All voxels of the finest level."""
    group = zarr.open_group(f"{store}/labels/{name}", mode="r")
    attributes = group.attrs.asdict()
    multiscales = attributes.get("ome", attributes)["multiscales"][0]
    return np.asarray(group[multiscales["datasets"][0]["path"]][...])


@pytest.fixture(scope="session")
def random_model(tmp_path_factory) -> str:
    """A network with random weights: ragged maps that cross every seam, which no trained network would give."""
    torch.manual_seed(5)
    network = UNet3D(channels=1, features=2, depth=2)
    with torch.no_grad():
        network.head[-1].weight *= 3
        network.head[-1].bias[:] = torch.tensor([0.6, 0, 0, 0])  # mostly foreground
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    card = ModelCard(
        name="random",
        representation="tanh",
        scale_vox=4.0,
        diameter_vox=5.0,
        channels=1,
        features=2,
        depth=2,
        patch=(32, 32, 32),
        margin=4,
        low_percentile=1.0,
        high_percentile=99.8,
        clip=(-0.5, 2.0),
        training="none: random weights",
        date="2026-11-23",
        bigcp3d_version="0.1.0",
        command="tests/schedule/conftest.py",
    )
    save_model(path, network, card)
    return str(path)


@pytest.fixture(scope="session")
def tissue_store(tmp_path_factory) -> str:
    """A simulated image of nuclei, a third of it empty."""
    path = tmp_path_factory.mktemp("tissue") / "image.zarr"
    write_image(path, tissue_values(), scale_um=(1.0, 0.5, 0.5))
    return str(path)
