"""One task of one program: ``PYTHON tests/benchmarks/peer_tasks.py TASK FOLDER``.

`tests.benchmarks.peers` starts this file with the Python of the program, so only the tasks of bigcp3d import bigcp3d.
FOLDER holds these arrays, as ``.npy`` and as ``.zarr``:

===========  =========================================================================================
``maps``     int8 (4, z, y, x): foreground, flow z, y, x, times 127
``perfect``  the same, from the true cells and without noise
``cells``    the true cells
``found``    labels with errors, for the scores: ``image.zarr/labels/found`` in place of ``found.zarr``
===========  =========================================================================================

A task gives labels, which go into ``TASK.npy``, or scores. It first runs on ``FOLDER/small``, so that imports and
compiled functions are not timed. The file prints one line of JSON: seconds, processor seconds, the memory that the task
added, and the scores.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

DIAMETER = 16
RADIUS = 7.1
"""Of a ball as large as the cells on average."""
BLOCK = (32, 64, 64)
OVERLAP = DIAMETER
"""Voxels that a tile sees beyond its border."""
WHOLE = (slice(None),) * 3


def load(folder: Path, name: str) -> Any:
    """An array, which is read where it is used."""
    return np.load(folder / f"{name}.npy", mmap_mode="r")


def blocks(shape: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...], tuple[slice, ...]]]:
    """Index and place of each block, and the box that its tile sees."""
    for index in itertools.product(*(range(-(-s // b)) for s, b in zip(shape, BLOCK, strict=True))):
        core = tuple(slice(i * b, min((i + 1) * b, s)) for i, b, s in zip(index, BLOCK, shape, strict=True))
        seen = tuple(slice(max(0, c.start - OVERLAP), min(c.stop + OVERLAP, s)) for c, s in zip(core, shape, strict=True))  # noqa: E501 # fmt: skip
        yield index, core, seen


def number_cells(tile: Any) -> Any:
    """A perfect segmentation of a tile: its true cells, with ids of the tile's own."""
    ids, inverse = np.unique(tile, return_inverse=True)
    numbers = np.arange(len(ids)) + (ids[0] != 0)
    return numbers[inverse].reshape(tile.shape).astype(np.uint32)


def dask_image(folder: Path) -> Any:
    """Connected components of the foreground, on blocks."""
    import dask.array
    from dask_image.ndmeasure import label

    mask = dask.array.from_array(load(folder, "maps")[0] >= 64, chunks=BLOCK)
    labels, _ = label(mask)
    return labels.compute(scheduler="threads", num_workers=2)


def bioimage_py(folder: Path) -> Any:
    """The same."""
    from bioimage_py.segmentation import label

    mask = load(folder, "maps")[0] >= 64
    return label(mask.astype(np.uint8), block_shape=BLOCK, num_workers=2)


def bigcp3d_components(folder: Path) -> Any:
    """The same with 26 neighbours, by the functions that join pieces of cells in a run; one thread."""
    import cc3d

    from bigcp3d.pure.boxes import Box
    from bigcp3d.pure.group.cluster import _on_faces
    from bigcp3d.pure.group.seams import join_components, seam_pairs

    mask = load(folder, "maps")[0] >= 64
    labels, number, faces = np.zeros(mask.shape, np.uint32), 0, []
    for _, core, _ in blocks(mask.shape):
        found, added = cc3d.connected_components(mask[core], connectivity=26, return_N=True, out_dtype=np.uint32)
        voxel, component = _on_faces(found, Box(*(tuple(getattr(c, end) for c in core) for end in ("start", "stop"))))
        faces.append((voxel.astype(np.int64), component.astype(np.int64) + number - 1))
        labels[core] = np.where(found, found + np.uint32(number), 0)
        number += added
    pairs = seam_pairs(*(np.concatenate(column) for column in zip(*faces, strict=True)), mask.shape)
    return np.concatenate([[0], join_components(pairs, number)[0] + 1]).astype(np.uint32)[labels]


def bioimage_py_scores(folder: Path) -> dict[str, float]:
    """Scores of labels, block by block, from zarr."""
    import zarr
    from bioimage_py.evaluation import contingency_table, dice_score, matching_scores, rand_scores, vi_scores

    pair = [zarr.open_array(folder / name, mode="r") for name in ("image.zarr/labels/maps/0", "cells.zarr")]
    table = contingency_table(*pair, block_shape=BLOCK, num_workers=2)
    matched, inside = matching_scores(table), table.drop_ignore(None, (0,))
    split, merge = vi_scores(inside)
    return {
        "AP50": matched["segmentation_accuracy"],
        **{name: matched[name] for name in ("precision", "recall", "f1")},
        "VOI split": split,
        "VOI merge": merge,
        "Rand error": rand_scores(inside)[0],
        "foreground Dice": dice_score(*pair, block_shape=BLOCK, num_workers=2),
    }


