"""The passes that see all blocks: `join` makes objects of components, `resolve` filters them and gives ids.

They read the components of all blocks (a few numbers each, never voxels), and write the id of every component into one
array, of which ``label`` tasks read slices. If ``check`` or ``vote`` need whole objects, `join` runs before them and
`resolve` after them; else `resolve` does both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.workdir.tables import read_table, write_table
from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.cells.plausibility import measure_cells
from bigcp3d.pure.group.cluster import Components
from bigcp3d.pure.group.objects import (
    centroids,
    dense_ids,
    elongations,
    flow_errors,
    keep_objects,
    mean_foreground,
)
from bigcp3d.pure.group.stitch import join_components, seam_pairs
from bigcp3d.pure.track.sinks import Sums
from bigcp3d.work.run.run import Run


def join(run: Run, time: int, index: Vec3) -> dict[str, Any]:
    """Join components at the seams; write the object of each component, and the sums and centres of objects.

    Objects are numbered by their first voxels in raster order, not by blocks, since a tied vote is decided by number.
    """
    grid = run.plan.grid
    base, bases = 0, []
    sums, voxels, owners = [], [np.empty((0, 3), np.int32)], [np.empty(0, np.int64)]
    there = set(grid.touching(run.plan.scope.clustered))
    for block in grid:
        bases.append(base)
        if block not in there:
            continue
        components = Components.from_arrays(run.read_table("components", time, block))
        sums.append(components.sums)
        voxels.append(components.face_voxel)
        owners.append(components.face_component.astype(np.int64) - 1 + base)
        base += len(components)
    pairs = seam_pairs(np.concatenate(voxels).astype(np.int64), np.concatenate(owners), run.plan.shape)
    objects, n = join_components(pairs, base)
    total = Sums.concatenate(sums).group(objects, n)
    number = dense_ids(total, np.ones(n, bool)) - 1
    objects, total = number[objects], total.take(np.argsort(number))
    write_table(run.dir.sums(time), **total.arrays())
    run.dir.write_vector("bases", time, np.asarray(bases, np.int64))
    run.dir.write_vector("object", time, objects)
    run.dir.write_vector("centre", time, centroids(total))
    return {"components": base, "objects": n}


def read_bases(run: Run, time: int, blocks: Sequence[Vec3]) -> dict[Vec3, int]:
    """Number of the first component of some blocks that lie near each other."""
    rows = np.ravel_multi_index(tuple(np.reshape(blocks, (-1, 3)).T), run.plan.grid.counts)
    first = int(rows.min(initial=0))
    base = np.asarray(run.array("bases", time)[first : int(rows.max(initial=0)) + 1], np.int64)
    return dict(zip(blocks, base[rows - first].tolist(), strict=True))


def resolve(run: Run, time: int, index: Vec3) -> dict[str, Any]:
    """Filter objects, give ids, and write the id of each component and the object table."""
    plan = run.plan
    if not plan.joins_first:
        join(run, time, index)
    sums = Sums.from_arrays(read_table(run.dir.sums(time)))
    if plan.votes:
        blocks = plan.label_grid(0).touching(plan.scope.wanted)
        sums = dataclasses.replace(sums, image_vox=_add_up(run, time, "votes", "count", blocks, len(sums)))
    squares = None
    if plan.checks_flow:
        blocks = plan.grid.touching(plan.scope.tracked)
        squares = _add_up(run, time, "flow_errors", "squares", blocks, len(sums))
    seen = sums.image_vox > 0
    keep, removed = keep_objects(sums, plan.filters, squares, among=None if plan.where.roi is None else seen)
    if (keep & ~seen).any():  # thinner than a voxel of a coarser label image
        removed["between the image's voxels"] = int(np.count_nonzero(keep & ~seen))
        keep &= seen
    ids = dense_ids(sums, keep)
    objects = np.asarray(run.array("object", time)[:], np.int64)
    run.dir.write_vector("ids", time, ids[objects] if len(ids) else ids)
    if plan.votes:
        run.dir.write_vector("object_ids", time, ids)
    found = measure_cells(sums.take(seen), keep[seen], removed, plan.shape)
    order = np.flatnonzero(keep)[np.argsort(ids[keep])]
    sums = sums.take(order)
    write_table(
        run.dir.objects(time),  # exact sums, and what derives from them
        centroid=centroids(sums),
        elongation=elongations(sums),
        mean_foreground=mean_foreground(sums),
        **({} if squares is None else {"flow_error": flow_errors(squares[order], sums)}),
        **sums.arrays(),
    )
    return {"cells": int(keep.sum()), "removed": removed, "found": found}


def _add_up(run: Run, time: int, kind: str, column: str, blocks: Iterable[Vec3], n: int) -> NDArray[np.int64]:
    """A column of the tables of all blocks, added up for each object."""
    total = np.zeros(n, np.int64)
    for block in blocks:
        part = run.read_table(kind, time, block)
        np.add.at(total, part["object"], part[column])
    return total
