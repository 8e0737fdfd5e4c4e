"""Measures the cells of labels block by block.

`plan_measurement` decides what is read and in which blocks; `measure_block` reads one block with one voxel around it.
`sum_box` reads labels alone, one block after the other.
Sums of blocks add up, so no number depends on the blocks, and memory holds one block and one row a cell.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo, open_image, open_labels
from bigcp3d.edge.image.level_geometry import with_told_scale
from bigcp3d.edge.image.same_grid import at_level, check_same_grid, with_place_of
from bigcp3d.edge.image.voxels import check_channel, read_box, stored_chunk
from bigcp3d.edge.labels.default_name import DEFAULT_NAME
from bigcp3d.edge.labels.image_and_labels import matching_level, source_image
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import BlockGrid, Box, Vec3, block_of_chunks
from bigcp3d.pure.cells.cell_sums import CellSums, merge_cell_sums, sum_cells
from bigcp3d.pure.cells.cell_table import Channel, Columns, tabulate_cells
from bigcp3d.pure.plural import count
from bigcp3d.pure.score.overlaps import merge_gradually

BLOCK_VOX = 2**24
"""Most voxels of a block; a worker holds 15 to 20 bytes for each."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measurement:
    """What is measured; it is sent to workers.

    ``level`` of the image has the shape of the labels; ``image`` is None where no intensities are measured.
    ``indices`` are the numbers of ``channels`` in the image. A block is whole chunks of the labels,
    if these are not too large.
    """

    labels: ImageInfo
    image: ImageInfo | None
    level: int
    indices: tuple[int, ...]
    channels: tuple[Channel, ...]
    block: Vec3

    @property
    def grid(self) -> BlockGrid:
        """The blocks."""
        return BlockGrid(self.labels.levels[0].shape, self.block)

    def merge(self, parts: Iterable[CellSums]) -> CellSums:
        """Add up blocks as they come; holds little more than the sum."""
        digits = sum(len(channel.digits) for channel in self.channels)
        return merge_gradually(parts, lambda tables: merge_cell_sums(tables, digits))

    def read_light(self, box: Box, time: int) -> list[NDArray[np.generic]]:
        """The intensities of a box, for each channel."""
        if self.image is None:
            return []
        return [read_box(self.image, self.level, box, channel=index, time=time) for index in self.indices]

    def tabulate(self, cells: CellSums) -> Columns:
        """The table of a time point."""
        level = self.labels.levels[0]
        return tabulate_cells(
            cells, level.shape, self.channels, scale_um=level.scale_um, translation_um=level.translation_um
        )


def plan_measurement(
    store: str | Path,
    name: str = DEFAULT_NAME,
    *,
    image: str | Path | None = None,
    channel: int | str | Sequence[int | str] | None = None,
    block: Vec3 | None = None,
) -> Measurement:
    """Open labels and their image, and decide on the blocks.

    Intensities are those of ``image``, else of the image that the labels belong to: of all its channels, or of
    ``channel`` (none where that is empty). Only tests give a ``block``.
    """
    channels = (channel,) if isinstance(channel, int | str) else channel
    stored = open_labels(store, name)
    labels = with_told_scale(stored)
    found = open_image(image) if image is not None else source_image(labels)
    level = None if found is None else matching_level(labels, found)
    if found is not None and level is None:
        text = (
            f"{labels.path} has {labels.levels[0].shape} voxels (z, y, x) and {count(labels.times, 'time point')}; no "
            f"level of {found.path} has as many"
        )
        if image is not None or channels:
            raise InputError(f"{text}; give the image of these labels")
        log.warning("%s, so no intensities are measured", text)
    if found is not None and level is not None:
        check_same_grid(stored, at_level(found, level), belong=image is None)
        labels = labels if labels.levels[0].scale_um else with_place_of(labels, found)
    block = block or block_grid(labels, labels.levels[0].shape).block
    if found is None or level is None:
        if channels:
            raise InputError(f"{labels.path}: there is no image whose channels could be measured; give --image")
        return Measurement(labels, None, 0, (), (), block)
    wanted = range(found.channels) if channels is None else channels
    indices = tuple(check_channel(found, channel) for channel in wanted)
    chosen = tuple(Channel(_name_of(found, index), found.dtype) for index in indices)
    return Measurement(labels, found if indices else None, level, indices, chosen, block)


def _name_of(image: ImageInfo, index: int) -> str:
    """How the columns of a channel call it; without spaces, and with its number if another channel has this name."""
    names = ["_".join(name.split()) for name in image.channel_names]
    name = names[index] if names else f"channel{index}"
    return f"{name}#{index}" if names.count(name) > 1 else name


def measure_block(what: Measurement, time: int, index: Vec3) -> CellSums:
    """Sums of one block."""
    core = what.grid.core(index)
    shape = what.labels.levels[0].shape
    around = _read_around(what.labels, core, Box.of_shape(shape), time)
    return sum_cells(around, core.start, shape, what.read_light(core, time))


def _read_around(labels: ImageInfo, core: Box, whole: Box, time: int) -> NDArray[np.integer]:
    """Labels of a box and one voxel around it, 0 beyond ``whole``."""
    around = core.grow(1)
    seen = around.intersect(whole)
    return np.pad(read_box(labels, 0, seen, time=time), around.margins(seen))


def block_grid(labels: ImageInfo, shape: Vec3) -> BlockGrid:
    """Blocks of a box with ``shape`` voxels: whole chunks of the labels, if these are not too large."""
    return BlockGrid(shape, block_of_chunks(stored_chunk(labels, 0), shape, BLOCK_VOX))


def sum_box(labels: ImageInfo, box: Box, time: int) -> CellSums:
    """Sums over the cells in a box of labels, read block by block; the box counts as the whole volume."""
    grid, shape = block_grid(labels, box.shape), labels.levels[0].shape
    cores = (grid.core(index).shift(box.start) for index in grid)
    parts = (sum_cells(_read_around(labels, core, box, time), core.start, shape, []) for core in cores)
    return merge_gradually(parts, lambda tables: merge_cell_sums(tables, 0))


def warn_of_unknown(path: str, voxels: int) -> None:
    """Say how many voxels of labels were left out, because their id is negative."""
    if voxels:
        log.warning("%s: %d voxels have a negative id, as if not annotated; they are left out", path, voxels)
