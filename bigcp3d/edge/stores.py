"""Making zarr groups and arrays, and writing whole pieces of them.

Invariant: one call writes whole shards (or chunks, in zarr 2), so that two writers never share a stored object: in
one shard they would lose each other's data. Pieces that are all zero are not stored.
"""

from __future__ import annotations

import errno
import itertools
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from bigcp3d.edge.tables import sync_file
from bigcp3d.errors import TargetError
from bigcp3d.pure.boxes import Box, Vec3

ZSTD_LEVEL = 3
BLOSC_ZSTD: dict[str, Any] = {"id": "blosc", "cname": "zstd", "clevel": ZSTD_LEVEL, "shuffle": 1, "blocksize": 0}
"""Zstd for zarr 2; shuffled, since that shrinks labels most."""
Index = tuple[int | slice, ...]


def plain_json(value: Any) -> Any:
    """A value as JSON knows it: tuples as lists, numpy numbers as Python's."""
    return json.loads(json.dumps(value, default=_plain))


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"found {value!r} of {type(value)}; allowed is what JSON knows, and numpy numbers and arrays")


def make_array(
    path: Path,
    shape: Sequence[int],
    dtype: str,
    *,
    axes: Sequence[str],
    chunk: Vec3,
    shard: Vec3,
    zarr_format: int,
) -> None:
    """Make an empty array over the axes, with chunks and shards of one index on axes before z.

    Chunks and shards larger than the array are cut to it.
    """
    lead = (1,) * (len(shape) - 3)
    inner = tuple(min(c, s) for c, s in zip(chunk, shape[-3:], strict=True))
    outer = tuple(i if i == s else b for i, s, b in zip(inner, shape[-3:], shard, strict=True))
    if zarr_format == 2:
        zarr.create_array(
            path,
            shape=tuple(shape),
            dtype=dtype,
            chunks=lead + inner,
            compressors=BLOSC_ZSTD,
            fill_value=0,
            zarr_format=2,
            chunk_key_encoding={"name": "v2", "separator": "/"},
        )
        return
    zarr.create_array(
        path,
        shape=tuple(shape),
        dtype=dtype,
        chunks=lead + inner,
        shards=lead + outer,
        compressors=ZstdCodec(level=ZSTD_LEVEL),
        fill_value=0,
        zarr_format=3,
        dimension_names=tuple(axes),
    )


def write_whole(
    array_path: Path, zarr_format: int, lead: tuple[int, ...], box: Box, values: NDArray[Any], unit: Vec3
) -> None:
    """Write a box of whole units of writing.

    Raises
    ------
    ValueError
        Where the box is not made of whole units, or values have another shape or dtype than their place.
    TargetError
        Where the disk is full or the store cannot be written.
    """
    array = zarr.open_array(str(array_path), mode="r+", zarr_format=zarr_format)  # type: ignore[arg-type]
    shape = array.shape[-3:]
    whole = all(
        a % u == 0 and (b == s or b % u == 0) and 0 <= a < b <= s
        for a, b, u, s in zip(box.start, box.stop, unit, shape, strict=True)
    )
    if not whole:
        raise ValueError(f"{array_path}: box {box.start} to {box.stop} of shape {shape} is not made of whole {unit}")
    if values.shape != box.shape or values.dtype != array.dtype:
        raise ValueError(
            f"{array_path}: {values.dtype} of shape {values.shape} for {array.dtype} of shape {box.shape} in {box}"
        )
    index: Index = (*lead, *box.slices())
    try:
        array[index] = np.ascontiguousarray(values)
    except OSError as error:
        raise write_error(array_path, error) from error


def sync_box(array_path: Path, zarr_format: int, lead: tuple[int, ...], box: Box) -> None:
    """Let what was written of a box survive a power cut, before a record says that it is there."""
    array = zarr.open_array(str(array_path), mode="r", zarr_format=zarr_format)  # type: ignore[arg-type]
    sides = zip(box.start, box.stop, (array.shards or array.chunks)[-3:], strict=True)
    for index in itertools.product(*(range(a // side, -(-b // side)) for a, b, side in sides)):
        sync_file(array_path / array.metadata.encode_chunk_key((*lead, *index)))


def write_error(path: Path, error: OSError) -> TargetError:
    """What an error of the file system means for the user."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    cure = "free space and run the same command again" if full else "check the permissions and the disk"
    return TargetError(f"{path}: cannot be written: {error.strerror or error}; {cure}")


def is_group(path: Path) -> bool:
    """Whether a folder is a zarr group (or, in zarr 3, an array)."""
    return (path / "zarr.json").exists() or (path / ".zgroup").exists()


def edit_group(path: Path, zarr_format: int, attributes: Mapping[str, Any]) -> zarr.Group:
    """Set attributes of a group, keeping others; the group is made where it is missing."""
    group = zarr.open_group(
        str(path),
        mode="a",
        zarr_format=zarr_format,  # type: ignore[arg-type]
        use_consolidated=False,
    )
    if attributes:
        group.update_attributes(plain_json(attributes))
    return group


def _is_consolidated(path: Path) -> bool:
    """Whether a group carries copies of its members' metadata."""
    if (path / ".zmetadata").exists():
        return True
    try:
        return json.loads((path / "zarr.json").read_bytes()).get("consolidated_metadata") is not None
    except (OSError, ValueError):
        return False


@contextmanager
def keeping_consolidated(path: Path) -> Iterator[None]:
    """Renew consolidated metadata of a group, and of those that hold it, after members changed.

    Readers that trust consolidated metadata would not see the new members otherwise.
    """
    chain = [path, *path.parents]
    groups = [p for p in chain if is_group(p)]
    stale = [p for p in groups if _is_consolidated(p)]
    yield
    for group in stale:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Consolidated metadata")
            zarr.consolidate_metadata(str(group), zarr_format=3 if (group / "zarr.json").exists() else 2)
