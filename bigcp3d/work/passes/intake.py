"""Checks on the image as it is read: its percentiles, whether it is still the same, NaN and missing chunks.

The sha256 of the sample from which the percentiles come is in the record of `normalise`. It is compared when a run is
carried on and when kept maps are used; changes elsewhere go unseen.
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
from bigcp3d.work.run.kept_maps import check_sample
from bigcp3d.work.run.run import Run
from bigcp3d.work.run.unreadable_input import read_image

LOST = "lost"
"""In place of the sha256 of a chunk that cannot be read."""


def normalise(run: Run, time: int, index: Vec3) -> dict[str, Any]:
    """Percentiles of each channel from a fixed sample of its voxels."""
    plan, samples, ranges, known = run.plan, hashlib.sha256(), [], list[str]()
    for channel in plan.source.channels:
        sample, digest, chunks = _sample(run, time, channel)
        try:
            ranges.append(estimate_range(sample, plan.prediction.low_percentile, plan.prediction.high_percentile))
        except InputError as error:
            raise InputError(f"{plan.source.image.path}, channel {channel}, time point {time}: {error}") from error
        samples.update(digest)
        known += chunks
    check_sample(plan, time, samples.hexdigest())
    low, high, nonfinite = zip(*ranges, strict=True)
    whole = {"sample": samples.hexdigest(), "sample_chunks": known}
    return {"low": low, "high": high, "sample_nonfinite": sum(nonfinite), **whole}


def check_same_image(run: Run, time: int, record: dict[str, Any]) -> None:
    """Refuse to carry on with an image that is not the one with which the run began, as far as the sample shows.

    Where errors are skipped, chunks that can no longer be read are left out of the comparison.
    """
    samples, now = hashlib.sha256(), list[str]()
    for channel in run.plan.source.channels:
        _, digest, chunks = _sample(run, time, channel)
        samples.update(digest)
        now += chunks
    if samples.hexdigest() == record.get("sample"):
        return
    then = record.get("sample_chunks", [])
    same = len(now) == len(then) and all(chunk in (LOST, before) for chunk, before in zip(now, then, strict=True))
    if not now or not same:
        raise InputError(
            f"{run.plan.source.image.path}: found other voxels (time point {time}) than those that this run began "
            f"with; allowed is the same image: put it back, or remove {run.dir.root} to begin anew"
        )


def _sample(run: Run, time: int, channel: int) -> tuple[list[NDArray[Any]], bytes, list[str]]:
    """The voxels of a channel's sample that can be read, the sha256 of all (0 for those that cannot), and of chunks.

    Those of single chunks only where errors are skipped, `LOST` for chunks that cannot be read.
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
    """Image voxels that fall to a working block, each voxel of the image to one block."""
    plan = run.plan
    ends = [
        (int(a * f), s if b == whole else int(b * f))
        for a, b, f, s, whole in zip(
            core.start, core.stop, plan.sampling.factors, plan.image_shape, plan.shape, strict=True
        )
    ]
    return Box(vec3(e[0] for e in ends), vec3(e[1] for e in ends))


def count_nonfinite(run: Run, time: int, core: Box, raw: NDArray[Any], read: Box) -> int:
    """NaN and infinities among the image voxels that fall to this block.

    ``raw`` is the first channel in the box ``read``; of the others, what falls to the block is read here.
    """
    own = _own_voxels(run, core).intersect(read)
    if not np.issubdtype(raw.dtype, np.floating) or own.empty:
        return 0
    others = [read_image(run, time, other, own)[0] for other in run.plan.source.channels[1:]]
    return sum(int(np.count_nonzero(~np.isfinite(part))) for part in (raw[own.slices(read.start)], *others))


def count_missing(run: Run, time: int, core: Box) -> int:
    """Chunks of the image that the store lacks, and that begin in the voxels of this block."""
    plan, own = run.plan, _own_voxels(run, core)
    if own.empty:
        return 0
    missing = [
        vec3(box.start)
        for channel in plan.source.channels
        for box in missing_chunks(plan.source.image, plan.source.level, own, channel=channel, time=time)
    ]
    return sum(not Box(start, vec3(a + 1 for a in start)).intersect(own).empty for start in missing)
