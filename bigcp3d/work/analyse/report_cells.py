"""The cells of a report as rows: read from the table of a run that has just ended, or measured in labels.

A run's tables are in its work directory until that is removed. They are read one after the other, so hundreds of
millions of cells take little memory. Labels alone are measured block by block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.workdir.tables import read_table
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.cells.cell_summary import CellRows
from bigcp3d.pure.cells.cell_sums import CellSums
from bigcp3d.pure.grid import nearest_working
from bigcp3d.pure.group.objects import ellipsoid_fill, elongations, mean_foreground
from bigcp3d.pure.track.sinks import Sums
from bigcp3d.work.analyse.measure import sum_box
from bigcp3d.work.passes.resolve import find_ids
from bigcp3d.work.plan.plan import Plan
from bigcp3d.work.run.run import Run


def cells_of_run(plan: Plan) -> Iterator[CellRows]:
    """The kept cells of a run whose work directory is still there, one table at a time.

    Where the labels have another grid than the working grid, boxes may be wrong by about a working voxel.
    """
    run, label_shape, wanted = Run(plan), plan.output.target.levels[0].shape, plan.scope.wanted
    edges = []  # label voxel at which each working voxel begins, by axis
    for shape, factor, size in zip(label_shape, plan.output.label_factors, plan.shape, strict=True):
        edges.append(np.searchsorted(nearest_working(0, shape, factor, size), np.arange(size + 1)))
    names = list(Sums.empty(0).arrays())
    for time in plan.where.times:
        for file in run.dir.all_objects(time):
            table = read_table(file)
            part = Sums(**{name: table[name] for name in names})
            low = np.stack([edges[a][part.low[:, a]] for a in range(3)], axis=1)
            high = np.stack([edges[a][part.high[:, a]] for a in range(3)], axis=1)
            ids = find_ids(run, time, part.first).astype(np.uint64)
            yield _rows(time, ids, part, part.image_vox, low, high, plan.voxel, mean_foreground(part), wanted)


def cells_of_labels(labels: ImageInfo) -> Iterator[CellRows]:
    """The cells of labels, by time point, measured block by block."""
    for time in range(labels.times):
        yield rows_of(sum_box(labels, Box.of_shape(labels.levels[0].shape), time), labels, time)


def rows_of(cells: CellSums, labels: ImageInfo, time: int) -> CellRows:
    """All cells of a time point of labels, from their sums."""
    level = labels.levels[0]
    voxel, place = level.scale_um or (1.0, 1.0, 1.0), Box.of_shape(level.shape)
    sums, unknown = cells.sums, np.full(len(cells.ids), np.nan)
    return _rows(time, cells.ids, sums, sums.count, sums.low, sums.high, voxel, unknown, place)


def _rows(
    time: int,
    ids: NDArray[np.uint64],
    sums: Sums,
    volume: NDArray[np.int64],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    voxel: Sequence[float],
    foreground: NDArray[np.float64],
    wanted: Box,
) -> CellRows:
    return CellRows(
        time=np.full(len(ids), time, np.int64),
        ids=ids,
        volume=volume,
        low=np.maximum(low, wanted.start),
        high=np.minimum(high, wanted.stop),
        elongation=elongations(sums, voxel),
        fill=ellipsoid_fill(sums),
        foreground=foreground,
        border=np.any((low <= wanted.start) | (high >= wanted.stop), axis=1),
    )
