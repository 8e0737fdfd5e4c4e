"""From stored maps to stored labels, and what the codecs cost: ``python -m tests.benchmarks.through_zarr``.

The run is `bigcp3d.segment` with given maps, in one process and one thread; its passes read and write real files.
Bytes on disk are by voxel of the volume, bytes read and written by each pass (uncompressed) as well, halos included.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, ZstdCodec

import bigcp3d
from bigcp3d.edge.image.new_image import create_image, write_image_box
from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.pure.track.tracking import track
from bigcp3d.schedule.running import serial
from bigcp3d.work.passes.passes import perform
from tests.benchmarks.cases import RADIUS, make_case
from tests.benchmarks.report import Row, show, spend, write_json

CODECS: dict[str, Any] = {
    "none": None,
    "zstd 1": ZstdCodec(level=1),
    "zstd 3": ZstdCodec(level=3),
    "zstd 9": ZstdCodec(level=9),
    **{
        f"blosc {name} {level} {shuffle}": BloscCodec(cname=name, clevel=level, shuffle=shuffle, typesize=1)  # type: ignore[arg-type]
        for name, level in (("lz4", 5), ("zstd", 1), ("zstd", 3))
        for shuffle in ("noshuffle", "bitshuffle")
    },
}


PIPELINES = {
    "zarr": "zarr.core.codec_pipeline.BatchedCodecPipeline",
    "zarr, fused": "zarr.core.codec_pipeline.FusedCodecPipeline",
    "zarrs": "zarrs.ZarrsCodecPipeline",
}
"""What packs and unpacks the chunks of a shard. Later versions of zarr have the second; the third is a package."""


def pipelines() -> dict[str, str]:
    """Those of `PIPELINES` that are installed."""
    found = {}
    for name, path in PIPELINES.items():
        module, _, member = path.rpartition(".")
        with suppress(ImportError):
            if hasattr(import_module(module), member):
                found[name] = path
    return found


def codecs(values: NDArray[np.int8], folder: Path) -> list[Row]:
    """Size and speed of a shard with chunks of 64 voxels a side, by codec and pipeline."""
    rows, voxels = [], values[0].size
    for pipeline, implementation in pipelines().items():
        with zarr.config.set({"codec_pipeline.path": implementation}):
            for name, codec in CODECS.items():
                path = folder / "codec"
                chunks = (len(values), *(min(64, s) for s in values.shape[1:]))
                array = zarr.create_array(
                    path, shape=values.shape, shards=values.shape, chunks=chunks, dtype="int8", compressors=codec
                )

                def write(array: zarr.Array[Any] = array) -> None:
                    array[:] = values

                write_s = spend(write, 3)[1]["cpu_s"]
                back, read = spend(lambda array=array: array[:], 3)  # type: ignore[misc]
                assert np.array_equal(back, values)
                rows.append(
                    {
                        "codec": name,
                        "pipeline": pipeline,
                        "bytes/voxel": disk_bytes(path) / voxels,
                        "write Mvoxel/cpu_s": voxels / write_s / 1e6,
                        "read Mvoxel/cpu_s": voxels / read["cpu_s"] / 1e6,
                    }
                )
                shutil.rmtree(path)
    return rows


def disk_bytes(path: Path) -> int:
    """Bytes of all files under a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


@contextmanager
def counted(passes: dict[str, Row]) -> Iterator[None]:
    """Seconds of every pass of a serial run, and bytes of arrays that it reads and writes, as they are in memory."""
    moved = {"read": 0, "written": 0}
    get, put = zarr.Array.__getitem__, zarr.Array.__setitem__

    def getitem(self: zarr.Array[Any], where: Any) -> Any:
        values = get(self, where)
        moved["read"] += np.asarray(values).nbytes
        return values

    def setitem(self: zarr.Array[Any], where: Any, values: Any) -> None:
        moved["written"] += np.asarray(values).nbytes
        put(self, where, values)

    def timed(run: Any, name: str, time: int, index: Vec3) -> dict[str, Any]:
        moved.update(read=0, written=0)
        counts, spent = spend(lambda: perform(run, name, time, index))
        total = passes.setdefault(name, dict.fromkeys([*spent, *moved], 0))
        for key, value in {**spent, **moved}.items():
            total[key] += value
        return counts

    with (
        patch.object(serial, "perform", timed),
        patch.object(zarr.Array, "__getitem__", getitem),
        patch.object(zarr.Array, "__setitem__", setitem),
    ):
        yield


