"""From maps to labels in memory, beside its peers: ``python -m tests.benchmarks.mask_step``.

All run on the same arrays in the same process. Peers that are not installed are named as missing. Cellpose gets five
times our flow, the scale of its own network, and the foreground from which it cuts at the same threshold.
"""

from __future__ import annotations

import argparse
import importlib
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import BlockGrid, Box, Vec3, vec3
from bigcp3d.pure.group.closing import close_sinks
from bigcp3d.pure.group.cluster import cluster_block
from bigcp3d.pure.group.filters import Filters
from bigcp3d.pure.group.seams import join_components, seam_pairs
from bigcp3d.pure.in_memory import label_maps
from bigcp3d.pure.label.labelling import label_box
from bigcp3d.pure.score.metrics import score_overlaps
from bigcp3d.pure.score.overlaps import count_overlaps
from bigcp3d.pure.track.radius import closing_radius
from bigcp3d.pure.track.sinks import Sinks, collect_sinks
from bigcp3d.pure.track.tracking import track
from tests.benchmarks.cases import RADIUS, make_case
from tests.benchmarks.report import Row, peak_bytes, spend, tell

REACH, STEPS, CLOSING = math.ceil(3 * RADIUS), math.ceil(10 * RADIUS), closing_radius(RADIUS)
CRUMB = round(0.05 * 4 / 3 * math.pi * RADIUS**3)


def _quality(labels: NDArray[Any], truth: NDArray[Any]) -> Row:
    """Of all true cells, and of those of at least a twentieth of a ball: the others are cut by the border."""
    overlaps = count_overlaps(labels, truth)
    scores, whole = score_overlaps(overlaps), score_overlaps(overlaps, min_truth_vox=CRUMB)
    kept = {"dice, cells > 5 %": whole["mean_dice"], "ap50, cells > 5 %": whole["ap50"]}
    return {"cells": int(labels.max()), "dice": scores["mean_dice"], "ap50": scores["ap50"], **kept}


def passes(maps: NDArray[np.int8]) -> tuple[list[Row], Sinks]:
    """Each pass on one block, by one thread; and the sinks."""
    shape: Vec3 = maps.shape[1:]
    whole, found = Box.of_shape(shape), {}
    chain: dict[str, Callable[[], Any]] = {
        "track": lambda: track(maps, whole, whole, shape, foreground=64, steps=STEPS, reach=REACH),
        "sinks": lambda: collect_sinks(found["track"], whole, shape, foreground=maps[0], reach=REACH),
        "cluster": lambda: cluster_block(found["sinks"], whole, radius=CLOSING),
        "label": lambda: label_box(
            found["track"],
            whole,
            shape,
            sink_voxel=found["cluster"].sink_voxel,
            sink_id=found["cluster"].sink_component.astype(np.int64),
            reach=REACH,
        ),
    }
    rows = []
    for name, task in chain.items():
        task()  # compiled
        found[name], spent = spend(task, 3)
        rate = whole.size / spent["cpu_s"] / 1e6
        rows.append({"pass": name, **spent, "Mvoxel/cpu_s": rate, "bytes/voxel": peak_bytes(task) / whole.size})
    return rows, found["sinks"]


def cellpose_masks(maps: NDArray[np.int8], steps: int, threads: int) -> NDArray[Any]:
    """Cellpose's own mask step."""
    import torch
    from cellpose.dynamics import compute_masks

    torch.set_num_threads(threads)
    flow, inside = maps[1:].astype(np.float32) * (5 / 127), maps[0].astype(np.float32) / 127
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        masks: NDArray[Any] = compute_masks(flow, inside, niter=steps, cellprob_threshold=0.5, do_3D=True)
    return masks


def installed(name: str) -> bool:
    """Whether a peer can be measured."""
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def whole_step(maps: NDArray[np.int8], truth: NDArray[np.uint32], steps: tuple[int, ...], threads: int) -> list[Row]:
    """Ours and Cellpose's on all of a volume, with how well they agree with the truth."""
    label_maps(maps[:, :32, :32, :32], RADIUS)
    rows: list[Row] = []
    for name, filters in (("bigcp3d", None), ("bigcp3d, no filter", Filters())):
        task = lambda filters=filters: label_maps(maps, RADIUS, filters=filters, threads=threads)  # noqa: E731
        labels, ours = spend(task, 3)
        speed = {"Mvoxel/cpu_s": labels.size / ours["cpu_s"] / 1e6, "bytes/voxel": peak_bytes(task) / labels.size}
        rows.append({"tool": name, **ours, **speed, **_quality(labels, truth)})
    for number in steps:
        name = f"cellpose, {number} steps"
        if not installed("cellpose.dynamics"):
            rows.append({"tool": f"{name}: not installed"})
            continue
        masks, spent = spend(lambda number=number: cellpose_masks(maps, number, threads))  # type: ignore[misc]
        ratios = {
            "times ours, CPU": spent["cpu_s"] / ours["cpu_s"],
            "times ours, wall": spent["wall_s"] / ours["wall_s"],
        }
        rows.append({"tool": name, **spent, "Mvoxel/cpu_s": masks.size / spent["cpu_s"] / 1e6, **_quality(masks, truth), **ratios})  # noqa: E501 # fmt: skip
    return rows


