"""Counts the stored chunks of an array by listing its folder; nothing is read, and only counts are kept."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

from bigcp3d.edge.image.chunk_sizes import piece_counts
from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.image.voxels import open_level
from bigcp3d.edge.stores.places import files_below, place

METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")


@dataclass(frozen=True)
class StoredChunks:
    """The files of an array, against what its metadata say."""

    pieces: str  # "chunks", or "shards" where there are some
    stored: int  # found where the metadata lead to
    expected: int
    dead: int  # links to what is not there, as git-annex leaves them; reading one is an error
    others: int  # files that the metadata do not lead to
    example: str | None  # one of them

    @property
    def missing(self) -> int:
        """Pieces that are not stored, which are read as the fill value."""
        return self.expected - self.stored - self.dead


def count_chunks(image: ImageInfo, level: int) -> StoredChunks | None:
    """Stored and missing chunks of a level; None on a web server, which lists nothing."""
    array = open_level(image, level)
    spot = place(image.path) / image.levels[level].path
    files = files_below(spot)
    if files is None:
        return None
    counts = piece_counts(array)
    first = array.metadata.encode_chunk_key((0,) * array.ndim)
    name = re.compile(re.sub(r"(?<!\d)0(?!\d)", r"(0|[1-9]\\d*)", re.escape(first)))
    stored, dead, others, example = 0, 0, 0, None
    for file in files:
        found = name.fullmatch(file)
        if found is not None and all(int(index) < n for index, n in zip(found.groups(), counts, strict=True)):
            gone = isinstance(spot, Path) and not os.path.exists(spot / file)
            stored, dead = stored + (not gone), dead + gone
        elif file.rpartition("/")[2] not in METADATA and not file.rpartition("/")[2].startswith("."):
            others, example = others + 1, example or file
    return StoredChunks("shards" if array.shards else "chunks", stored, math.prod(counts), dead, others, example)
