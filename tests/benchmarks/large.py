"""A volume of any size, whose cells are known, to labels: ``python -m tests.benchmarks.large FOLDER``.

Maps are given, or a network predicts them (``--model nuclei``). One tile of 128 x 128 x 128 voxels is repeated;
``--tiles 20 20 20`` makes 16.8 Gvoxel. With a network a tile has two patches a side (144 voxels), so that all tiles are
predicted alike. Files of the image and the maps are hard links to those of one tile, so they take no room. The same
command carries on a run that was stopped. It tells:

- memory: the largest process at any second, and peaks of the tasks from the first tenth of them to the last;
- disk: the most that the run held at any minute;
- cells: those of some tiles inside the volume against the middle one of a region of 3 x 3 x 3 tiles in one block;
- time and memory of `measure`, `evaluate` (against the truth, which is written for all tiles) and `report`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, ZstdCodec

import bigcp3d
from bigcp3d.edge.image.new_image import create_image, write_image_box
from bigcp3d.pure.boxes import Box, Vec3, vec3
from bigcp3d.pure.mean_pool import pool_means
from bigcp3d.work.run.task_costs import TaskSpent
from tests.benchmarks.cases import RADIUS, make_case, make_image
from tests.benchmarks.report import Row, tell, write_json
from tests.benchmarks.soak import Sampler, compare
from tests.benchmarks.through_zarr import disk_bytes
from tests.task_rows import TaskRows


class Volume(NamedTuple):
    """What is made in a folder."""

    folder: Path
    tiles: Vec3
    model: str | None

    @property
    def side(self) -> int:
        """Of a tile, in voxels."""
        return 128 if self.model is None else 144

    @property
    def shape(self) -> Vec3:
        """Of the whole."""
        return vec3(self.side * count for count in self.tiles)

    @property
    def settings(self) -> dict[str, Any]:
        """What to segment, and with what."""
        image, labels = self.folder / "image.zarr", self.folder / "labels.zarr"
        known = {"maps": self.folder / "maps", "radius_vox": RADIUS} if self.model is None else {"model": self.model}
        return {"source": image, "output": labels, "diameter_um": "as-is", **known}

    def tile(self, at: Vec3) -> tuple[slice, ...]:
        """Where a tile is."""
        return tuple(slice(self.side * k, self.side * (k + 1)) for k in at)


def repeat_shards(array: Path, tiles: Vec3, first: tuple[str, ...] = ()) -> None:
    """Link the shard at the origin of an array to the places of all others; ``first`` are its leading indices."""
    origin = array.joinpath("c", *first, "0", "0", "0")
    for z, y in product(range(tiles[0]), range(tiles[1])):
        folder = array.joinpath("c", *first, str(z), str(y))
        folder.mkdir(parents=True, exist_ok=True)
        for x in range(tiles[2]):
            if folder / str(x) != origin:
                os.link(origin, folder / str(x))


def make(volume: Volume) -> None:
    """An image with truth, and maps if no model is named; levels of the image where whole tiles fill their shards."""
    tile, path = Box.of_shape((volume.side,) * 3), volume.folder / "image.zarr"
    factors = [(2, 2, 2)] * 2 if all(count % 4 == 0 for count in volume.tiles) else []
    pieces: dict[str, Any] = {"chunk": (volume.side // 2,) * 3, "shard": tile.shape}
    image = create_image(path, volume.shape, "uint16", scale_um=(1.0, 1.0, 1.0), factors=factors, **pieces)
    values: NDArray[Any]
    if volume.model is None:
        maps, truth = make_case(tile.shape)
        write_maps(volume, maps)
        values = maps[0].astype(np.uint16) * 5
    else:
        values, truth = make_image(tile.shape, stain=volume.model)
    for number, level in enumerate(image.levels):
        write_image_box(image, tile, np.tile(values, (2**number,) * 3), level=number)
        repeat_shards(path / level.path, vec3(size // volume.side for size in level.shape))
        values = pool_means(values, (2, 2, 2))
    write_truth(volume, truth)


def write_maps(volume: Volume, maps: NDArray[np.int8]) -> None:
    """The maps of all tiles."""
    given = zarr.create_array(
        volume.folder / "maps",
        shape=(4, *volume.shape),
        shards=maps.shape,
        chunks=(4, *(side // 2 for side in maps.shape[1:])),
        dtype="int8",
        compressors=ZstdCodec(level=1),
    )
    given[(slice(None), *volume.tile((0, 0, 0)))] = maps
    repeat_shards(volume.folder / "maps", volume.tiles, ("0",))


def write_truth(volume: Volume, truth: NDArray[np.uint32]) -> None:
    """The cells of all tiles, with ids of their own; cells that meet at a border of tiles stay apart."""
    array = zarr.create_array(
        volume.folder / "truth",
        shape=volume.shape,
        shards=truth.shape,
        chunks=tuple(side // 2 for side in truth.shape),
        dtype="uint32",
        compressors=BloscCodec(cname="lz4", clevel=1),
    )
    cells = int(truth.max())
    for number, at in enumerate(product(*map(range, volume.tiles))):
        array[volume.tile(vec3(at))] = np.where(truth > 0, truth + np.uint32(number * cells), 0)


class Watch(Sampler):
    """Looks at the room that the files of the run take too, at every minute."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.disk, self._folder, self._looked = 0, folder, 0.0

    def look(self) -> None:
        """Note all sizes of now."""
        super().look()
        if time.monotonic() - self._looked > 60:
            self._looked = time.monotonic()
            with suppress(FileNotFoundError):  # the run has just removed it
                self.disk = max(self.disk, sum(disk_bytes(path) for path in self._folder.glob("labels*")))


