"""Opens a file or folder of another format with the reader for its kind, and says whether a file has changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bigcp3d.edge.convert.source import Source
from bigcp3d.edge.image.open_node import metadata_file
from bigcp3d.edge.image.other_formats import HDF5, IMARIS, MICROSCOPE, N5, PLANES, READABLE, TIFF, planes_in, recognise
from bigcp3d.edge.stores.places import refuse_address
from bigcp3d.edge.stores.platforms import join_words
from bigcp3d.errors import InputError


@contextmanager
def open_source(path: str | Path, *, series: str | int | None = None, dataset: str | None = None) -> Iterator[Source]:
    """Open a volume of another format; `InputError` where it is none that can be converted, or cannot be read."""
    refuse_address(path, "a file to convert", "copy it to a local folder")
    path = Path(path).expanduser().absolute()
    if not path.exists():
        raise InputError(f"{path}: there is nothing at this path; give a file or a folder of planes")
    if metadata_file(path):
        command = join_words(["bigcp3d", "info", str(path)])
        raise InputError(f"{path}: this is a zarr store already; {command} describes it")
    kind, words, advice = recognise(path)
    if kind is None:
        cure = advice or f"give a file or a folder of one of these formats: {READABLE}"
        raise InputError(f"{path}: this is {words or 'a folder without an image'}, and cannot be converted; {cure}")
    if dataset is not None and kind not in (HDF5, N5):
        raise InputError(f"{path}: this is {words}, and only HDF5 and N5 have a --dataset; leave it out")
    if series is not None and kind not in (TIFF, MICROSCOPE):
        raise InputError(f"{path}: this is {words}, which has no --series; leave it out")
    source = _open(kind, path, words, series=series, dataset=dataset)
    try:
        yield source
    finally:
        source.close()


def _open(kind: str, path: Path, words: str, *, series: str | int | None, dataset: str | None) -> Source:
    """The reader is imported when a file needs it."""
    if kind == TIFF:
        from bigcp3d.edge.convert.tiff import open_tiff

        return open_tiff(path, series)
    if kind == PLANES:
        from bigcp3d.edge.convert.planes import open_planes

        return open_planes(path)
    if kind == IMARIS:
        from bigcp3d.edge.convert.imaris import open_imaris

        return open_imaris(path)
    if kind == HDF5:
        from bigcp3d.edge.convert.hdf5 import open_hdf5

        return open_hdf5(path, dataset)
    if kind == N5:
        from bigcp3d.edge.convert.n5 import open_n5

        return open_n5(path, dataset)
    from bigcp3d.edge.convert.with_bioio import open_with_bioio

    return open_with_bioio(path, words, series)


def stamp(path: str | Path, dataset: str | None = None) -> dict[str, Any]:
    """Name, size and last change of a file, or of all files that are read in a folder: equal while none was changed.

    ``dataset`` is the one that is read, in a folder that holds several (N5).
    """
    path = Path(path).expanduser().absolute()
    size, number, digest = 0, 0, hashlib.sha256()  # an N5 dataset may have millions of files, so no list is kept
    for name, status in _files(path, dataset):
        size, number = size + status.st_size, number + 1
        digest.update(repr((name, status.st_size, status.st_mtime_ns)).encode())
    return {"name": path.name, "bytes": size, "files": number, "sizes_and_times_sha256": digest.hexdigest()}


def _files(path: Path, dataset: str | None) -> Iterator[tuple[str, os.stat_result]]:
    """The files that are read, in a fixed order."""
    if path.is_file():
        yield path.name, path.stat()
    elif recognise(path)[0] == PLANES:
        yield from ((file.name, file.stat()) for file in planes_in(path))
    else:
        yield from _files_below(path / str(dataset or ""))


def _files_below(folder: Path, inside: str = "") -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files_below(folder / entry.name, f"{inside}{entry.name}/")
        elif entry.is_file():
            yield inside + entry.name, entry.stat()
