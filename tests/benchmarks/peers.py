"""Other programs on the same arrays, each in an environment of its own: ``python -m tests.benchmarks.peers FOLDER``.

FOLDER gets an environment for each program, which ``--install`` makes with pip. The tasks are in
`tests.benchmarks.peer_tasks`. `equal cells` is the share of the cells of a result in one piece that the blocks give
voxel for voxel: of the connected components (scipy), of the true cells (joining perfectly segmented tiles), and of the
program's own labels of the whole volume (flows to labels). Programs that could not run are listed with the reason.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

import bigcp3d
from bigcp3d.edge.image.image import open_labels
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.pure.in_memory import label_maps
from bigcp3d.pure.score.overlaps import count_overlaps
from tests.benchmarks.cases import RADIUS, make_case
from tests.benchmarks.peer_tasks import BLOCK
from tests.benchmarks.report import Row, tell

PACKAGES = {
    "dask-image": ["dask-image==2026.5.0"],
    "bioimage-py": ["bioimage-py==0.2.2"],
    "patchworks": ["patchworks==3.3.0"],
    "ngio": ["ngio==1.1.3"],
    "cellpose": ["cellpose==3.1.1.3", "torch==2.13.0", "dask-image", "dask-jobqueue", "distributed", "zarr"],
    "biapy": ["biapy==3.7.1"],
}
TASKS = {
    "components": {"dask-image": ["dask_image"], "bioimage-py": ["bioimage_py"]},
    "joining tiles": {"patchworks": ["patchworks_touch", "patchworks_iou"], "ngio": ["ngio"]},
    "flows to labels": {"cellpose": ["cellpose", "cellpose_blocks"], "biapy": ["biapy"]},
}
LIMIT_S = 1200


def equal_cells(found: NDArray[Any], whole: NDArray[Any]) -> float:
    """The share of the cells of ``whole`` that ``found`` has voxel for voxel."""
    pairs = count_overlaps(found, whole)
    voxels = [
        dict(zip(*(column.tolist() for column in np.unique(labels, return_counts=True)), strict=True))
        for labels in (found, whole)
    ]
    rows = zip(pairs.pred.tolist(), pairs.truth.tolist(), pairs.count.tolist(), strict=True)
    same = sum(0 not in (a, b) and voxels[0][a] == voxels[1][b] == number for a, b, number in rows)
    return same / max(1, len(voxels[1]) - (0 in voxels[1]))


def install(folder: Path, name: str) -> str | None:
    """Make the environment of a program; why that failed, or None."""
    place = folder / name
    for command in (
        [sys.executable, "-m", "venv", str(place)],
        [str(place / "bin" / "python"), "-m", "pip", "install", "-q", *PACKAGES[name]],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
        if done.returncode:
            return (done.stderr.strip().splitlines() or ["no message"])[-1]
    return None


def run_task(folder: Path, name: str, task: str, arrays: Path) -> Row:
    """Seconds and memory of a task, or why it could not run."""
    python = folder / name / "bin" / "python"
    if not python.exists():
        return {"why not": "not installed"}
    command = [str(python), str(Path(__file__).with_name("peer_tasks.py")), task, str(arrays)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, cwd=arrays)
    except subprocess.TimeoutExpired:
        return {"why not": f"took more than {LIMIT_S} s"}
    if done.returncode:
        return {"why not": (done.stderr.strip().splitlines() or ["no message"])[-1][:100]}
    spent: Row = json.loads(done.stdout.strip().splitlines()[-1])
    return spent


def ours(maps: NDArray[np.int8], folder: Path) -> Row:
    """A run of bigcp3d from the same maps, on the same blocks, in one process with two threads."""
    import zarr

    where = folder / "ours.zarr"
    bigcp3d.simulate(where, bigcp3d.Tissue(shape=maps.shape[1:], seed=0))
    stored = zarr.create_array(folder / "maps.zarr", shape=maps.shape, chunks=(4, *BLOCK), dtype=maps.dtype)
    stored[:] = maps
    settings: dict[str, Any] = {"diameter_um": "as-is", "radius_vox": RADIUS, "block": BLOCK, "executor": "serial"}
    begun, cpu = time.perf_counter(), time.process_time()
    bigcp3d.segment(where, model="nuclei", maps=folder / "maps.zarr", **settings)
    spent = {"wall_s": time.perf_counter() - begun, "cpu_s": time.process_time() - cpu}
    found = read_box(open_labels(where, "cells"), 0, Box.of_shape(maps.shape[1:]))
    return {**spent, "equal cells": equal_cells(found, label_maps(maps, RADIUS))}


def compare(folder: Path, shape: Vec3) -> dict[str, list[Row]]:
    """A table for each kind of task."""
    tables: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory() as place:
        arrays = Path(place)
        maps, cells = make_case(shape)
        np.save(arrays / "maps.npy", maps)
        np.save(arrays / "cells.npy", cells)
        whole = {"components": scipy.ndimage.label(maps[0] >= 64)[0], "joining tiles": cells}
        for title, programs in TASKS.items():
            rows = tables.setdefault(title, [])
            for name, tasks in programs.items():
                for task in tasks:
                    row = run_task(folder, name, task, arrays)
                    if "why not" not in row:
                        found = np.load(arrays / f"{task}.npy")
                        row["cells"] = len(np.unique(found)) - 1
                        one_piece = whole.get(title)
                        if one_piece is None:  # the first task of a program is on the whole volume
                            one_piece = whole.setdefault(name, found)
                        row["equal cells"] = equal_cells(found, one_piece)
                    rows.append({"program": task, **row})
        ours(maps[:, :24, :48, :48], Path(tempfile.mkdtemp(dir=place)))  # imports, and compiles
        tables["flows to labels"].append({"program": "bigcp3d, blocks", **ours(maps, arrays)})
    return tables


def main(arguments: list[str] | None = None) -> dict[str, list[Row]]:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--shape", type=int, nargs=3, default=(96, 192, 192))
    parser.add_argument("--json", type=Path, default=None)
    asked = parser.parse_args(arguments)
    for name in PACKAGES if asked.install else ():
        if why := install(asked.folder, name):
            print(f"{name} was not installed: {why}")
    tables = compare(asked.folder.absolute(), tuple(asked.shape))
    tell(tables, asked.json)
    return tables


if __name__ == "__main__":
    main()