def renumber(labels: NDArray[Any]) -> NDArray[np.int64]:
    """The same cells with ids by their first voxels."""
    ids, first, where = np.unique(labels, return_index=True, return_inverse=True)
    first[ids == 0] = -1
    ranks = np.empty(len(ids), np.int64)
    ranks[np.argsort(first)] = np.arange(len(ids)) + (0 if ids[0] == 0 else 1)
    return ranks[where].reshape(labels.shape)


def count_equal(volume: Volume, number: int) -> Row:
    """How many tiles inside the volume have the cells of the middle of 3 x 3 x 3 tiles, a region of the volume."""
    region = volume.folder / "region.zarr"
    if not region.exists():
        bigcp3d.segment(
            **{**volume.settings, "output": region}, roi=((0, 3 * volume.side),) * 3, block=(volume.side * 3,) * 3
        )

    def cells(store: Path, at: Vec3) -> NDArray[np.int64]:
        array = zarr.open_array(store / "labels" / "cells" / "0", mode="r")
        return renumber(np.asarray(array[volume.tile(at)]))

    expected = cells(region, (1, 1, 1))
    rng = np.random.default_rng(0)
    places = [vec3(rng.integers(1, count - 1) for count in volume.tiles) for _ in range(number)]
    equal = sum(np.array_equal(cells(volume.folder / "labels.zarr", at), expected) for at in places)
    return {"tiles": number, "equal": equal, "cells in a tile": int(expected.max())}


def peaks(tasks: list[TaskSpent]) -> list[Row]:
    """Peaks of the tasks of each pass, in the order in which they ended."""
    passes: dict[str, list[int]] = {}
    for task in tasks:
        passes.setdefault(task.name, []).append(task.peak_bytes)
    return [compare(name, values) for name, values in passes.items() if len(values) >= 40]


def after(folder: Path) -> list[Row]:
    """Seconds and memory of the commands that users give next."""
    labels, rows = str(folder / "labels.zarr"), []
    for words in (["measure", labels, "--overwrite"], ["evaluate", labels, str(folder / "truth")], ["report", labels]):
        command = [sys.executable, "-m", "bigcp3d", *words]
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = process.stdout.read() if process.stdout else ""
        _, code, spent = os.wait4(process.pid, 0)
        rows.append(
            {
                "command": words[0],
                "exit code": os.waitstatus_to_exitcode(code),
                "wall s": time.perf_counter() - begin,
                "CPU s": spent.ru_utime + spent.ru_stime,
                "peak, MiB": spent.ru_maxrss / 1024,
                "said": " ".join(said.split())[-200:],
            }
        )
    return rows


def segment(volume: Volume, **more: Any) -> dict[str, list[Row]]:
    """The run, or the rest of it."""
    watch = Watch(volume.folder)
    watch.start()
    rows = TaskRows()
    summary = bigcp3d.segment(**volume.settings, on_event=rows.look, **more)
    watch.over.set()
    run: Row = {
        "Gvoxel": math.prod(volume.shape) / 1e9,
        "blocks": summary.blocks,
        "cells": summary.cells,
        "s, this time": summary.seconds,
        "task s": sum(summary.pass_seconds.values()),
        "most files, GB": watch.disk / 1e9,
        "labels, GB": disk_bytes(volume.folder / "labels.zarr") / 1e9,
    }
    return {"run": [run], "resident size, this time": watch.rows(), "peaks of tasks": peaks(rows)}


def main(arguments: list[str] | None = None) -> dict[str, list[Row]]:
    """Run, or carry on; print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="on a disk with hard links; it is made, or carried on with")
    parser.add_argument("--tiles", type=int, nargs=3, default=(4, 4, 4), help="tiles along z, y and x, at least 3")
    parser.add_argument("--model", choices=("nuclei", "membrane"), default=None, help="default: maps are given")
    parser.add_argument("--block", type=int, nargs=3, default=None, help="default: what the memory allows")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", default="2GiB", help="of a worker")
    parser.add_argument("--sample", type=int, default=20, help="tiles that are looked at")
    parser.add_argument("--json", type=Path, default=None)
    asked = parser.parse_args(arguments)
    if min(asked.tiles) < 3:
        parser.error("no tile lies inside the volume; make it at least 3 tiles wide")
    volume = Volume(asked.folder, vec3(asked.tiles), asked.model)
    if not (volume.folder / "made").exists():
        volume.folder.mkdir(parents=True)
        make(volume)
        (volume.folder / "made").touch()
    more: dict[str, Any] = {"workers": asked.workers, "memory_limit": asked.memory}
    if asked.block is not None:
        more["block"] = vec3(asked.block)
    done = volume.folder / "run.json"
    tables: dict[str, list[Row]] = json.loads(done.read_text()) if done.exists() else segment(volume, **more)
    write_json(done, tables)
    tables |= {"cells": [count_equal(volume, asked.sample)], "next": after(volume.folder)}
    tell(tables, asked.json)
    return tables


if __name__ == "__main__":
    main()
