"""Opens a file or folder of another format with the reader for its kind, and says whether a file has changed."""

from __future__ import annotations

import hashlib
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
def open_source(
    path: str | Path, *, series: str | int | None = None, dataset: str | None = None
) -> Iterator[Source]:
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


def stamp(path: str | Path) -> dict[str, Any]:
    """Name, size and last change of a file, or of all files that are read in a folder: equal while none was changed."""
    path = Path(path).expanduser().absolute()
    files = [path] if path.is_file() else planes_in(path) or sorted(f for f in path.rglob("*") if f.is_file())
    sizes = [(str(file.relative_to(path)), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return {
        "name": path.name,
        "bytes": sum(size for _, size, _ in sizes),
        "files": len(files),
        "sizes_and_times_sha256": hashlib.sha256(repr(sizes).encode()).hexdigest(),
    }
