"""Makes zarr groups and arrays, and writes whole pieces of them.

Invariant: one call writes whole shards (or chunks, in zarr 2), so that two writers never share a stored object: in
one shard they would lose each other's data. Pieces that are all zero are not stored.
"""

from __future__ import annotations

import errno
import itertools
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from bigcp3d.edge.stores.atomic_files import sync_file
from bigcp3d.edge.stores.connections import describe_error, is_remote_error
from bigcp3d.edge.stores.places import Place, zarr_store
from bigcp3d.edge.stores.remote import Remote
from bigcp3d.errors import BigCP3DError, InputError, TargetError
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
    raise TypeError(f"{value!r} of {type(value)} cannot be written as JSON")


def make_array(
    path: Place,
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
    of_format: dict[str, Any] = {"shards": lead + outer, "compressors": ZstdCodec(level=ZSTD_LEVEL)}
    of_format["dimension_names"] = tuple(axes)
    if zarr_format == 2:
        of_format = {"compressors": BLOSC_ZSTD, "chunk_key_encoding": {"name": "v2", "separator": "/"}}
    common: dict[str, Any] = {"dtype": dtype, "chunks": lead + inner, "fill_value": 0, "zarr_format": zarr_format}
    zarr.create_array(zarr_store(path), shape=tuple(shape), **common, **of_format)


def write_whole(
    array_path: Place, zarr_format: int, lead: tuple[int, ...], box: Box, values: NDArray[Any], unit: Vec3
) -> None:
    """Write a box of whole units of writing; `TargetError` where the disk is full or the store cannot be written.

    `ValueError` where the box is not made of whole units, or values have another shape or dtype than their place.
    """
    array = zarr.open_array(zarr_store(array_path), mode="r+", zarr_format=zarr_format)  # type: ignore[arg-type]
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
    with writing(array_path):
        array[index] = np.ascontiguousarray(values)


def sync_box(array_path: Place, zarr_format: int, lead: tuple[int, ...], box: Box) -> None:
    """Let what was written of a box survive a power cut. An object store has said so when it took the object."""
    if isinstance(array_path, Remote):
        return
    array = zarr.open_array(zarr_store(array_path), mode="r", zarr_format=zarr_format)  # type: ignore[arg-type]
    sides = zip(box.start, box.stop, (array.shards or array.chunks)[-3:], strict=True)
    for index in itertools.product(*(range(a // side, -(-b // side)) for a, b, side in sides)):
        sync_file(array_path / array.metadata.encode_chunk_key((*lead, *index)))


@contextmanager
def writing(path: Place) -> Iterator[None]:
    """Turn errors of a disk or an object store into `TargetError`."""
    try:
        yield
    except BigCP3DError:
        raise
    except Exception as error:
        if is_remote_error(error):
            raise TargetError(f"{path}: cannot be written: {describe_error(error)}") from None
        if isinstance(error, OSError):
            raise write_error(path, error) from error
        raise


def write_error(path: Place, error: OSError) -> TargetError:
    """What an error of the file system means for the user."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    cure = "free space and run the same command again" if full else "check the permissions and the disk"
    return TargetError(f"{path}: cannot be written: {error.strerror or error}; {cure}")


def is_group(path: Place) -> bool:
    """Whether a folder is a zarr group (or, in zarr 3, an array)."""
    return (path / "zarr.json").is_file() or (path / ".zgroup").is_file()


def _is_group_above(path: Place) -> bool:
    """The same for a folder that may be none of ours: not, where an object store does not let us look."""
    try:
        return is_group(path)
    except InputError:
        return False


def edit_group(path: Place, zarr_format: int, attributes: Mapping[str, Any]) -> zarr.Group:
    """Set attributes of a group, keeping others; the group is made where it is missing."""
    return edit_attributes(path, zarr_format, lambda old: {**old, **attributes})


def edit_attributes(
    path: Place, zarr_format: int, edit: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> zarr.Group:
    """Replace the attributes of a group by what ``edit`` makes of them; the group is made where it is missing.

    In an object store, what others change meanwhile is not lost (`Remote.edit_json`), so ``edit`` may run repeatedly.
    """
    if isinstance(path, Remote):
        _edit_remote(path, zarr_format, edit)
    group = zarr.open_group(zarr_store(path), mode="a", zarr_format=zarr_format, use_consolidated=False)  # type: ignore[arg-type]
    old = group.attrs.asdict()
    new = plain_json(edit(old))
    if new != old and not isinstance(path, Remote):
        group.attrs.put(new)
    return group


def _edit_remote(path: Remote, zarr_format: int, edit: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
    if zarr_format == 2:
        if not (path / ".zgroup").is_file():
            (path / ".zgroup").write_bytes(b'{"zarr_format": 2}')
        (path / ".zattrs").edit_json(lambda old: plain_json(edit(old)))
        return
    empty = {"zarr_format": 3, "node_type": "group", "attributes": {}}
    (path / "zarr.json").edit_json(
        lambda old: {**empty, **old, "attributes": plain_json(edit(old.get("attributes") or {}))}
    )


def _is_consolidated(path: Place) -> bool:
    """Whether a group carries copies of its members' metadata."""
    if (path / ".zmetadata").is_file():
        return True
    try:
        return json.loads((path / "zarr.json").read_bytes()).get("consolidated_metadata") is not None
    except (OSError, ValueError):
        return False


@contextmanager
def keeping_consolidated(path: Place) -> Iterator[None]:
    """Renew consolidated metadata of a group, and of those that hold it, after members changed.

    Readers that trust consolidated metadata would not see the new members otherwise.
    """
    chain: list[Place] = [path, *path.parents]
    groups = [p for p in chain if _is_group_above(p)]
    stale = [p for p in groups if _is_consolidated(p)]
    yield
    for group in stale:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Consolidated metadata")
            zarr.consolidate_metadata(zarr_store(group), zarr_format=3 if (group / "zarr.json").is_file() else 2)
