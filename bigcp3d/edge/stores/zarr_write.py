"""Makes zarr groups and arrays, and writes whole shards of them.

Invariant: a run writes whole shards (chunks in zarr 2), since two writers of one shard would lose each other's data.
Only corrections write parts of shards. They hold the lock of the labels.
Shards of labels that are all zero are not stored. Those of images are, so that a lost one is noticed.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from bigcp3d.edge.stores import platforms
from bigcp3d.edge.stores.atomic_files import sync_file
from bigcp3d.edge.stores.axis_order import from_zyx, index_of, piece_index, spatial
from bigcp3d.edge.stores.connections import describe_error, is_remote_error
from bigcp3d.edge.stores.full_disk import FULL, full_disk_error
from bigcp3d.edge.stores.places import Place, zarr_store
from bigcp3d.edge.stores.remote import Remote
from bigcp3d.errors import BigCP3DError, TargetError
from bigcp3d.pure.boxes import BlockGrid, Box, Vec3

ZSTD_LEVEL = 3
BLOSC_ZSTD: dict[str, Any] = {"id": "blosc", "cname": "zstd", "clevel": ZSTD_LEVEL, "shuffle": 1, "blocksize": 0}
"""Codec for zarr 2; shuffling makes labels smallest."""


def plain_json(value: Any) -> Any:
    """A value as JSON holds it: tuples become lists, numpy numbers become Python's."""
    return json.loads(json.dumps(value, default=_plain))


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{value!r} of {type(value)} cannot be written as JSON")


def make_array(
    path: Place, shape: Sequence[int], dtype: str, *, axes: Sequence[str], chunk: Vec3, shard: Vec3, zarr_format: int
) -> None:
    """Make an empty array; chunks and shards have length 1 on axes before z, and are cut to the array's shape."""
    lead = (1,) * (len(shape) - 3)
    inner = tuple(min(c, s) for c, s in zip(chunk, shape[-3:], strict=True))
    outer = tuple(i if i == s else b for i, s, b in zip(inner, shape[-3:], shard, strict=True))
    more: dict[str, Any] = {"dtype": dtype, "chunks": lead + inner, "fill_value": 0, "zarr_format": zarr_format}
    if zarr_format == 2:
        more |= {"compressors": BLOSC_ZSTD, "chunk_key_encoding": {"name": "v2", "separator": "/"}}
    else:
        more |= {"shards": lead + outer, "compressors": ZstdCodec(level=ZSTD_LEVEL), "dimension_names": tuple(axes)}
    zarr.create_array(zarr_store(path), shape=tuple(shape), **more)


def write_whole(
    array_path: Place,
    zarr_format: int,
    axes: Sequence[str],
    box: Box,
    values: NDArray[Any],
    *,
    channel: int = 0,
    time: int = 0,
    sync: bool = False,
    keep_empty: bool = False,
) -> None:
    """Write a box (z, y, x) of whole shards (chunks in zarr 2); `TargetError` for a full disk or an unwritable store.

    `ValueError` where the box is not made of whole shards, or the values do not have its shape and the array's dtype.
    With ``sync``, what was written would survive a power cut. With ``keep_empty``, pieces of nothing but the fill value
    are stored too.
    """
    array = open_to_write(array_path, zarr_format, keep_empty=keep_empty)
    shape, unit = spatial(axes, array.shape), spatial(axes, array.shards or array.chunks)
    whole = all(
        a % u == 0 and (b == s or b % u == 0) and 0 <= a < b <= s
        for a, b, u, s in zip(box.start, box.stop, unit, shape, strict=True)
    )
    if not whole:
        raise ValueError(f"{array_path}: box {box.start} to {box.stop} of shape {shape} is not made of whole {unit}")
    _write_box(array_path, array, axes, box, values, channel=channel, time=time, sync=sync)


def write_part(
    array_path: Place, zarr_format: int, axes: Sequence[str], box: Box, values: NDArray[Any], *, time: int = 0
) -> None:
    """Write any box (z, y, x) so that it would survive a power cut; errors as `write_whole`.

    Shards that the box meets are read and written again, so nobody else may write to them meanwhile.
    """
    array = open_to_write(array_path, zarr_format)
    _write_box(array_path, array, axes, box, values, channel=0, time=time, sync=True)


