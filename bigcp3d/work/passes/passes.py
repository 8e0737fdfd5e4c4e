"""The passes, one function each: it reads, calls the pure layer, and writes its own block.

A pass takes a `Run`, a time point and a block index, and returns a few numbers for the summary. `perform` runs it,
records it, and removes files that no other task will read. Any order that `bigcp3d.schedule.running.tasks` allows gives
the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.labels.labels import read_label_box, write_label_box
from bigcp3d.edge.stores.full_disk import full_disk_is_told
from bigcp3d.edge.stores.read_cache import remembering
from bigcp3d.edge.workdir.records import read_record, write_record
from bigcp3d.edge.workdir.tables import write_table
from bigcp3d.pure.boxes import Box, Vec3, vec3
from bigcp3d.pure.grid import spread_labels
from bigcp3d.pure.group.cluster import Components, cluster_block
from bigcp3d.pure.group.objects import squared_flow_error
from bigcp3d.pure.label.labelling import label_box
from bigcp3d.pure.label.pooling import pool_labels
from bigcp3d.pure.label.pooling_box import pool_read_box
from bigcp3d.pure.label.vote import vote_labels
from bigcp3d.pure.label.voting_box import voting_box
from bigcp3d.pure.track.choose_tracker import choose_tracker
from bigcp3d.pure.track.sinks import INTENSITY_UNIT, Sinks, Sums, collect_sinks
from bigcp3d.pure.track.units import UNASSIGNED
from bigcp3d.work.passes.mask import read_mask
from bigcp3d.work.passes.normalise_pass import check_same_image, count_missing, count_nonfinite, normalise
from bigcp3d.work.passes.predict_pass import merge, predict, read_channel
from bigcp3d.work.passes.removal import remove_unneeded
from bigcp3d.work.passes.resolve import join, read_bases, resolve
from bigcp3d.work.run.run import Run
from bigcp3d.work.run.unreadable_input import lost_voxels, read_image, read_maps

Counts = dict[str, Any]
"""What a task returns: small numbers for the summary, by name."""


def perform(run: Run, name: str, time: int, index: Vec3) -> Counts:
    """Run one task of a pass unless it is recorded as done; return what it counted, and how it ran now."""
    level, block = (index[0], vec3(index[1:])) if name == "pyramid" else (0, index)
    folder = run.dir.records(time)
    label = f"pyramid{level}" if name == "pyramid" else name
    done = read_record(folder, label, block)
    if done is not None:
        if name == "normalise":
            check_same_image(run, time, done)
        return {**done, "seconds": 0.0}
    with full_disk_is_told(run.dir.root):
        with run.log.task(name, time, index) as meter, remembering():
            counts = pyramid(run, time, level, block) if name == "pyramid" else PASSES[name](run, time, block)
        write_record(folder, label, block, counts, meter.spent())
        remove_unneeded(run, name, time, block)
    return {**counts, **{name: meter.spent()[name] for name in ("seconds", "worker", "gpu_peak_bytes")}}


def track(run: Run, time: int, index: Vec3) -> Counts:
    """Maps to offsets and sinks."""
    plan, block = run.plan, run.plan.grid.core(index)
    core = block.intersect(plan.scope.tracked)
    region = core.grow(plan.tracking.reach).clip(plan.shape)
    maps = read_maps(run, time, region)
    image, raw, read = read_channel(run, time, core, (-1e5, 1e5))
    if not plan.predicts and plan.storage.on_error == "skip":  # no network reads the other channels
        for channel in plan.source.channels[1:]:
            read_image(run, time, channel, read)
    allowed = read_mask(run, time, core)
    for box in lost_voxels(run, time, core):
        allowed[box.slices(core.start)] = False
    foreground = np.where(allowed, maps[0][core.slices(region.start)], np.int8(0))
    maps[0][core.slices(region.start)] = foreground
    offsets = choose_tracker(run.device)(maps, region, core, plan.shape, **plan.tracking.model_dump())
    intensity = np.rint(image * np.float32(INTENSITY_UNIT)).astype(np.int32)
    sinks = collect_sinks(
        offsets,
        core,
        plan.shape,
        foreground=foreground,
        intensity=intensity,
        reach=plan.tracking.reach,
        copies=plan.label_copies(core),
    )
    run.write("offsets", time, block, _spread(offsets, core, block))
    write_table(run.dir.table("sinks", time, index), voxel=sinks.voxel, **sinks.sums.arrays())
    inside = int(np.count_nonzero(foreground >= plan.tracking.foreground))
    return {
        "voxels": core.size,
        "foreground_vox": inside,
        "unassigned_vox": inside - int(sinks.sums.count.sum()),
        "nonfinite_vox": count_nonfinite(run, time, core, raw, read),
        "missing_chunks": count_missing(run, time, core),
        "sinks": len(sinks.voxel),
    }


def _spread(offsets: NDArray[np.int8], core: Box, block: Box) -> NDArray[np.int8]:
    """Offsets of a block of which ``core`` was tracked."""
    if core == block:
        return offsets
    whole = np.full((3, *block.shape), UNASSIGNED, np.int8)
    whole[(slice(None), *core.slices(block.start))] = offsets
    return whole


def _sinks_near(run: Run, time: int, box: Box) -> Sinks:
    """All parts of the sinks whose voxels lie in ``box``, from every block whose paths may end there."""
    parts, near = [], box.grow(run.plan.tracking.reach).intersect(run.plan.scope.tracked)
    for other in run.plan.intermediate_grid("sinks").touching(near):
        table = run.read_table("sinks", time, other)
        parts.append(Sinks(table["voxel"], Sums.from_arrays(table)).within(box))
    return Sinks.concatenate(parts)


def cluster(run: Run, time: int, index: Vec3) -> Counts:
    """Sinks to components."""
    plan, core = run.plan, run.plan.grid.core(index)
    sinks = _sinks_near(run, time, core.grow(2 * plan.grouping.closing_vox))
    components = cluster_block(sinks, core, plan.shape, radius=plan.grouping.closing_vox)
    write_table(run.dir.table("components", time, index), **components.arrays())
    return {"voxels": core.size, "components": len(components)}


def _label_working(
    run: Run, time: int, box: Box, vector: str, add: int, dtype: str
) -> NDArray[np.unsignedinteger[Any]]:
    """Number of each voxel of a working box: the entry of ``vector`` for its component, plus ``add``."""
    plan, numbers = run.plan, run.array(vector, time)
    blocks = plan.grid.touching(box.grow(plan.tracking.reach))
    bases = read_bases(run, time, blocks)
    voxels, found = [np.empty((0, 3), np.int32)], [np.empty(0, np.int64)]
    for index in blocks:
        components = Components.from_arrays(run.read_table("components", time, index))
        mine = np.asarray(numbers[bases[index] : bases[index] + len(components)], np.int64)
        voxels.append(components.sink_voxel)
        found.append(mine[components.sink_component - 1] + add)
    return label_box(
        run.read("offsets", time, box),
        box,
        plan.shape,
        sink_voxel=np.concatenate(voxels),
        sink_id=np.concatenate(found),
        reach=plan.tracking.reach,
        dtype=dtype,
    )


def check(run: Run, time: int, index: Vec3) -> Counts:
    """Squared flow error of each object, over the voxels of one block."""
    plan, core = run.plan, run.plan.grid.core(index).intersect(run.plan.scope.tracked)
    objects = _label_working(run, time, core, "object", 1, "uint64")
    flow = read_maps(run, time, core)[1:]
    at = np.nonzero(objects)
    present, local = np.unique(objects[at].astype(np.int64) - 1, return_inverse=True)
    squares = squared_flow_error(
        flow.reshape(3, -1)[:, np.flatnonzero(objects)],
        local,
        np.asarray(run.array("centre", time).oindex[present], np.float64).reshape(-1, 3),
        np.stack(at, axis=1) + np.asarray(core.start),
        representation=plan.prediction.representation,
        scale_vox=plan.prediction.scale_vox,
    )
    write_table(run.dir.table("flow_errors", time, index), object=present, squares=squares)
    return {"voxels": core.size}


def _vote_objects(run: Run, time: int, box: Box) -> NDArray[np.unsignedinteger[Any]]:
    """Number, plus one, of the object that wins each voxel of a box of the label image, before any filter."""
    plan = run.plan
    region = voting_box(box, plan.output.label_factors, plan.shape)
    objects = _label_working(run, time, region, "object", 1, "uint64")
    return vote_labels(objects, region, box, plan.output.label_factors, plan.shape)


def vote(run: Run, time: int, index: Vec3) -> Counts:
    """How many voxels of the label image each object wins, where working voxels are finer; none removes the object."""
    core = run.plan.label_grid(0).core(index).intersect(run.plan.scope.wanted)
    won, count = np.unique(_vote_objects(run, time, core), return_counts=True)
    write_table(run.dir.table("votes", time, index), object=won[won > 0].astype(np.int64) - 1, count=count[won > 0])
    return {"voxels": core.size}


def label(run: Run, time: int, index: Vec3) -> Counts:
    """Offsets and ids to labels, at the resolution of the label image."""
    plan, target = run.plan, run.target
    core = plan.label_grid(0).core(index)
    wanted = core.intersect(plan.scope.wanted)
    labels = np.zeros(core.shape, target.dtype)
    if plan.votes:
        present, local = np.unique(_vote_objects(run, time, wanted), return_inverse=True)
        ids = np.zeros(len(present), target.dtype)  # 0 for background
        ids[present > 0] = run.array("object_ids", time).oindex[present[present > 0].astype(np.int64) - 1]
        labels[wanted.slices(core.start)] = ids[local].reshape(wanted.shape)
    else:
        region = voting_box(wanted, plan.output.label_factors, plan.shape)
        found = _label_working(run, time, region, "ids", 0, target.dtype)
        labels[wanted.slices(core.start)] = spread_labels(found, region, wanted, plan.output.label_factors, plan.shape)
    write_label_box(target, 0, core, labels, time=time)
    return {"voxels": core.size}


def pyramid(run: Run, time: int, level: int, index: Vec3) -> Counts:
    """One block of a coarser level, from the level below."""
    target = run.target
    core = run.plan.label_grid(level).core(index)
    below = pool_read_box(core, target.factors[level], target.levels[level - 1].shape)
    finer = read_label_box(target, level - 1, below, time=time)
    write_label_box(target, level, core, pool_labels(finer, below, core, target.factors[level]), time=time)
    return {"voxels": core.size}


PASSES: dict[str, Callable[[Run, int, Vec3], Counts]] = {
    "normalise": normalise,
    "predict": predict,
    "merge": merge,
    "track": track,
    "cluster": cluster,
    "join": join,
    "check": check,
    "vote": vote,
    "resolve": resolve,
    "label": label,
}
