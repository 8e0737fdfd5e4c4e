"""The passes, one function each: it reads, calls the pure layer, and writes its own block.

A pass takes a `Run`, a time point and a block index, and returns a few numbers for the summary. `perform` runs it,
records it, and removes files that no other task will read. Any order that `bigcp3d.schedule.running.tasks` allows gives
the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.labels.coarser_level import make_coarser
from bigcp3d.edge.labels.labels import write_label_box
from bigcp3d.edge.stores.full_disk import full_disk_is_told
from bigcp3d.edge.stores.read_cache import remembering
from bigcp3d.edge.workdir.records import read_record, write_record
from bigcp3d.edge.workdir.tables import write_rows, write_table
from bigcp3d.pure.boxes import Box, Vec3, vec3
from bigcp3d.pure.grid import image_box, nearest_working, spread_labels
from bigcp3d.pure.group.cluster import Components, cluster_block
from bigcp3d.pure.group.objects import squared_flow_error
from bigcp3d.pure.group.whole_objects import Faces
from bigcp3d.pure.label.deciding_box import deciding_box, taking_box
from bigcp3d.pure.label.labelling import label_box
from bigcp3d.pure.label.look_ahead import count_takers, label_image_box
from bigcp3d.pure.track.choose_tracker import choose_tracker
from bigcp3d.pure.track.path_error import path_squares
from bigcp3d.pure.track.sinks import Sinks, Sums, collect_sinks
from bigcp3d.pure.track.units import UNASSIGNED
from bigcp3d.work.passes.join import first_voxels, join, stitch
from bigcp3d.work.passes.mask import read_mask
from bigcp3d.work.passes.normalise_pass import check_same_input, count_missing, count_nonfinite, normalise
from bigcp3d.work.passes.predict_pass import merge, predict
from bigcp3d.work.passes.removal import remove_unneeded
from bigcp3d.work.passes.resolve import filter_range, find_ids, gather, resolve
from bigcp3d.work.plan.pass_blocks import filled_voxels
from bigcp3d.work.plan.task_inputs import tracked_halo
from bigcp3d.work.run.run import Run
from bigcp3d.work.run.unreadable_input import lost_voxels, read_image, read_maps_or_background

Counts = dict[str, Any]
"""What a task returns: small numbers for the summary, by name."""


def perform(run: Run, name: str, time: int, index: Vec3) -> Counts:
    """Run one task of a pass unless it is recorded as done; return what it counted, and how it ran now."""
    run.check_version()
    level, block = (index[0], vec3(index[1:])) if name == "pyramid" else (0, index)
    folder = run.dir.records(time)
    label = f"pyramid{level}" if name == "pyramid" else name
    done = read_record(folder, label, block)
    if done is not None:
        if name == "normalise":
            check_same_input(run, time, done)
        return {**done, "seconds": 0.0}
    with full_disk_is_told(run.dir.root):
        with run.log.task(name, time, index) as meter, remembering():
            counts = pyramid(run, time, level, block) if name == "pyramid" else PASSES[name](run, time, block)
        counts["voxels"] = filled_voxels(run.plan, name, block, level)
        write_record(folder, label, block, counts, meter.spent())
        remove_unneeded(run, name, time, block)
    return {**counts, **{name: meter.spent()[name] for name in ("seconds", "worker", "gpu_peak_bytes")}}


def track(run: Run, time: int, index: Vec3) -> Counts:
    """Maps to offsets and sinks."""
    plan, block = run.plan, run.plan.grid.core(index)
    core = block.intersect(plan.scope.tracked)
    region, masked = (core.grow(by).clip(plan.shape) for by in (tracked_halo(plan), plan.looking_halo))
    strict = plan.storage.on_error == "skip" or plan.execution.missing_chunks == "fail"
    if not plan.predicts and strict:  # no network reads the image and notes what is lost or missing
        read = image_box(masked, plan.sampling.factors, plan.image_shape)
        for channel in plan.source.channels:
            read_image(run, time, channel, read)
    maps = _read_masked_maps(run, time, region, masked)
    foreground = maps[0][core.slices(region.start)]
    offsets = choose_tracker(run.device)(maps, region, core, plan.shape, **plan.tracking.model_dump())
    sinks = collect_sinks(
        offsets,
        core,
        plan.shape,
        foreground=foreground,
        reach=plan.tracking.reach,
        takers=_count_takers(run, maps, region, core),
    )
    run.write("offsets", time, block, _spread(offsets, core, block))
    write_table(run.dir.table("sinks", time, index), voxel=sinks.voxel, **sinks.sums.arrays())
    inside = int(np.count_nonzero(foreground >= plan.tracking.foreground))
    return {
        "foreground_vox": inside,
        "unassigned_vox": inside - int(sinks.sums.count.sum()),
        "path_squares": path_squares(
            maps[(slice(1, None), *core.slices(region.start))],
            offsets,
            representation=plan.prediction.representation,
            scale_vox=plan.prediction.scale_vox,
        ),
        "nonfinite_vox": count_nonfinite(run, time, core),
        "missing_chunks": count_missing(run, time, core),
        "sinks": len(sinks.voxel),
    }


def _read_masked_maps(run: Run, time: int, region: Box, masked: Box) -> NDArray[np.int8]:
    """The maps of a working box; in ``masked`` without foreground outside the mask, and where the image is lost."""
    maps, allowed = read_maps_or_background(run, time, region), read_mask(run, time, masked)
    for lost in lost_voxels(run, time, masked):
        allowed[lost.slices(masked.start)] = False
    maps[0][masked.slices(region.start)][~allowed] = 0
    return maps


def _count_takers(run: Run, maps: NDArray[np.int8], region: Box, core: Box) -> NDArray[np.int32] | None:
    """How many wanted voxels of the label image take the label of each voxel of a working box; None for one each."""
    plan, factors, wanted = run.plan, run.plan.output.label_factors, run.plan.scope.wanted
    if plan.resamples:
        taking, threshold = taking_box(core, factors, plan.shape).intersect(wanted), plan.tracking.foreground
        if taking.empty:
            return np.zeros(core.shape, np.int32)
        return count_takers(maps, region, core, taking, factors, plan.shape, foreground=threshold)
    if core.intersect(wanted) == core and wanted.clip(plan.shape) == wanted:
        return None
    z, y, x = (
        np.bincount(nearest_working(a, b, 1.0, size), minlength=size)[part].astype(np.int32)
        for a, b, size, part in zip(wanted.start, wanted.stop, plan.shape, core.slices(), strict=True)
    )
    return z[:, None, None] * y[:, None] * x


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
    components = cluster_block(sinks, core, radius=plan.grouping.closing_vox)
    write_table(run.dir.table("components", time, index), **components.arrays())
    if plan.stitches:
        write_table(run.dir.table("faces", time, index), **Faces.of(components).arrays())
    return {"components": len(components)}


def _label_working(
    run: Run, time: int, box: Box, number: Callable[[NDArray[np.int64]], NDArray[np.int64]], dtype: str
) -> tuple[NDArray[np.unsignedinteger[Any]], NDArray[np.int64], NDArray[np.float64]]:
    """Number of each voxel of a working box: what ``number`` gives for the first voxel of the object that it ends in.

    Also the first voxels of the objects of all components near, and their centres where the run checks flow.
    """
    plan = run.plan
    blocks = plan.grid.touching(box.grow(plan.tracking.reach))
    tables = [Components.from_arrays(run.read_table("components", time, index)) for index in blocks]
    known = first_voxels(run, time, blocks, [len(components) for components in tables])
    first = np.concatenate([np.empty(0, np.int64), *(each for each, _ in known)])
    centre = np.concatenate([np.empty((0, 3)), *(each for _, each in known if each is not None)])
    bases = np.cumsum([0, *map(len, tables)])[:-1]
    voxels = [np.empty((0, 3), np.int32), *(components.sink_voxel for components in tables)]
    rows = [c.sink_component.astype(np.int64) - 1 + base for c, base in zip(tables, bases, strict=True)]
    labels = label_box(
        run.read("offsets", time, box),
        box,
        plan.shape,
        sink_voxel=np.concatenate(voxels),
        sink_id=number(first)[np.concatenate([np.empty(0, np.int64), *rows])],
        reach=plan.tracking.reach,
        dtype=dtype,
    )
    return labels, first, centre


def check(run: Run, time: int, index: Vec3) -> Counts:
    """Squared flow error of each object, over the voxels of one block."""
    plan, core = run.plan, run.plan.grid.core(index).intersect(run.plan.scope.tracked)
    objects, first, centre = _label_working(run, time, core, lambda first: first + 1, "uint64")
    flow = read_maps_or_background(run, time, core)[1:]
    at = np.nonzero(objects)
    present, local = np.unique(objects[at].astype(np.int64) - 1, return_inverse=True)
    known, row = np.unique(first, return_index=True)
    squares = squared_flow_error(
        flow.reshape(3, -1)[:, np.flatnonzero(objects)],
        local,
        centre[row[np.searchsorted(known, present)]],
        np.stack(at, axis=1) + np.asarray(core.start),
        representation=plan.prediction.representation,
        scale_vox=plan.prediction.scale_vox,
    )
    ranges, rows = plan.id_ranges, np.stack([present, squares], axis=1)
    write_rows(run.dir.rows("flow_errors", time, index), rows[ranges.order(present)])
    return {"ranges": np.unique(ranges.find(present)).tolist()}


def label(run: Run, time: int, index: Vec3) -> Counts:
    """Offsets and ids to labels, at the resolution of the label image."""
    plan, target = run.plan, run.target
    core = plan.label_grid(0).core(index)
    wanted = core.intersect(plan.scope.wanted)
    factors, labels = plan.output.label_factors, np.zeros(core.shape, target.dtype)
    region = deciding_box(wanted, factors, plan.shape)
    found, _, _ = _label_working(run, time, region, partial(find_ids, run, time), target.dtype)
    if plan.resamples:
        maps, threshold = _read_masked_maps(run, time, region, region), plan.tracking.foreground
        found = label_image_box(maps, found, region, wanted, factors, plan.shape, foreground=threshold)
    else:
        found = spread_labels(found, region, wanted, factors, plan.shape)
    labels[wanted.slices(core.start)] = found
    run.check_place()
    write_label_box(target, 0, core, labels, time=time)
    return {}


def pyramid(run: Run, time: int, level: int, index: Vec3) -> Counts:
    """One block of a coarser level, from the level below."""
    target = run.target
    core = run.plan.label_grid(level).core(index)
    labels = make_coarser(target, level, core, time=time)
    run.check_place()
    write_label_box(target, level, core, labels, time=time)
    return {}


PASSES: dict[str, Callable[[Run, int, Vec3], Counts]] = {
    "normalise": normalise,
    "predict": predict,
    "merge": merge,
    "track": track,
    "cluster": cluster,
    "stitch": stitch,
    "join": join,
    "check": check,
    "gather": gather,
    "filter": filter_range,
    "resolve": resolve,
    "label": label,
}
