"""Joins components of different blocks: `stitch` those of objects that neighbours know whole, `join` the rest.

Where a run does not stitch, all components are left. An object is known by its first voxel, so both give each component
the first voxel of its object.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.workdir.records import read_record
from bigcp3d.edge.workdir.tables import open_rows, write_rows, write_table
from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.group.cluster import Components
from bigcp3d.pure.group.objects import centroids
from bigcp3d.pure.group.seams import join_components, seam_pairs
from bigcp3d.pure.group.whole_objects import Faces, join_near
from bigcp3d.pure.read_ahead import THREADS, read_each
from bigcp3d.pure.track.sinks import Sums
from bigcp3d.work.plan.task_inputs import neighbours
from bigcp3d.work.run.run import Run

LEFT = -1
"""In place of the first voxel, in a table of `stitch`: `join` knows it."""


def stitch(run: Run, time: int, index: Vec3) -> dict[str, Any]:
    """Find the objects of one block that are whole among its neighbours; write the rest down for `join`."""
    plan = run.plan
    sums = Components.from_arrays(run.read_table("components", time, index)).sums
    near = [(b, Faces.from_arrays(run.read_table("faces", time, b))) for b in neighbours(plan, index)]
    faces = next(faces for block, faces in near if block == index)
    found = join_near(index, near, plan.grid)
    first, whole = sums.first.copy(), found.whole[found.object]
    first[faces.component] = np.where(whole, found.sums.first[found.object], LEFT)
    centre = centroids(sums)
    centre[faces.component] = centroids(found.sums)[found.object]
    inside = np.ones(len(sums), bool)
    inside[faces.component] = False
    own = Sums.concatenate([sums.take(inside), found.sums.take(found.whole & found.first_here)])
    own = own.take(own.count > 0)
    write_rows(run.dir.rows("whole", time, index), own.take(plan.id_ranges.order(own.first)).rows())
    if (left := faces.take(np.flatnonzero(~whole))).component.size:
        write_table(run.dir.table("left", time, index), **left.arrays())
    write_table(run.dir.table("stitched", time, index), first=first, **({"centre": centre} if plan.checks_flow else {}))
    return {
        "components": len(sums),
        "left": int(left.component.size),
        "ranges": np.unique(plan.id_ranges.find(own.first)).tolist(),
    }


def join(run: Run, time: int, index: Vec3) -> dict[str, Any]:
    """Join the components that are left; write the first voxel of the object of each, and the sums of the objects."""
    plan = run.plan
    base, counts = 0, np.zeros(plan.grid.counts, np.int64)
    sums, voxels, owners = [], [np.empty((0, 3), np.int32)], [np.empty(0, np.int64)]
    tables = read_each(partial(_left, run, time), plan.grid.visit(plan.scope.clustered), threads=THREADS)
    for block, faces in zip(plan.grid.visit(plan.scope.clustered), tables, strict=True):
        if faces is None:
            continue
        sums.append(faces.sums)
        voxels.append(faces.voxel)
        owners.append(faces.owner.astype(np.int64) + base)
        counts[block] = len(faces.component)
        base += len(faces.component)
    pairs = seam_pairs(np.concatenate(voxels).astype(np.int64), np.concatenate(owners), plan.shape)
    objects, n = join_components(pairs, base)
    total = Sums.concatenate(sums).group(objects, n)
    there_is = total.take(total.count > 0)
    write_rows(run.dir.vector("sums", time), there_is.take(plan.id_ranges.order(there_is.first)).rows())
    write_rows(run.dir.vector("bases", time), np.cumsum(counts) - counts.ravel())
    write_rows(run.dir.vector("joined", time), total.first[objects])
    if plan.checks_flow:
        write_rows(run.dir.vector("centre", time), centroids(total)[objects])
    return {"components": base, "objects": n}


def _left(run: Run, time: int, block: Vec3) -> Faces | None:
    """The components of a block that `join` has to join; None where there are none."""
    if not run.plan.stitches:
        return Faces.all(Components.from_arrays(run.read_table("components", time, block)))
    record = read_record(run.dir.records(time), "stitch", block)
    if record is not None and record["left"] == 0:
        return None
    return Faces.from_arrays(run.read_table("left", time, block))


def first_voxels(
    run: Run, time: int, blocks: Sequence[Vec3], numbers: Sequence[int]
) -> list[tuple[NDArray[np.int64], NDArray[np.float64] | None]]:
    """The first voxel of the object of each component of some blocks, and its centre where the run checks flow.

    ``numbers`` are the components of each block; the blocks lie near each other.
    """
    plan, bases, found = run.plan, _read_bases(run, time, blocks), []
    for block, number in zip(blocks, numbers, strict=True):
        first, centre = np.full(number, LEFT), np.zeros((number, 3)) if plan.checks_flow else None
        if plan.stitches:
            table = run.read_table("stitched", time, block)
            first, centre = table["first"], table.get("centre")
        left = np.flatnonzero(first == LEFT)
        rows = slice(bases[block], bases[block] + len(left))
        first[left] = open_rows(run.dir.vector("joined", time))[rows]
        if centre is not None:
            centre[left] = open_rows(run.dir.vector("centre", time))[rows]
        found.append((first, centre))
    return found


def _read_bases(run: Run, time: int, blocks: Sequence[Vec3]) -> dict[Vec3, int]:
    """How many components of earlier blocks were left, for some blocks that lie near each other."""
    rows = np.ravel_multi_index(tuple(np.reshape(blocks, (-1, 3)).T), run.plan.grid.counts)
    first = int(rows.min(initial=0))
    base = open_rows(run.dir.vector("bases", time))[first : int(rows.max(initial=0)) + 1]
    return dict(zip(blocks, base[rows - first].tolist(), strict=True))
