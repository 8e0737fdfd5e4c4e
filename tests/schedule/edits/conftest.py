"""A small store with balls as cells, two levels, shards smaller than a cell, and a table."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import zarr

import bigcp3d
from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.image.new_image import create_image
from bigcp3d.edge.labels.label_plan import plan_labels
from bigcp3d.edge.labels.labels import create_labels, finish_labels, write_label_part
from bigcp3d.edge.labels.labels_to_update import target_of
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.label.pooling import pool_labels
from bigcp3d.work.change_labels import renew_pyramid
from tests.schedule.conftest import write_image

SHAPE = (20, 44, 52)
BALLS = {
    1: (6, 10, 10, 5),
    2: (8, 12, 18, 6),
    3: (10, 30, 12, 7),
    4: (12, 30, 36, 8),
    5: (5, 8, 40, 5),
    7: (14, 14, 34, 4),
}
"""Centre (z, y, x) and radius. 1 touches 2; nothing has the id 6."""


def ball_labels() -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint32)
    z, y, x = np.ogrid[tuple(slice(n) for n in SHAPE)]
    for cell, (a, b, c, r) in BALLS.items():
        labels[((z - a) ** 2 + (y - b) ** 2 + (x - c) ** 2 <= r * r) & (labels == 0)] = cell
    return labels


def write_labels(path: Path, labels: np.ndarray, *, shard: int = 16, name: str = "cells", **attributes) -> None:
    """Labels with their pyramid beside an image of two levels."""
    image = open_image(path)
    shutil.rmtree(path / "labels" / name, ignore_errors=True)
    target = plan_labels(image, None, name, dtype=labels.dtype.name, shard=(shard,) * 3)
    create_labels(target, overwrite=True)
    write_label_part(target, 0, Box.of_shape(labels.shape), labels)
    renew_pyramid(target, [Box.of_shape(level.shape) for level in target.levels])
    finish_labels(target, attributes=attributes)


def write_moving_balls(path: Path, *, times: int = 2) -> None:
    """Balls that move by a voxel at each time point, over an image of zeros."""
    image = create_image(path, SHAPE, "uint8", scale_um=(1.0,) * 3, times=times, chunk=SHAPE, shard=SHAPE)
    target = plan_labels(image, None, "cells", shard=(16, 16, 16))
    create_labels(target, overwrite=True)
    for time in range(times):
        write_label_part(target, 0, Box.of_shape(SHAPE), np.roll(ball_labels(), time, axis=2), time=time)
        renew_pyramid(target, [Box.of_shape(level.shape) for level in target.levels], time=time)
    finish_labels(target, attributes={})


@dataclass
class Store:
    """A store, and what tests ask of it."""

    path: Path

    def levels(self) -> list[np.ndarray]:
        group = zarr.open_group(self.path / "labels" / "cells", mode="r")
        return [np.asarray(group[str(level)][...]) for level in range(3)]

    def table(self) -> dict[str, np.ndarray]:
        return bigcp3d.edit(self.path).table()

    def check(self) -> None:
        """The pyramid is that of level 0; the table is the one that would be measured now."""
        levels = self.levels()
        target = target_of(open_labels(self.path, "cells"))
        for level in range(1, len(levels)):
            below, box = Box.of_shape(levels[level - 1].shape), Box.of_shape(levels[level].shape)
            assert np.array_equal(levels[level], pool_labels(levels[level - 1], below, box, target.factors[level]))
        if (self.path / "tables").exists():
            table, measured = self.table(), bigcp3d.measure(self.path).columns
            assert set(table) == set(measured)
            for name, column in measured.items():
                assert np.array_equal(table[name].astype(float), column.astype(float), equal_nan=True), name


def add_levels(path: Path, values: np.ndarray) -> None:
    """Two coarser levels of an image that has one."""
    group = zarr.open_group(path, mode="r+")
    said = group.attrs["ome"]
    for level in (1, 2):
        side = 2**level
        group.create_array(str(level), data=values[::side, ::side, ::side], chunks=(16, 16, 16), dimension_names="zyx")
        scale = [{"type": "scale", "scale": [float(side)] * 3}]
        said["multiscales"][0]["datasets"].append({"path": str(level), "coordinateTransformations": scale})
    group.attrs["ome"] = said


def make_balls(path: Path, labels: np.ndarray | None = None) -> None:
    """An image of noise, labels of balls and a table."""
    values = np.random.default_rng(0).integers(0, 200, SHAPE).astype(np.uint16)
    write_image(path, values)
    add_levels(path, values)
    write_labels(path, ball_labels() if labels is None else labels)
    bigcp3d.measure(path, output="zarr")


@pytest.fixture(scope="session")
def ball_store(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("balls") / "balls.zarr"
    make_balls(path)
    return path


@pytest.fixture
def store(ball_store, tmp_path) -> Store:
    shutil.copytree(ball_store, tmp_path / "balls.zarr")
    return Store(tmp_path / "balls.zarr")