def bigcp3d_scores(folder: Path) -> dict[str, float]:
    """The same, by bigcp3d; one thread."""
    import bigcp3d

    scores = bigcp3d.evaluate(folder / "image.zarr", folder / "cells.zarr", pred_name="maps")
    names = {"AP50": "ap50", "VOI split": "voi_split", "VOI merge": "voi_merge", "Rand error": "adapted_rand_error"}
    names |= {"precision": "precision", "recall": "recall", "f1": "f1", "foreground Dice": "foreground_dice"}
    return {name: float(scores[ours] or 0) for name, ours in names.items()}


def patchworks_touch(folder: Path, how: str = "touch") -> Any:
    """Join cells of tiles whose faces touch."""
    import dask.array
    from patchworks import tile_process

    cells = dask.array.from_array(load(folder, "cells"), chunks=BLOCK)
    with tempfile.TemporaryDirectory() as place:
        settings: dict[str, Any] = {"tile_shape": BLOCK, "overlap": OVERLAP, "max_workers": 2, "progress": False}
        found = tile_process(cells, number_cells, stitch=how, write_to=f"{place}/out.zarr", stage_dir=place, **settings)
        return np.asarray(found)


def patchworks_iou(folder: Path) -> Any:
    """Join cells of tiles whose masks agree in the overlap."""
    return patchworks_touch(folder, "iou")


def ngio(folder: Path) -> Any:
    """The same, by ngio."""
    from ngio import create_ome_zarr_from_array
    from ngio.iterators import SegmentationIterator, StitchConfig, ThreadedMapper

    with tempfile.TemporaryDirectory() as place:
        image = create_ome_zarr_from_array(f"{place}/image.zarr", np.load(folder / "cells.npy"), 1.0, levels=1)
        label = image.derive_label("cells")
        tiles = SegmentationIterator(image.get_image(), label)
        sides, halo = ({f"{word}{axis}": n for axis, n in zip("zyx", numbers, strict=True)} for word, numbers in (("size_", BLOCK), ("", (OVERLAP,) * 3)))  # noqa: E501 # fmt: skip
        tiles = tiles.by_grid(**sides).with_halo(**halo).with_stitch(StitchConfig())
        tiles.map(lambda tile: number_cells(tile), mapper=ThreadedMapper(max_workers=2))
        return label.get_as_numpy()


def bioimage_py_stitch(folder: Path) -> Any:
    """The same, by a multicut."""
    from bioimage_py.segmentation import stitch_segmentation

    cells = load(folder, "cells")
    return stitch_segmentation(cells, lambda tile, _: number_cells(tile), BLOCK, (OVERLAP,) * 3, num_workers=2)


def cellpose(folder: Path, box: tuple[slice, ...] = WHOLE) -> Any:
    """Cellpose's step from flows to labels, on the whole volume; its network predicts five times our flow."""
    import torch
    from cellpose.dynamics import compute_masks

    torch.set_num_threads(2)
    maps = load(folder, "maps")[(slice(None), *box)]
    flow, inside = maps[1:].astype(np.float32) * (5 / 127), maps[0].astype(np.float32) / 127
    return compute_masks(flow, inside, niter=200, cellprob_threshold=0.5, do_3D=True)


def cellpose_blocks(folder: Path, segment: Callable[[Path, tuple[slice, ...]], Any] = cellpose) -> Any:
    """The same on overlapping blocks, joined as its distributed mode does."""
    import cellpose.contrib.distributed_segmentation as theirs

    labels = np.zeros(load(folder, "cells").shape, np.uint32)
    indices, faces, used = [], [], []
    for index, core, seen in blocks(labels.shape):
        inside = tuple(slice(c.start - s.start, c.stop - s.start) for c, s in zip(core, seen, strict=True))
        tile = segment(folder, seen)[inside].astype(np.uint32)
        labels[core], ids = theirs.global_segment_ids(tile, index, theirs.get_nblocks(labels.shape, BLOCK))
        indices.append(index)
        faces.append(theirs.block_faces(labels[core]))
        used.append(ids)
    return theirs.determine_merge_relabeling(indices, faces, np.concatenate(used))[labels]


def cellpose_join(folder: Path) -> Any:
    """Join the cells of tiles as its distributed mode does."""
    return cellpose_blocks(folder, lambda folder, seen: number_cells(load(folder, "cells")[seen]))


def biapy(folder: Path) -> Any:
    """BiaPy's step from flows to labels, on the whole volume; its network too predicts five times our flow."""
    return biapy_blocks(folder, block=load(folder, "cells").shape)


