"""Reads all voxels of an image to find damaged chunks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.image.voxels import read_box, stored_chunk
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import BlockGrid, Vec3, vec3

THREADS = 4
BATCH = 256
"""Pieces that wait at a time; a large image has millions."""
PIECE_VOX = 2**22
"""Voxels that are read at a time, approximately."""


def find_torn_chunks(
    image: ImageInfo, on_piece: Callable[[int, int], None], on_voxels: Callable[[NDArray[Any]], None] = lambda _: None
) -> Iterator[str]:
    """Read every level, channel and time point; yield a message for each piece that cannot be read.

    ``on_piece`` is called after each piece with the number of pieces done and in all; ``on_voxels`` gets the voxels.
    """
    grids = [BlockGrid(level.shape, _piece(image, i)) for i, level in enumerate(image.levels)]
    total = sum(len(grid) for grid in grids) * image.times * image.channels
    pieces = (
        (level, index, channel, time)
        for level, grid in enumerate(grids)
        for time, channel in itertools.product(range(image.times), range(image.channels))
        for index in grid
    )

    def read(piece: tuple[int, Vec3, int, int]) -> str | None:
        level, index, channel, time = piece
        try:
            on_voxels(read_box(image, level, grids[level].core(index), channel=channel, time=time))
        except InputError as error:
            return str(error)
        return None

    done = 0
    with ThreadPoolExecutor(THREADS) as pool:
        while batch := list(itertools.islice(pieces, BATCH)):
            for fault in pool.map(read, batch):
                done += 1
                on_piece(done, total)
                if fault is not None:
                    yield fault


def _piece(image: ImageInfo, level: int) -> Vec3:
    """Shape of a piece: a chunk, or a row of small chunks."""
    z, y, x = chunk = stored_chunk(image, level)
    return vec3((z, y, x * max(1, PIECE_VOX // (z * y * x)))) if min(chunk) > 0 else chunk
