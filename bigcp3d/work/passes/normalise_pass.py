"""The pass `normalise`, and checks on the image as it is read: whether it is still the same, NaN and missing chunks.

The sha256 of the sample from which the percentiles come is in the record of `normalise`. It is compared when a run is
carried on and when kept maps are used. If a run takes its maps from elsewhere, a sample of these is compared too, when
it is carried on. Changes elsewhere go unseen.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.voxels import missing_chunks, stored_chunk
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import BlockGrid, Box, Vec3, vec3
from bigcp3d.pure.predict.normalise import estimate_range, sample_boxes
from bigcp3d.pure.prepare.steps import margin_of
from bigcp3d.work.passes.read_prepared import read_prepared
from bigcp3d.work.run.kept_maps import check_sample, kept_of
from bigcp3d.work.run.run import Run
from bigcp3d.work.run.unreadable_input import read_image

READ_AROUND: Vec3 = (48, 48, 48)
"""Voxels around a box of a sample of maps that are read too, as maps have large chunks; so the sample has few boxes."""

LOST = "lost"
"""Stands for the sha256 of a chunk that cannot be read."""


def normalise(run: Run, time: int, index: Vec3) -> dict[str, Any]:
    """Percentiles of each channel from a fixed sample of its voxels, and of its prepared voxels."""
    plan, whole, ranges, known = run.plan, hashlib.sha256(), [], list[str]()
    for channel in plan.source.channels:
        sample, digest, chunks = _sample(run, time, channel)
        try:
            ranges.append(estimate_range(sample, plan.prediction.low_percentile, plan.prediction.high_percentile))
        except InputError as error:
            raise InputError(f"{plan.source.image.path}, channel {channel}, time point {time}: {error}") from error
        whole.update(digest)
        known += chunks
    check_sample(plan, time, whole.hexdigest())
    low, high = zip(*ranges, strict=True)
    prepared = [
        _prepared_range(run, time, channel, one)
        for channel, one in zip(plan.source.channels, ranges, strict=True)
        if plan.prepares
    ]
    said = {"sample": whole.hexdigest(), "sample_chunks": known, "maps": _hash_maps(run, time)}
    return {"low": low, "high": high, "prepared": prepared, **said}


def _prepared_range(run: Run, time: int, channel: int, limits: tuple[float, float]) -> tuple[float, float]:
    """Percentiles of a channel's prepared voxels, without those of lost chunks."""
    plan, sample = run.plan, []
    for box in sample_boxes(plan.image_shape, margin_of(plan.prediction.prepare, plan.image_shape)):
        there = np.ones(box.shape, bool)
        values, lost = read_prepared(run, time, channel, box, limits)
        for chunk in lost:
            there[chunk.intersect(box).slices(box.start)] = False
        sample.append(values[there])
    try:
        return estimate_range(sample, plan.prediction.low_percentile, plan.prediction.high_percentile)
    except InputError as error:
        raise InputError(
            f"{plan.source.image.path}, channel {channel}, time point {time}, prepared: {error}; or leave out --prepare"
        ) from error


def _hash_maps(run: Run, time: int) -> str:
    """The sha256 of a sample of given maps, and of their record if they were kept; `LOST` where some cannot be read."""
    mapped, kept, whole = run.plan.scope.mapped, kept_of(run.plan), hashlib.sha256()
    if run.plan.predicts:
        return ""
    if kept is not None:
        whole.update(kept.model_dump_json().encode())
    try:
        for box in sample_boxes(mapped.shape, READ_AROUND):
            whole.update(run.read("maps", time, box.shift(mapped.start)).tobytes())
    except InputError:  # `track` says so, or skips it
        return LOST
    return whole.hexdigest()


def check_same_input(run: Run, time: int, record: dict[str, Any]) -> None:
    """Refuse to carry on with another image or other maps than at the beginning, as far as the samples show.

    Where errors are skipped, chunks that can no longer be read are not compared.
    """
    _check_image_unchanged(run, time, record)
    pair = (record.get("maps"), _hash_maps(run, time))
    if LOST not in pair and pair[0] != pair[1]:
        raise InputError(
            f"{run.plan.given.maps}: these maps have changed since this run began; put the earlier ones back, or "
            f"remove {run.dir.root} to start again"
        )


def _check_image_unchanged(run: Run, time: int, record: dict[str, Any]) -> None:
    whole, now = hashlib.sha256(), list[str]()
    for channel in run.plan.source.channels:
        _, digest, chunks = _sample(run, time, channel)
        whole.update(digest)
        now += chunks
    if whole.hexdigest() == record.get("sample"):
        return
    then = record.get("sample_chunks", [])
    same = len(now) == len(then) and all(chunk in (LOST, before) for chunk, before in zip(now, then, strict=True))
    if not now or not same:
        raise InputError(
            f"{run.plan.source.image.path}: the voxels (time point {time}) have changed since this run began; "
            f"restore the image, or remove {run.dir.root} to start again"
        )


def _sample(run: Run, time: int, channel: int) -> tuple[list[NDArray[Any]], bytes, list[str]]:
    """The voxels of a channel's sample that can be read, the sha256 of all (the others are 0), and that of each chunk.

    Chunks are listed only where errors are skipped; `LOST` stands for those that cannot be read.
    """
    plan, sample, whole, chunks = run.plan, [], hashlib.sha256(), list[str]()
    skips = plan.storage.on_error == "skip"
    grid = BlockGrid(plan.image_shape, stored_chunk(plan.source.image, plan.source.level)) if skips else None
    for box in sample_boxes(plan.image_shape):
        voxels, lost = read_image(run, time, channel, box)
        whole.update(np.ascontiguousarray(voxels).tobytes())
        there, gone = np.ones(box.shape, bool), {chunk.start for chunk in lost}
        for chunk in lost:
            there[chunk.intersect(box).slices(box.start)] = False
        sample.append(voxels[there])
        for chunk in (grid.core(index) for index in grid.touching(box)) if grid else ():
            part = np.ascontiguousarray(voxels[chunk.intersect(box).slices(box.start)])
            chunks.append(LOST if chunk.start in gone else hashlib.sha256(part.tobytes()).hexdigest())
    return sample, whole.digest(), chunks


def _own_voxels(run: Run, core: Box) -> Box:
    """Image voxels that belong to a working block; each voxel belongs to one block."""
    factors = run.plan.sampling.factors
    ends = zip(core.stop, factors, run.plan.image_shape, run.plan.shape, strict=True)
    return Box(
        vec3(int(a * f) for a, f in zip(core.start, factors, strict=True)),
        vec3(size if b == whole else int(b * f) for b, f, size, whole in ends),
    )


def count_nonfinite(run: Run, time: int, core: Box) -> int:
    """NaN and infinities among the image voxels that belong to this block."""
    source, own = run.plan.source, _own_voxels(run, core)
    if np.dtype(source.image.dtype).kind != "f" or own.empty:
        return 0
    parts = (read_image(run, time, channel, own)[0] for channel in source.channels)
    return sum(int(np.count_nonzero(~np.isfinite(part))) for part in parts)


def count_missing(run: Run, time: int, core: Box) -> int:
    """Chunks of the image that the store lacks, and that begin in the voxels of this block."""
    plan, own = run.plan, _own_voxels(run, core)
    if own.empty:
        return 0
    where: dict[str, Any] = {"time": time, "that_begin": True}
    image, level = plan.source.image, plan.source.level
    return sum(len(missing_chunks(image, level, own, channel=channel, **where)) for channel in plan.source.channels)
