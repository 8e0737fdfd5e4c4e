"""Small volumes and models for whole runs."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
import zarr

import bigcp3d
from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.image.new_image import create_image, write_image_box
from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.edge.models.model_files import save_model
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.predict.network import UNet3D
from bigcp3d.pure.tissue.tissue import render
from bigcp3d.pure.tissue.tissue_settings import Tissue

SHAPE = (34, 60, 51)
KINDS = ("maps", "offsets", "sinks", "components")
CUT = {"block": (17, 30, 26), "min_volume": 2, "executor": "serial", "diameter_um": "as-is"}
ERROR = {"max_flow_error": 2.0}


NETWORK_RUNS = ("test_exact", "test_gpu", "test_cellpose")
"""Modules whose tests ask the network itself each time."""


@pytest.fixture(scope="module", autouse=True)
def remembered_patches(request: pytest.FixtureRequest) -> None:
    """Most tests segment the same images with the same random network."""
    if request.module.__name__.rpartition(".")[2] not in NETWORK_RUNS:
        request.getfixturevalue("each_patch_is_computed_once")


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


def save_random_model(path: Path, *, channels: int = 1, seed: int = 5, **more) -> str:
    """A network with random weights: ragged maps that cross every seam, which no trained network would give.

    The seeds were chosen so that at least four cells of `tissue_store` (or of the store of two channels) cross each
    seam of `CUT`, in float32 and in bfloat16: which of them a processor takes does not matter.
    """
    torch.manual_seed(seed)
    network = UNet3D(channels=channels, features=2, depth=2)
    with torch.no_grad():
        network.head[-1].weight *= 3
        network.head[-1].bias[:] = torch.tensor([0.6, 0, 0, 0])  # mostly foreground
    card = ModelCard(
        name="random",
        representation="tanh",
        scale_vox=4.0,
        diameter_vox=5.0,
        channels=channels,
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
        **more,
    )
    save_model(path, network, card)
    return str(path)


@pytest.fixture(scope="session")
def random_model(tmp_path_factory) -> str:
    """A network of one channel with random weights."""
    return save_random_model(tmp_path_factory.mktemp("model") / "random.safetensors")


@pytest.fixture(scope="session")
def two_channel_model(tmp_path_factory) -> str:
    """A network of two channels with random weights, which names them."""
    path = tmp_path_factory.mktemp("model") / "two.safetensors"
    return save_random_model(path, channels=2, seed=52, channel_names=("membrane", "nuclei"))


@pytest.fixture(scope="session")
def tissue_store(tmp_path_factory) -> str:
    """A simulated image of nuclei, a third of it empty."""
    path = tmp_path_factory.mktemp("tissue") / "image.zarr"
    write_image(path, tissue_values(), scale_um=(1.0, 0.5, 0.5))
    return str(path)


@pytest.fixture(scope="session")
def tissue_maps(tissue_store, random_model, tmp_path_factory) -> Path:
    """Work directory of a run that kept its maps of the tissue: for facts that are not about the network. Read only."""
    work = tmp_path_factory.mktemp("maps") / "work"
    settings = {**CUT, "output": work.parent / "out.zarr", "work_dir": work, "keep_maps": True}
    bigcp3d.segment(tissue_store, model=random_model, **settings)
    return work


def put_back(copy: Path, place: Path) -> Path:
    """Put the copy of a store and all beside it in its place again. Maps are kept for the image in this place only."""
    shutil.rmtree(place.parent, ignore_errors=True)
    return shutil.copytree(copy.parent, place.parent) / place.name


def left(work: Path) -> Counter[str]:
    """Files of each kind, over all time points."""
    return Counter(
        {kind: sum(p.is_file() and p.name != "zarr.json" for p in work.glob(f"**/t*/{kind}/**/*")) for kind in KINDS}
    )


@pytest.fixture(scope="session")
def movie_store(tmp_path_factory) -> str:
    """Two time points of a small tissue."""
    path, values = tmp_path_factory.mktemp("movie") / "movie.zarr", tissue_values((20, 40, 40))
    group = zarr.create_group(path, zarr_format=2)
    array = group.create_array("0", shape=(2, 1, *values.shape), dtype="uint16", chunks=(1, 1, 20, 20, 20))
    array[0, 0], array[1, 0] = values, values[:, ::-1]
    group.attrs["multiscales"] = [{"version": "0.1", "datasets": [{"path": "0"}]}]
    return str(path)


@pytest.fixture(scope="module")
def two_workers(any_dashboard_port) -> Iterator[dict[str, str]]:
    """Settings of a run on two worker processes, for tests that do not ask how workers start or end.

    They end with the module: a cluster that does nothing takes a tenth of a processor.
    """
    from bigcp3d.schedule.clusters.local import LocalWorkers
    from bigcp3d.schedule.clusters.requested_machines import Size
    from tests.processes import quick_workers

    with quick_workers(), LocalWorkers(Size(2, 2), 4 * 2**30, [], 1, None) as cluster:
        yield {"executor": "dask", "scheduler": cluster.scheduler_address}


class Case:
    """One image and settings, segmented as often as a test likes."""

    wholes: ClassVar[dict[tuple[str, ...], np.ndarray]] = {}

    def __init__(self, store: str, model: str, folder: Path, **settings):
        self.store, self.folder, self.work = store, folder, folder / "work"
        self.settings = {**CUT, "model": model, **settings}

    def plan(self, **more):
        settings = {**self.settings, "output": self.folder / "out.zarr", "work_dir": self.work, **more}
        return bigcp3d.plan_segmentation(self.store, **settings)

    def segment(self, output: str = "out.zarr", **more) -> np.ndarray:
        settings = {**self.settings, "output": self.folder / output, "work_dir": self.work, **more}
        bigcp3d.segment(self.store, **settings)
        return read_labels(self.folder / output, "cells")

    def whole(self) -> np.ndarray:
        """Labels of one block that holds the volume; made once for a store that all tests share."""
        key = (self.store, *(f"{name}={self.settings[name]}" for name in sorted(self.settings) if name != "block"))
        shared = not Path(self.store).is_relative_to(self.folder)
        if not shared or key not in self.wholes:
            labels = self.segment("whole.zarr", block=(999, 999, 999), work_dir=self.folder / "whole")
            labels.flags.writeable = False
            self.wholes[key] = labels
        return self.wholes[key]


@pytest.fixture(params=["plain", "flow error", "thin blocks on another grid", "two time points"])
def case(request, tissue_store, movie_store, random_model, tmp_path) -> Case:
    """Runs whose passes read different things."""
    store, settings = {
        "plain": (tissue_store, {}),
        "flow error": (tissue_store, ERROR),
        "thin blocks on another grid": (tissue_store, {**ERROR, "diameter_um": 3.0, "block": (60, 40, 9)}),
        "two time points": (movie_store, {**ERROR, "block": (20, 20, 20)}),
    }[request.param]
    return Case(store, random_model, tmp_path, **settings)


def stopped_at(monkeypatch, place, name, action, *, call=1, done=False):
    """Run something that is stopped at a call of a function, before or after the function has done its work."""
    real, calls = getattr(place, name), []

    def stop(*args, **more):
        calls.append(1)
        if len(calls) < call:
            return real(*args, **more)
        if done:
            real(*args, **more)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(place, name, stop)
        with pytest.raises(KeyboardInterrupt):
            action()
