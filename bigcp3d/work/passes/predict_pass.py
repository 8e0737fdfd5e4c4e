"""The passes that predict maps from the image; each patch of the network is computed once.

`predict` sums the output of a block's own patches. Sums on a neighbour's voxels go into a file for that neighbour, and
sums to which neighbours will add into a file of the block's own. `merge` adds all files for a block and writes its
maps; then the files are removed. If there is one block, `predict` writes the maps itself.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.workdir.tables import read_table, write_table
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.pure.grid import image_box, resample
from bigcp3d.pure.predict.normalise import normalise_intensity
from bigcp3d.pure.predict.patches import finish_maps
from bigcp3d.work.passes.mask import needed_patches
from bigcp3d.work.passes.read_prepared import read_prepared
from bigcp3d.work.plan.pass_blocks import filled_voxels
from bigcp3d.work.run.run import Run
from bigcp3d.work.run.unreadable_input import read_image


def intensity_range(run: Run, time: int, number: int) -> tuple[float, float]:
    """The intensities that become 0 and 1 in one of the plan's channels, as `normalise` found them."""
    record = _normalised(run, time)
    return record["low"][number], record["high"][number]


def _normalised(run: Run, time: int) -> dict[str, Any]:
    record = run.dir.read_once("normalise", time)
    if record is None:
        raise RuntimeError(f"no record of the normalise pass in {run.dir.records(time)}")
    return record


def _read_channel(run: Run, time: int, box: Box, number: int) -> NDArray[np.float32]:
    """One of the plan's channels on a box of the working grid, prepared and normalised.

    Lost chunks of the image have the low percentile.
    """
    plan, clip = run.plan, run.plan.prediction.clip
    region, channel = image_box(box, plan.sampling.factors, plan.image_shape), plan.source.channels[number]
    low, high = limits = intensity_range(run, time, number)
    if plan.prepares:
        voxels, _ = read_prepared(run, time, channel, region, limits)
        low, high = _normalised(run, time)["prepared"][number]
    else:
        voxels, lost = read_image(run, time, channel, region)
        for chunk in lost:
            voxels[chunk.intersect(region).slices(region.start)] = math.floor(low) if voxels.dtype.kind in "iu" else low
    image = normalise_intensity(voxels, low, high, clip)
    return resample(image, region, box, plan.sampling.factors, plan.image_shape)


def read_channels(run: Run, time: int, box: Box) -> NDArray[np.float32]:
    """All of the plan's channels, in their order, as the network sees them: (c, z, y, x)."""
    number = len(run.plan.source.channels)
    if number == 1:
        return _read_channel(run, time, box, 0)[None]
    image = np.empty((number, *box.shape), np.float32)
    for i in range(number):
        image[i] = _read_channel(run, time, box, i)
    return image


def predict(run: Run, time: int, index: Vec3) -> dict[str, Any]:
    """Image to the sums of a block's patches, or to maps where nothing is handed over."""
    from bigcp3d.pure.predict.run_network import sum_patches  # torch is not needed by the other passes

    run.claim_device()
    blocks, patches = run.plan.patch_blocks, run.plan.patches
    core, extent, scope = blocks.grid.core(index), blocks.extent(index), run.plan.scope
    layers = needed_patches(run, time, blocks.layers(index, scope.mapped))
    begun, voxels = itertools.count(), filled_voxels(run.plan, "predict", index)

    def read(box: Box) -> NDArray[np.float32]:  # of one layer after the other
        run.go_on("predict", voxels, min(1.0, next(begun) / len(layers)))
        return read_channels(run, time, box)

    total = sum_patches(read, layers, extent, patches, run.network, batch=run.batch, threads=run.plan.running.threads)
    if blocks.hand_over:
        for other in blocks.meeting(index):
            if other != index and not blocks.grid.core(other).intersect(scope.mapped).empty:
                write_table(run.dir.part(time, index, other), sums=total.sums(blocks.shared(index, other)))
        inner, shell = blocks.inner(index), blocks.shell(index)
        sums = {f"sums{i}": total.sums(slab) for i, slab in enumerate(shell)}
        write_table(run.dir.part(time, index, index), maps=total.maps(inner), **sums)
    else:
        run.write("maps", time, core, total.maps(core))
    return {"patches": sum(map(len, layers)), "processor": run.processor}


def merge(run: Run, time: int, index: Vec3) -> dict[str, Any]:
    """A block's own sums and those that were handed over, to maps."""
    blocks, patches = run.plan.patch_blocks, run.plan.patches
    core, shell = blocks.grid.core(index), blocks.shell(index)
    own = _read_part(run, time, index, index)
    maps = np.empty((4, *core.shape), np.int8)
    maps[(slice(None), *blocks.inner(index).slices(core.start))] = own.pop("maps")
    for other in blocks.meeting(index):
        if other != index and not blocks.extent(other).intersect(run.plan.scope.mapped).empty:
            shared = blocks.shared(other, index)
            sums = _read_part(run, time, other, index)["sums"]
            for i, slab in enumerate(shell):
                both = slab.intersect(shared)
                if not both.empty:
                    own[f"sums{i}"][(slice(None), *both.slices(slab.start))] += sums[
                        (slice(None), *both.slices(shared.start))
                    ]
    for i, slab in enumerate(shell):
        maps[(slice(None), *slab.slices(core.start))] = finish_maps(own.pop(f"sums{i}"), slab, patches)
    run.write("maps", time, core, maps)
    return {}


def _read_part(run: Run, time: int, giver: Vec3, taker: Vec3) -> dict[str, NDArray[Any]]:
    """The sums of one block for another; computed again if the file is gone or damaged though `predict` is recorded."""
    path = run.dir.part(time, giver, taker)
    try:
        return read_table(path)
    except (FileNotFoundError, InputError):
        predict(run, time, giver)
    return read_table(path)
