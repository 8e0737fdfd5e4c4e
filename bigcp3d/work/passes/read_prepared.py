"""Reads boxes of a channel as the filters of a run's preparation leave them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Box
from bigcp3d.pure.predict.normalise import scale_intensity
from bigcp3d.pure.prepare.prepare_box import prepare_box
from bigcp3d.work.run.run import Run
from bigcp3d.work.run.unreadable_input import read_image


def read_prepared(
    run: Run, time: int, channel: int, box: Box, limits: tuple[float, float]
) -> tuple[NDArray[np.float32], list[Box]]:
    """Prepared voxels of a box of the level that is read, and the lost chunks in it.

    ``limits`` are the intensities that the filters see as 0 and 1. NaN, infinities and lost chunks are 0 to them.
    """
    plan, lost = run.plan, list[Box]()

    def read(grown: Box) -> NDArray[np.float32]:
        raw, gone = read_image(run, time, channel, grown)
        values = scale_intensity(raw, *limits, bad=0.0)
        for chunk in gone:
            values[chunk.intersect(grown).slices(grown.start)] = 0.0
        lost.extend(gone)
        return values

    steps, threads = plan.prediction.prepare, plan.running.threads
    prepared = prepare_box(read, box, plan.image_shape, steps, threads=threads)
    return prepared, [chunk for chunk in lost if not chunk.intersect(box).empty]