def closings(voxel: NDArray[np.int32], shape: Vec3) -> list[Row]:
    """Closing of the sink mask with a ball, and labelling of what is closed."""
    import cc3d
    import scipy.ndimage
    import skimage.measure
    import skimage.morphology

    mask = np.zeros(shape, np.uint8)
    mask[tuple(voxel.T)] = 1
    ball = skimage.morphology.ball(CLOSING)
    closed, ours = spend(lambda: close_sinks(voxel, Box.of_shape(shape), CLOSING), 3)
    peers: dict[str, Callable[[], Any]] = {
        "scikit-image closing": lambda: skimage.morphology.closing(mask, ball),
        "scipy distances closing": lambda: _close_by_distance(mask),
    }
    rows: list[Row] = [{"step": "closing, ours", **ours}]
    for name, task in peers.items():
        spent = spend(task)[1]
        rows.append({"step": name, **spent, "times ours, CPU": spent["cpu_s"] / ours["cpu_s"]})
    connect = np.ones((3, 3, 3), bool)
    labellers: dict[str, Callable[[], Any]] = {
        "labelling, ours (cc3d)": lambda: cc3d.connected_components(closed, connectivity=26),
        "scikit-image label": lambda: skimage.measure.label(closed, connectivity=3),
        "scipy label": lambda: scipy.ndimage.label(closed, connect),
    }
    if installed("dask_image.ndmeasure"):
        labellers["dask-image label, 8 blocks"] = lambda: _label_by_dask_image(closed)
    base: float | None = None
    for name, task in labellers.items():
        spent = spend(task)[1]
        base = base or spent["cpu_s"]
        rows.append({"step": name, **spent, "times ours, CPU": spent["cpu_s"] / base})
    return rows


def _close_by_distance(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    from scipy.ndimage import distance_transform_edt

    dilated = distance_transform_edt(mask == 0) <= CLOSING
    return np.asarray(distance_transform_edt(dilated) > CLOSING)


def _label_by_dask_image(closed: NDArray[np.uint8]) -> Any:
    import dask.array
    from dask_image.ndmeasure import label

    blocks = dask.array.from_array(closed, chunks=tuple(s // 2 for s in closed.shape))
    labels, number = label(blocks, structure=np.ones((3, 3, 3)))
    return dask.array.compute(labels, number, scheduler="threads", num_workers=2)


def merging(labels: NDArray[np.uint32], sinks: Sinks, cut: Vec3 = (2, 4, 4)) -> list[Row]:
    """Joining what blocks found: sinks that touch at seams, against labels that touch (Cellpose's merge step)."""
    shape: Vec3 = labels.shape  # type: ignore[assignment]
    grid = BlockGrid(shape, vec3(-(-s // c) for s, c in zip(shape, cut, strict=True)))
    parts = [cluster_block(sinks, grid.core(index), radius=CLOSING) for index in grid]
    bases = np.cumsum([0, *map(len, parts)])

    def ours() -> int:
        owner = [part.face_component.astype(np.int64) - 1 + base for part, base in zip(parts, bases, strict=False)]
        voxel = np.concatenate([part.face_voxel for part in parts]).astype(np.int64)
        return join_components(seam_pairs(voxel, np.concatenate(owner), shape), int(bases[-1]))[1]

    number, spent = spend(ours, 3)
    rows: list[Row] = [{"step": "merge, ours", "blocks": len(grid), "objects": number, **spent}]
    name = "cellpose.contrib.distributed_segmentation"
    if not installed(name):
        return [*rows, {"step": f"{name}: not installed, or something that it imports"}]
    theirs = importlib.import_module(name)
    blocks = {}
    for i, index in enumerate(grid):
        block = labels[grid.core(index).slices()].astype(np.int64)
        blocks[index] = np.where(block > 0, block + i * (int(labels.max()) + 1), 0)

    def merge() -> int:
        faces = [theirs.block_faces(block) for block in blocks.values()]
        used = np.concatenate([np.unique(block) for block in blocks.values()])
        return int(theirs.determine_merge_relabeling(list(blocks), faces, used).max())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, other = spend(merge)
    ratio = other["cpu_s"] / spent["cpu_s"]
    return [*rows, {"step": "cellpose merge", "blocks": len(grid), "objects": found, **other, "times ours, CPU": ratio}]


def main(arguments: list[str] | None = None) -> dict[str, list[Row]]:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(128, 256, 256))
    parser.add_argument("--stain", default="nuclei", choices=("nuclei", "membrane"))
    parser.add_argument("--form", default="tanh", choices=("tanh", "heat"))
    parser.add_argument("--noise", type=float, default=0.3)
    parser.add_argument("--steps", type=int, nargs="*", default=(200, 100), help="of Cellpose; none leaves it out")
    parser.add_argument("--ours", action="store_true", help="leave out the peers of closing, labelling and merging")
    parser.add_argument("--threads", type=int, default=2, help="of ours and of Cellpose; 1 gives clean CPU seconds")
    parser.add_argument("--json", type=Path, default=None)
    asked = parser.parse_args(arguments)
    maps, truth = make_case(tuple(asked.shape), asked.stain, asked.form, asked.noise)
    tables: dict[str, list[Row]] = {}
    tables["passes, one thread"], sinks = passes(maps)
    title = f"maps to labels, {asked.threads} thread{'s' * (asked.threads > 1)}"
    tables[title] = whole_step(maps, truth, tuple(asked.steps), asked.threads)
    if not asked.ours:
        tables["closing and labelling"] = closings(sinks.voxel, tuple(asked.shape))
        tables["merging blocks"] = merging(label_maps(maps, RADIUS), sinks)
    shares = f"{asked.stain}, {asked.form}, {truth.shape}, {(maps[0] >= 64).mean():.0%} foreground"
    print(f"{shares}, {len(sinks.voxel):,} sinks\n")
    tell(tables, asked.json)
    return tables


if __name__ == "__main__":
    main()
