"""Programs on the same arrays, each in an environment of its own: ``python -m tests.benchmarks.peers FOLDER``.

FOLDER gets an environment for each program, which ``--install`` makes with pip. The tasks are in
`tests.benchmarks.peer_tasks`. `equal cells` compares the labels from blocks with those of the same program from the
whole volume: the share of cells that are the same, voxel for voxel. `difference` is the largest one between the scores
of a program and those of bigcp3d. Programs that could not run are listed with the reason.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import scipy.ndimage
import zarr
from numpy.typing import NDArray

from bigcp3d.edge.image.new_image import create_image
from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.in_memory import label_maps
from bigcp3d.pure.learn.targets import tanh_flow
from bigcp3d.pure.score.metrics import score_overlaps
from bigcp3d.pure.score.overlaps import count_overlaps
from tests.benchmarks.cases import make_case
from tests.benchmarks.peer_tasks import BLOCK, DIAMETER, OVERLAP, RADIUS
from tests.benchmarks.report import Row, tell

TORCH = ["torch==2.14.1", "torchvision==0.29.1"]
PACKAGES = {
    "dask-image": ["dask-image==2026.5.0"],
    "bioimage-py": ["bioimage-py==0.2.2", "zarr"],
    "patchworks": ["patchworks==3.3.0"],
    "ngio": ["ngio==1.1.3"],
    "cellpose": ["cellpose[distributed]==4.2.1.1", *TORCH],
    "biapy": ["biapy==3.7.1", *TORCH],
}
TASKS = {
    "components": {
        "dask-image": ["dask_image"],
        "bioimage-py": ["bioimage_py"],
        "bigcp3d": ["bigcp3d_components"],
    },
    "joining tiles": {
        "patchworks": ["patchworks_touch", "patchworks_iou"],
        "ngio": ["ngio"],
        "bioimage-py": ["bioimage_py_stitch"],
        "cellpose": ["cellpose_join"],
        "biapy": ["biapy_join"],
        "bigcp3d": ["bigcp3d_join"],
    },
    "flows to labels": {
        "cellpose": ["cellpose", "cellpose_blocks"],
        "biapy": ["biapy", "biapy_blocks"],
        "bigcp3d": ["bigcp3d", "bigcp3d_blocks"],
    },
    "scores": {"bigcp3d": ["bigcp3d_scores"], "bioimage-py": ["bioimage_py_scores"]},
}
LIMIT_S = 3600


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
    place = str(folder / name)
    for command in (
        [sys.executable, "-m", "venv", "--without-pip", place],
        [sys.executable, "-m", "pip", "--python", place, "install", "-q", "--no-compile", *PACKAGES[name]],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            return (done.stderr.strip().splitlines() or ["no message"])[-1]
    return None


def run_task(folder: Path, name: str, task: str, arrays: Path) -> Row:
    """Seconds, memory and scores of a task, or why it could not run."""
    python = Path(sys.executable) if name == "bigcp3d" else folder / name / "bin" / "python"
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


def prepare(folder: Path, shape: Vec3) -> tuple[NDArray[np.int8], NDArray[np.int8], NDArray[np.uint32]]:
    """Write the arrays that the tasks read: maps, perfect maps, true cells."""
    maps, cells = make_case(shape, diameter=DIAMETER)
    perfect = np.rint(127 * np.stack([cells > 0, *tanh_flow(cells, DIAMETER / 4)])).astype(np.int8)
    folder.mkdir(exist_ok=True)
    for name, array in (("maps", maps), ("perfect", perfect), ("cells", cells)):
        np.save(folder / f"{name}.npy", array)
        chunks = (*array.shape[:-3], *BLOCK)
        zarr.create_array(folder / f"{name}.zarr", shape=array.shape, chunks=chunks, dtype=array.dtype)[:] = array
    create_image(folder / "image.zarr", shape, "int8", scale_um=None, chunk=BLOCK, shard=BLOCK)
    zarr.open_array(folder / "image.zarr/0")[:] = maps[0]  # a run from maps reads only a sample of the image
    return maps, perfect, cells


def compare(folder: Path, shape: Vec3) -> dict[str, list[Row]]:
    """A table for each kind of task."""
    tables: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory() as place:
        arrays = Path(place)
        maps, perfect, cells = prepare(arrays, shape)
        prepare(arrays / "small", (BLOCK[0], BLOCK[1], BLOCK[2] + OVERLAP))
        whole = {
            "components": scipy.ndimage.label(maps[0] >= 64)[0],
            "bigcp3d_components": scipy.ndimage.label(maps[0] >= 64, np.ones((3, 3, 3)))[0],
            "joining tiles": cells,
            "bigcp3d_join": label_maps(perfect, RADIUS),
        }
        for title, programs in TASKS.items():
            rows = tables.setdefault(title, [])
            for name, tasks in programs.items():
                for task in tasks:
                    row = run_task(folder, name, task, arrays)
                    scores = row.pop("scores", {})
                    if scores:
                        row |= scores
                        row["difference"] = max(abs(scores[key] - (rows or [scores])[0][key]) for key in scores)
                    elif "cpu_s" in row:
                        found = np.load(arrays / f"{task}.npy")
                        one_piece = whole.get(task, whole.get(title, whole.get(name)))
                        if one_piece is None:
                            whole[name] = found  # the first task of a program is on the whole volume
                        else:
                            row["equal cells"] = equal_cells(found, one_piece)
                        quality = score_overlaps(count_overlaps(found, cells))
                        row |= {"cells": quality["found_cells"], "AP50": quality["ap50"]}
                    rows.append({"program": task, **row})
                    print(json.dumps(rows[-1]), flush=True)
    return tables


def main(arguments: list[str] | None = None) -> dict[str, list[Row]]:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--shape", type=int, nargs=3, default=(64, 128, 128))
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