def open_to_write(path: Place, zarr_format: int, *, keep_empty: bool = False) -> zarr.Array[Any]:
    """Open an array; with ``keep_empty``, pieces of nothing but the fill value that are written are stored too."""
    config = {"write_empty_chunks": keep_empty}  # `zarr.open_array` does not take it
    return cast("zarr.Array[Any]", zarr.open(zarr_store(path), mode="r+", zarr_format=zarr_format, config=config))  # type: ignore[arg-type]


def _write_box(
    path: Place,
    array: zarr.Array[Any],
    axes: Sequence[str],
    box: Box,
    values: NDArray[Any],
    *,
    channel: int,
    time: int,
    sync: bool,
) -> None:
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if values.shape != box.shape or values.dtype != array.dtype.newbyteorder("="):
        raise ValueError(f"{path}: {values.dtype} of shape {values.shape} for {array.dtype} of shape {box.shape}")
    index: Any = index_of(axes, channel, time, box.slices())
    with writing(path):
        array[index] = np.ascontiguousarray(from_zyx(axes, values))
        if sync and isinstance(path, Path):  # an object store does so by itself
            sides = array.shards or array.chunks
            for piece in BlockGrid(spatial(axes, array.shape), spatial(axes, sides)).touching(box):
                key = array.metadata.encode_chunk_key(piece_index(axes, sides, channel, time, piece))
                sync_file(path / key)


@contextmanager
def writing(path: Place) -> Iterator[None]:
    """Turn errors of the disk or the object store into `TargetError`."""
    try:
        yield
    except BigCP3DError:
        raise
    except Exception as error:
        if is_remote_error(error):
            raise TargetError(f"{path}: cannot be written: {describe_error(error)}") from None
        if not isinstance(error, OSError):
            raise
        if error.errno in FULL and isinstance(path, Path):
            raise full_disk_error(path, error) from error
        raise TargetError(
            f"{path}: cannot be written: {error.strerror or error}; check the permissions and the disk"
        ) from error


def is_group(path: Place) -> bool:
    """Whether a folder is a zarr group (or, in zarr 3, an array)."""
    return (path / "zarr.json").is_file() or (path / ".zgroup").is_file()


def edit_group(path: Place, zarr_format: int, attributes: Mapping[str, Any]) -> zarr.Group:
    """Set attributes of a group and keep all others; a missing group is made."""
    return edit_attributes(path, zarr_format, lambda old: {**old, **attributes})


def edit_attributes(
    path: Place, zarr_format: int, edit: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> zarr.Group:
    """Replace the attributes of a group by what ``edit`` makes of them; a missing group is made.

    Changes by others at the same time are not lost. In an object store ``edit`` may run several times for that
    (`Remote.edit_json`).
    """
    if isinstance(path, Remote):
        _edit_remote(path, zarr_format, edit)
        return _open_group(path, zarr_format)
    path.mkdir(parents=True, exist_ok=True)
    with platforms.folder_locked(path):
        group = _open_group(path, zarr_format)
        old = group.attrs.asdict()
        new = plain_json(edit(old))
        if new != old:
            group.attrs.put(new)
            sync_file(path / ("zarr.json" if zarr_format == 3 else ".zattrs"))
    return group


def _open_group(path: Place, zarr_format: int) -> zarr.Group:
    return zarr.open_group(zarr_store(path), mode="a", zarr_format=zarr_format, use_consolidated=False)  # type: ignore[arg-type]


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
    """Whether a folder is a group with consolidated metadata: copies of its members' metadata."""
    for name, key in (("zarr.json", "consolidated_metadata"), (".zmetadata", "metadata")):
        with suppress(OSError, ValueError):  # also where an object store denies access, as it may above our folders
            if json.loads((path / name).read_bytes()).get(key) is not None:
                return True
    return False


@contextmanager
def keeping_consolidated(path: Place) -> Iterator[None]:
    """Renew consolidated metadata of a group and of groups above it, or readers would not see the new members."""
    chain: list[Place] = [path, *path.parents]
    stale = [group for group in chain if _is_consolidated(group)]
    yield
    for group in stale:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Consolidated metadata")
            zarr.consolidate_metadata(zarr_store(group), zarr_format=3 if (group / "zarr.json").is_file() else 2)
