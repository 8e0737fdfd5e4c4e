"""A volume of any size, whose cells are known, to labels: ``python -m tests.benchmarks.large FOLDER``.

Maps are given, or a network predicts them (``--model nuclei``). One tile of 128 x 128 x 128 voxels is repeated;
``--tiles 20 20 20`` makes 16.8 Gvoxel. A network sees all tiles in equal patches. Files of the image and the maps are
hard links to those of one tile, so they take no room. The same command carries on a run that was stopped. It tells:

- memory: the largest process at any second, and peaks of the tasks from the first tenth of them to the last;
- disk: the most that the run held at any minute;
- cells: those of some tiles inside the volume against the middle one of 3 x 3 x 3 tiles in one block;
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
from typing import Any

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

SIDE = 128
TILE = Box.of_shape((SIDE,) * 3)


def settings(folder: Path, model: str | None) -> dict[str, Any]:
    """What to segment, and with what."""
    given = {"maps": folder / "maps", "radius_vox": RADIUS} if model is None else {"model": model}
    return {"image": folder / "image.zarr", "output": folder / "labels.zarr", "diameter_um": "as-is", **given}


def repeat_shards(array: Path, tiles: Vec3, first: tuple[str, ...] = ()) -> None:
    """Link the shard at the origin of an array to the places of all others; ``first`` are its leading indices."""
    origin = array.joinpath("c", *first, "0", "0", "0")
    for z, y in product(range(tiles[0]), range(tiles[1])):
        folder = array.joinpath("c", *first, str(z), str(y))
        folder.mkdir(parents=True, exist_ok=True)
        for x in range(tiles[2]):
            if folder / str(x) != origin:
                os.link(origin, folder / str(x))


def make(folder: Path, tiles: Vec3, model: str | None) -> None:
    """An image with truth, and maps if no model is named; levels of the image where whole tiles fill their shards."""
    shape = tuple(SIDE * count for count in tiles)
    factors = [(2, 2, 2)] * 2 if all(count % 4 == 0 for count in tiles) else []
    pieces: dict[str, Vec3] = {"chunk": (64,) * 3, "shard": TILE.shape}
    image = create_image(folder / "image.zarr", shape, "uint16", scale_um=(1.0, 1.0, 1.0), factors=factors, **pieces)
    values: NDArray[Any]
    if model is None:
        maps, truth = make_case(TILE.shape)
        write_maps(folder / "maps", maps, tiles)
        values = maps[0].astype(np.uint16) * 5
    else:
        values, truth = make_image(TILE.shape, stain=model)
    for number, level in enumerate(image.levels):
        write_image_box(image, TILE, np.tile(values, (2**number,) * 3), level=number)
        repeat_shards(folder / "image.zarr" / level.path, vec3(side // SIDE for side in level.shape))
        values = pool_means(values, (2, 2, 2))
    write_truth(folder / "truth", truth, tiles)


def write_maps(path: Path, maps: NDArray[np.int8], tiles: Vec3) -> None:
    """The maps of all tiles."""
    given = zarr.create_array(
        path,
        shape=(4, *(SIDE * count for count in tiles)),
        shards=(4, *TILE.shape),
        chunks=(4, 64, 64, 64),
        dtype="int8",
        compressors=ZstdCodec(level=1),
    )
    given[:, :SIDE, :SIDE, :SIDE] = maps
    repeat_shards(path, tiles, ("0",))


def write_truth(path: Path, truth: NDArray[np.uint32], tiles: Vec3) -> None:
    """The cells of all tiles, with ids of their own; cells that meet at a border of tiles stay apart."""
    shape = tuple(SIDE * count for count in tiles)
    quick = BloscCodec(cname="lz4", clevel=1)
    array = zarr.create_array(path, shape=shape, shards=TILE.shape, chunks=(64,) * 3, dtype="uint32", compressors=quick)
    cells = int(truth.max())
    for number, at in enumerate(product(*map(range, tiles))):
        where = tuple(slice(SIDE * k, SIDE * (k + 1)) for k in at)
        array[where] = np.where(truth > 0, truth + np.uint32(number * cells), 0)


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


def count_equal(folder: Path, tiles: Vec3, number: int, model: str | None) -> Row:
    """How many tiles inside the volume have the cells of the middle of 3 x 3 x 3 tiles."""
    small = folder / "small"
    if not small.exists():
        make(small, (3, 3, 3), model)
        bigcp3d.segment(**settings(small, model), block=(3 * SIDE,) * 3)

    def tile(store: Path, at: Vec3) -> NDArray[np.int64]:
        array = zarr.open_array(store / "labels" / "cells" / "0", mode="r")
        return renumber(np.asarray(array[tuple(slice(SIDE * k, SIDE * (k + 1)) for k in at)]))

    expected = tile(small / "labels.zarr", (1, 1, 1))
    rng = np.random.default_rng(0)
    places = [tuple(int(rng.integers(1, count - 1)) for count in tiles) for _ in range(number)]
    equal = sum(np.array_equal(tile(folder / "labels.zarr", at), expected) for at in places)  # type: ignore[arg-type]
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


def segment(folder: Path, tiles: Vec3, asked: dict[str, Any]) -> dict[str, list[Row]]:
    """The run, or the rest of it."""
    watch = Watch(folder)
    watch.start()
    summary = bigcp3d.segment(**asked)
    watch.over.set()
    run: Row = {
        "Gvoxel": math.prod(tiles) * SIDE**3 / 1e9,
        "blocks": summary.blocks,
        "cells": summary.cells,
        "s, this time": summary.seconds,
        "task s": sum(summary.pass_seconds.values()),
        "most files, GB": watch.disk / 1e9,
        "labels, GB": disk_bytes(folder / "labels.zarr") / 1e9,
    }
    return {"run": [run], "resident size, this time": watch.rows(), "peaks of tasks": peaks(summary.tasks)}


def main(arguments: list[str] | None = None) -> dict[str, list[Row]]:
    """Run, or carry on; print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="on a disk with hard links; it is made, or carried on with")
    parser.add_argument("--tiles", type=int, nargs=3, default=(4, 4, 4), help="tiles along z, y and x")
    parser.add_argument("--model", choices=("nuclei", "membrane"), default=None, help="default: maps are given")
    parser.add_argument("--block", type=int, nargs=3, default=None, help="default: what the memory allows")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", default="2GiB", help="of a worker")
    parser.add_argument("--sample", type=int, default=20, help="tiles that are looked at")
    parser.add_argument("--json", type=Path, default=None)
    asked = parser.parse_args(arguments)
    folder, tiles = asked.folder, tuple(asked.tiles)
    if not (folder / "made").exists():
        folder.mkdir(parents=True)
        make(folder, tiles, asked.model)
        (folder / "made").touch()
    given = {**settings(folder, asked.model), "workers": asked.workers, "memory_limit": asked.memory}
    if asked.block is not None:
        given["block"] = tuple(asked.block)
    done = folder / "run.json"
    tables: dict[str, list[Row]] = json.loads(done.read_text()) if done.exists() else segment(folder, tiles, given)
    write_json(done, tables)
    tables |= {"cells": [count_equal(folder, tiles, asked.sample, asked.model)], "next": after(folder)}
    tell(tables, asked.json)
    return tables


if __name__ == "__main__":
    main()