def biapy_blocks(folder: Path, block: tuple[int, ...] = BLOCK, name: str = "maps") -> Any:
    """The same on overlapping blocks: its passes after the network, which read stored predictions; one thread."""
    import zarr
    from biapy.config.config import Config
    from biapy.engine.instance_seg import Instance_Segmentation_Workflow

    class Workflow(Instance_Segmentation_Workflow):
        """The workflow without its network."""

        if name == "cells":

            def _create_instance_labels(self, pred: Any, save_dir: Any = None, verbose: bool = False) -> Any:
                return number_cells(pred[..., 0])

        def __init__(self, cfg: Any) -> None:
            self.cfg, self.current_sample, self.system_dict = cfg, {"X_filename": "maps.zarr"}, {}
            self.dims, self.resolution, self.separated_class_channel = 3, [1.0, 1.0, 1.0], False
            self.chunked_on_the_fly_process, self.chunked_process_phase = False, None
            out = cfg.PATHS.RESULT_DIR.PER_IMAGE_INSTANCES
            self.test_chunked_workflow_process_vars = {"out_dir": out, "dtype_str": "uint64"}

    with tempfile.TemporaryDirectory() as place:
        cfg = Config(place, "maps").get_cfg_defaults()
        cfg.SYSTEM.NUM_WORKERS, cfg.TEST.VERBOSE, cfg.DATA.TEST.INPUT_IMG_AXES_ORDER = 0, False, "ZYXC"
        cfg.DATA.PATCH_SIZE, cfg.DATA.TEST.PADDING = (*block, 4), (OVERLAP,) * 3
        cfg.PROBLEM.INSTANCE_SEG.DATA_CHANNELS = ["F", "Gz", "Gv", "Gh"]
        flows = cfg.PROBLEM.INSTANCE_SEG.CELLPOSE
        flows.DIAMETER, flows.DIAM_MEAN, flows.FLOW_THRESHOLD = 2 * RADIUS, 2 * RADIUS, 0.0  # as Cellpose in 3D
        array = np.load(folder / f"{name}.npy")
        if name == "maps":
            array = np.moveaxis(array.astype(np.float32) * np.float32([1, 5, 5, 5])[:, None, None, None] / 127, 0, -1)
        else:
            array = array[..., None]
        stored = zarr.create_array(f"{cfg.PATHS.RESULT_DIR.PER_IMAGE}/maps.zarr", shape=array.shape, chunks=(*BLOCK, 1), dtype=array.dtype)  # noqa: E501 # fmt: skip
        stored[:] = array
        workflow = Workflow(cfg)
        workflow.after_all_chunk_prediction_workflow_process()
        return zarr.open_array(f"{cfg.PATHS.RESULT_DIR.PER_IMAGE_INSTANCES}/maps.zarr", mode="r")[..., 0]


def biapy_join(folder: Path) -> Any:
    """Join the cells of tiles as BiaPy does."""
    return biapy_blocks(folder, name="cells")


def bigcp3d(folder: Path) -> Any:
    """From flows to labels by bigcp3d, on the whole volume in memory."""
    from bigcp3d import label_maps

    return label_maps(np.load(folder / "maps.npy"), RADIUS, threads=2)


def bigcp3d_blocks(folder: Path, name: str = "maps") -> Any:
    """A run of bigcp3d from stored maps, on blocks, in one process."""
    import zarr

    from bigcp3d import segment

    settings: dict[str, Any] = {"diameter_um": "as-is", "radius_vox": RADIUS, "block": BLOCK, "executor": "serial"}
    segment(folder / "image.zarr", maps=folder / f"{name}.zarr", name=name, **settings)
    return zarr.open_array(folder / f"image.zarr/labels/{name}/0", mode="r")[:]


def bigcp3d_join(folder: Path) -> Any:
    """The same from perfect flows: bigcp3d joins no tiles, because it follows flows across their borders."""
    return bigcp3d_blocks(folder, "perfect")


TASKS: tuple[Callable[[Path], Any], ...] = (
    *(dask_image, bioimage_py, bigcp3d_components, bioimage_py_scores, bigcp3d_scores),
    *(patchworks_touch, patchworks_iou, ngio, bioimage_py_stitch, cellpose_join, biapy_join, bigcp3d_join),
    *(cellpose, cellpose_blocks, biapy, biapy_blocks, bigcp3d, bigcp3d_blocks),
)


def _processor_s() -> float:
    """Of this process and those that it started."""
    each = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in each)


def _memory(line: str) -> float:
    """MiB, now (``VmRSS``) or at most so far (``VmHWM``)."""
    return int(Path("/proc/self/status").read_text().split(f"{line}:")[1].split()[0]) / 2**10


def main(name: str, folder: Path) -> None:
    """Run one task."""
    os.environ["OMP_WAIT_POLICY"] = "passive"  # threads of PyTorch that wait would count as processor time
    task = next(task for task in TASKS if task.__name__ == name)
    task(folder / "small")
    memory, begun, cpu = _memory("VmRSS"), time.perf_counter(), _processor_s()
    found = task(folder)
    spent: dict[str, Any] = {"cpu_s": _processor_s() - cpu, "wall_s": time.perf_counter() - begun}
    spent["MiB"] = _memory("VmHWM") - memory
    if isinstance(found, dict):
        spent["scores"] = found
    else:
        np.save(folder / f"{name}.npy", np.asarray(found))
    print(json.dumps(spent))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