def run(maps: NDArray[np.int8], folder: Path, block: Vec3) -> tuple[list[Row], Any]:
    """A row for each pass, and one for the whole run."""
    shape: Vec3 = maps.shape[1:]
    voxels, whole = maps[0].size, Box.of_shape(shape)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    image = create_image(folder / "image.zarr", shape, "uint16", scale_um=None, chunk=(64,) * 3, shard=(64,) * 3)
    for z in range(0, shape[0], 64):
        box = Box((z, 0, 0), (z + 64, *shape[1:])).clip(shape)
        write_image_box(image, box, maps[0][box.slices()].astype(np.uint16) * 5)
    given = zarr.create_array(
        folder / "maps",
        shape=maps.shape,
        shards=(4, *(min(64 * -(-b // 64), 64 * -(-s // 64)) for b, s in zip(block, shape, strict=True))),
        chunks=(4, 64, 64, 64),
        dtype="int8",
        compressors=ZstdCodec(level=1),
    )
    given[:] = maps
    seconds: dict[str, Row] = {}  # and bytes
    settings: dict[str, Any] = {"executor": "serial", "diameter_um": "as-is", "radius_vox": RADIUS, "block": block}
    with counted(seconds):
        summary, spent = spend(
            lambda: bigcp3d.segment(
                folder / "image.zarr", maps=folder / "maps", output=folder / "labels.zarr", **settings
            )
        )
    rows = [
        {
            "pass": name,
            "wall_s": s["wall_s"],
            "cpu_s": s["cpu_s"],
            "Mvoxel/cpu_s": voxels / s["cpu_s"] / 1e6,
            "read, bytes/voxel": s["read"] / voxels,
            "written, bytes/voxel": s["written"] / voxels,
        }
        for name, s in seconds.items()
    ]
    stored = {"maps on disk": disk_bytes(folder / "maps") / voxels}
    stored["labels on disk"] = disk_bytes(folder / "labels.zarr") / voxels
    rows.append({"pass": "all", **spent, "Mvoxel/cpu_s": voxels / spent["cpu_s"] / 1e6, **stored})
    offsets = track(maps, whole, whole, shape, foreground=64, steps=100, reach=32) if voxels < 2**25 else None
    return rows, (summary, offsets)


def main(arguments: list[str] | None = None) -> dict[str, list[Row]]:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(128, 256, 256))
    parser.add_argument("--block", type=int, nargs=3, default=(128, 128, 128))
    parser.add_argument("--maps", type=Path, default=None, help="zarr int8 (4, z, y, x), such as --keep-maps leaves")
    parser.add_argument("--json", type=Path, default=None)
    asked = parser.parse_args(arguments)
    maps = make_case(tuple(asked.shape))[0] if asked.maps is None else np.asarray(zarr.open_array(asked.maps)[:])
    folder = Path(tempfile.mkdtemp(prefix="through_zarr_"))
    try:
        shape: Vec3 = maps.shape[1:]
        run(maps[:, :64, :64, :64], folder / "warm", (64, 64, 64))
        tables = {}
        rows, (_, offsets) = run(
            maps, folder / "run", tuple(min(b, s) for b, s in zip(asked.block, shape, strict=True))
        )
        tables["maps to labels through zarr, one thread"] = rows
        piece = (slice(None), *(slice(0, min(128, s)) for s in shape))
        tables["codecs, maps"] = codecs(np.ascontiguousarray(maps[piece]), folder)
        if offsets is not None:
            tables["codecs, offsets"] = codecs(np.ascontiguousarray(offsets[piece]), folder)
    finally:
        shutil.rmtree(folder)
    for title, found in tables.items():
        print(show(title, found))
    write_json(asked.json, tables)
    return tables


if __name__ == "__main__":
    main()
