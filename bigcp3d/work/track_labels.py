"""Writes labels whose ids are tracks: a cell has one number at all time points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.image.voxels import read_box, stored_chunk
from bigcp3d.edge.labels.label_plan import LabelTarget, plan_labels
from bigcp3d.edge.labels.labels import create_labels, finish_labels, write_label_box
from bigcp3d.edge.stores.places import place
from bigcp3d.pure.boxes import BlockGrid, block_of_chunks
from bigcp3d.pure.lineage.tracks import Tracks
from bigcp3d.version import __version__

SHARD_VOX = 2**23
"""Most voxels that are written at a time, about."""


def plan_track_labels(labels: ImageInfo, name: str) -> LabelTarget:
    """Plan ``labels/<name>`` beside some labels, with their levels; no voxel is read and nothing is written.

    A shard is whole chunks of the labels, so that each chunk is decoded once.
    """
    group = str(place(labels.path).parent.parent)
    shard = block_of_chunks(stored_chunk(labels, 0), labels.levels[0].shape, SHARD_VOX)
    return replace(plan_labels(labels, group, name, shard=shard), image_path=group)


def write_track_labels(
    labels: ImageInfo, target: LabelTarget, ids: Sequence[NDArray[np.uint64]], tracks: Tracks, *, overwrite: bool
) -> None:
    """Write the labels, shard by shard; readers find them when they are complete.

    ``ids`` are those of the cells of each time point, ascending; ``tracks`` are theirs. Coarser levels take the track
    of the cell that the labels have there.
    """
    create_labels(target, overwrite=overwrite)
    for time, (known, track) in enumerate(zip(ids, tracks.of_cells, strict=True)):
        for level, stored in enumerate(target.levels):
            grid = BlockGrid(stored.shape, target.shard)
            for index in grid:
                found = read_box(labels, level, grid.core(index), time=time)
                row = np.searchsorted(known, found.clip(0).astype(np.uint64)).clip(max=len(known) - 1)
                same = known[row] == found if len(known) else np.zeros(found.shape, bool)
                now = np.where(same, track[row] if len(known) else 0, 0).astype(target.dtype)
                write_label_box(target, level, grid.core(index), now, time=time)
    how = {"version": __version__, "tracks_of": place(labels.path).name, "cells": len(tracks)}
    finish_labels(target, attributes={"bigcp3d": how})
