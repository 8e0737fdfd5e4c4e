"""Plans labels before anything is written: shapes, factors, scales, chunks and shards.

Labels have the levels and shapes of the image, so that viewers switch levels of both together. A label voxel has the
centre of the window that it stands for (`bigcp3d.pure.label.pooling`): ``translation_N = translation_0 + (scale_N -
scale_0) / 2``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bigcp3d.edge.image.image import ImageInfo, Level
from bigcp3d.edge.image.level_geometry import cumulated_factors, place_level
from bigcp3d.edge.stores import platforms
from bigcp3d.edge.stores.places import Place, is_address, place
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import BlockGrid, Float3, Vec3, float3, vec3

LABEL_DTYPES = ("uint32", "uint64")
CHUNK = 64
"""Largest side of a chunk in voxels; viewers are fast with it."""
BAD_NAME = re.compile(r"[/\\\x00-\x1f]|^\.|^__|^zarr\.json$|^\s|\s$")


@dataclass(frozen=True)
class LabelTarget:
    """Where labels go, and how they are stored."""

    image_path: str  # the image group they belong to
    group: str  # the group that gets ``labels/<name>``: the image's, or another store
    name: str
    version: str  # "0.4" in zarr 2, "0.5" or "0.6" in zarr 3
    zarr_format: int
    times: int | None  # length of the t axis; None where the image has none
    dtype: str  # "uint32" or "uint64"
    levels: tuple[Level, ...]  # finest first
    factors: tuple[Float3, ...]  # for each level, voxels of the level below per voxel; ones for the first
    chunk: Vec3  # stored pieces, at every level
    shard: Vec3  # unit of writing, at every level
    units: tuple[str | None, ...] = (None, None, None)  # of z, y, x in the image's words, also for the labels' scales
    axes: tuple[str, ...] = ("z", "y", "x")  # of the arrays, in their order; ours may have t before z

    @property
    def path(self) -> Place:
        """Folder of the labels group."""
        return place(self.group) / "labels" / self.name

    def grid(self, level: int) -> BlockGrid:
        """The shards of a level."""
        return BlockGrid(self.levels[level].shape, self.shard)


def plan_labels(
    image: ImageInfo, output: str | Place | None, name: str, *, dtype: str = "uint32", shard: Vec3, level: int = 0
) -> LabelTarget:
    """Plan the labels of an image; nothing is read or written. `InputError` for a name that cannot be used.

    ``output`` is another store that gets ``labels/<name>``, or None for the image's own group. The finest labels have
    the shape of ``level`` of the image. ``shard`` is the wanted unit of writing in voxels (`chunk_and_shard`).
    """
    if dtype not in LABEL_DTYPES:
        raise ValueError(f"labels of {dtype}; allowed are {' and '.join(LABEL_DTYPES)}")
    check_name(name)
    if output is None and is_read_only(image.path):
        raise InputError(
            f"{image.path}: this image is on a web server or in a zip archive, where no labels can be written; segment "
            "it into another store (--output: a local path or s3://), or copy it there first"
        )
    chunk, shard = chunk_and_shard(shard, image.levels[level].shape)
    cumulated = cumulated_factors(image)
    first = image.levels[0]
    levels, factors = [], []
    for i, stored in enumerate(image.levels[level:], start=level):
        fine, coarse = cumulated[max(i - 1, level)], cumulated[i]
        factors.append(float3(b / a for a, b in zip(fine, coarse, strict=True)))
        levels.append(place_level(str(i - level), stored.shape, first, coarse))
    return LabelTarget(
        image_path=image.path,
        group=image.path if output is None else str(place(output)),
        name=name,
        version="0.4" if image.zarr_format == 2 else "0.6" if image.version == "0.6" else "0.5",
        zarr_format=image.zarr_format,
        times=image.times if "t" in image.axes else None,
        dtype=dtype,
        levels=tuple(levels),
        factors=tuple(factors),
        chunk=chunk,
        shard=shard,
        units=image.units,
        axes=("t", "z", "y", "x") if "t" in image.axes else ("z", "y", "x"),
    )


def is_read_only(path: str | Place) -> bool:
    """Whether nothing can be written below a path: it is on a web server or in a zip archive."""
    return is_address(path) and not str(path).startswith("s3:")


def check_name(name: str) -> None:
    """Refuse names that point out of the store, are hidden, or clash with zarr's own files."""
    if not name or len(name.encode()) > 200 or BAD_NAME.search(name):
        raise InputError(
            f"{name!r} cannot be the name of labels; give a --name of 1 to 200 bytes, without / and \\. It must not "
            "start with a dot or with __, not start or end with a space, and not be zarr.json"
        )
    if platforms.WINDOWS and platforms.RESERVED.search(name):
        raise InputError(
            f'{name!r} cannot be the name of a folder on Windows; give a --name without < > : " | ? * and without '
            "a dot at the end. It must not be con, prn, aux, nul, com1 or lpt1"
        )


def chunk_and_shard(shard: Vec3, shape: Vec3) -> tuple[Vec3, Vec3]:
    """Chunks of at most 64 a side, and the shard as a multiple of them: the wanted one, or a few voxels more.

    A shard larger than the volume is cut to the volume first.
    """
    if min(shard) < 1:
        raise ValueError(f"shard {shard}; allowed are sides of 1 and more")
    sides = [min(a, s) for a, s in zip(shard, shape, strict=True)]
    counts = [-(-side // CHUNK) for side in sides]
    chunk = vec3(-(-side // n) for side, n in zip(sides, counts, strict=True))
    return chunk, vec3(c * n for c, n in zip(chunk, counts, strict=True))
