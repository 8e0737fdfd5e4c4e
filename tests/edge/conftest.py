"""Small OME-Zarr stores of every version, with metadata written by hand, as other programs write them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}


def axes_entries(version: str, axes: str, unit: str | None) -> Any:
    if version in ("0.1", "0.2"):
        return None
    if version == "0.3":
        return list(axes)
    return [
        {"name": name, "type": TYPES[name], **({"unit": unit} if unit and TYPES[name] == "space" else {})}
        for name in axes
    ]


class Stores:
    """Makes stores under one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @staticmethod
    def read(group: str | Path) -> dict[str, Any]:
        """Attributes of a group as they stand on disk."""
        path = Path(group)
        if (path / "zarr.json").exists():
            return json.loads((path / "zarr.json").read_text())["attributes"]
        return json.loads((path / ".zattrs").read_text()) if (path / ".zattrs").exists() else {}

    @staticmethod
    def write(group: str | Path, attributes: dict[str, Any]) -> None:
        """Replace them, behind the back of every library."""
        path = Path(group)
        if (path / "zarr.json").exists():
            node = json.loads((path / "zarr.json").read_text())
            (path / "zarr.json").write_text(json.dumps({**node, "attributes": attributes}))
        else:
            (path / ".zattrs").write_text(json.dumps(attributes))

    def image(
        self,
        version: str = "0.5",
        axes: str = "zyx",
        *,
        name: str = "image.zarr",
        shape: tuple[int, ...] = (12, 20, 22),
        counts: tuple[int, int] = (2, 3),
        levels: int = 1,
        dtype: str = "uint16",
        chunks: tuple[int, ...] = (7, 12, 13),
        shards: tuple[int, ...] | None = None,
        separator: str = "/",
        scale: tuple[float, ...] | None = (2.0, 0.5, 0.25),
        unit: str | None = "micrometer",
        edit: Callable[[dict[str, Any]], object] = lambda ome: None,
    ) -> Path:
        """An image filled with random numbers; ``edit`` changes the OME-Zarr metadata before they are written."""
        path = self.folder / name
        zarr_format = 3 if version in ("0.5", "0.6") else 2
        lead = tuple(dict(zip("tc", counts, strict=True))[name] for name in axes if name in "tc")
        rng = np.random.default_rng(0)
        group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
        datasets = []
        for level in range(levels):
            f = 2**level
            small = lead + tuple(max(min(1, s), s // k) for s, k in zip(shape, (1, f, f), strict=False))
            full = tuple([1] * len(lead)) + tuple(
                max(1, min(c, s)) for c, s in zip(chunks, small[len(lead) :], strict=False)
            )
            options = (
                {"chunk_key_encoding": {"name": "v2", "separator": separator}}
                if zarr_format == 2
                else {"dimension_names": list(axes), "shards": tuple([1] * len(lead)) + shards if shards else None}
            )
            array = zarr.create_array(
                path / str(level), shape=small, chunks=full, dtype=dtype, zarr_format=zarr_format, **options
            )
            array[...] = rng.integers(0, 200, small).astype(dtype)
            entry: dict[str, Any] = {"path": str(level)}
            if scale is not None and version not in ("0.1", "0.2", "0.3"):
                steps = [1.0] * len(lead) + [s * k for s, k in zip(scale, (1, f, f), strict=False)]
                entry["coordinateTransformations"] = [{"type": "scale", "scale": steps}]
            datasets.append(entry)
        multiscale: dict[str, Any] = {"datasets": datasets}
        entries = axes_entries(version, axes, unit)
        if entries is not None:
            multiscale["axes"] = entries
        ome: dict[str, Any] = {"multiscales": [multiscale]}
        (ome if zarr_format == 3 else multiscale)["version"] = version
        edit(ome)
        group.attrs.update({"ome": ome} if zarr_format == 3 else ome)
        return path


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    return Stores(tmp_path)


@pytest.fixture
def contents(tmp_path: Path) -> Callable[[], dict[str, bytes]]:
    """All files of the test's folder with their bytes: equal before and after means that nothing was written."""
    return lambda: {str(p.relative_to(tmp_path)): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
