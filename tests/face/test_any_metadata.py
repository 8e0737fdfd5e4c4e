"""Stores as anybody may write them: a message before any work, or the labels of the clean store; never a traceback.

A small image is written with metadata of any version, axes in any order, any dtype and names of chunks; then one or two
places in its JSON are changed at random. `bigcp3d segment` and `bigcp3d info --check` may refuse it, by an error of
ours. Where they do not, labels are those of the clean store, unless the change gave the voxels another meaning. No file
but those of our own labels may change.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import tempfile
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import bigcp3d
from bigcp3d.errors import InputError, TargetError
from bigcp3d.face.cli import app
from tests.schedule.conftest import tissue_values, write_image

SHAPE = (10, 16, 20)
AS_GIVEN = {"diameter_um": "as-is", "min_volume": 2, "block": (64, 64, 64), "executor": "serial"}
VERSIONS = ("0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.6rc0", "0.5.2", None)
ODD_VERSIONS = ("0.4-dev", "9.9", "", 5, [], 0.4)
DTYPES = ("u1", "u2", ">u2", "i1", "i2", "<i4", ">i4", "u4", "i8", "u8", "f2", "f4", ">f4", "f8", "?", "c8")
UNITS = ("micrometer", "nanometer", "um", "µm", "angstrom", "parsec", "pixel", "", None)
LEVELS = (("0",), ("0", "1"), ("1", "0"), ("s0", "s1", "s2"), ("scale/fine", "scale/coarse"), ("2", "0", "1"))
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.0, -1.0, 1e300, 1e-300, float("inf"), float("nan"), 2**70]),
    st.sampled_from(["", "z", "x", "../x", "/etc", "0", "nan", "é\n", "scale", "sequence", "translation", "affine"]),
)
JSON = st.recursive(
    ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abtxz", max_size=4), inner, max_size=2),
    max_leaves=5,
)
FURTHER = ("plate", "well", "bioformats2raw.layout", "scene", "image-label", "labels", "bigcp3d", "omero", "_creator")
HARMLESS = {"coordinateTransformations", "omero", "unit", "metadata", "extra", "labels", "image-label"}
"""Keys below which nothing says which voxel is which."""


def tissue() -> np.ndarray:
    """Two time points and two channels, uint8 below 100, (t, c, z, y, x); all different, and other on each axis."""
    first = tissue_values(SHAPE, diameter_vox=6.0).astype(float)
    first = np.rint(99 * (first - first.min()) / np.ptp(first)).astype(np.uint8)
    second = np.ascontiguousarray(first[:, ::-1])
    return np.stack([np.stack([first, 99 - first]), np.stack([second, second // 2])])


VALUES = tissue()


@dataclass
class Store:
    """A store to be written."""

    zarr_format: int
    axes: str
    dtype: str
    paths: tuple[str, ...]
    chunk: int
    shards: bool
    separator: str
    named: bool  # dimension_names
    missing: str | None  # the level whose files are not there
    attributes: dict[str, Any]
    labels: dict[str, Any] | None  # attributes of a group of labels
    changed: list[tuple[Any, ...]]  # places in the JSON

    @property
    def keeps_meaning(self) -> bool:
        """Whether each voxel is still the voxel that it was."""
        return self.missing is None and all(HARMLESS.intersection(map(str, path)) for path in self.changed)

    def of_axes(self, values: np.ndarray) -> np.ndarray:
        """Voxels (t, c, z, y, x) as the store has them."""
        kept = values[tuple(slice(None) if name in self.axes else 0 for name in "tczyx")]
        order = [name for name in "tczyx" if name in self.axes]
        return kept.transpose([order.index(name) for name in self.axes])

    def write(self, path: Path) -> None:
        group = zarr.create_group(path, zarr_format=self.zarr_format)
        for level, name in enumerate(sorted(self.paths)):
            if name == self.missing:
                continue
            data = self.of_axes(VALUES[..., :: 2**level, :: 2**level]).astype(self.dtype)
            chunks = tuple(min(self.chunk, n) for n in data.shape)
            options: dict[str, Any] = {"chunks": chunks}
            if self.zarr_format == 3:
                options["shards"] = tuple(2 * n for n in chunks) if self.shards else None
                options["dimension_names"] = list(self.axes) if self.named else None
                options["chunk_key_encoding"] = {"name": "default", "separator": self.separator}
            else:
                options["chunk_key_encoding"] = {"name": "v2", "separator": self.separator}
            group.create_array(name, shape=data.shape, dtype=data.dtype, **options)[...] = data
        put(path, self.zarr_format, self.attributes)
        if self.labels is not None:
            inside = group.create_group("labels")
            inside.create_group("others").create_array("0", data=np.zeros(SHAPE, np.uint8), chunks=(10, 16, 20))
            put(path / "labels", self.zarr_format, self.labels)


def put(folder: Path, zarr_format: int, attributes: dict[str, Any]) -> None:
    """Write attributes as they are; zarr would check some of them."""
    if zarr_format == 2:
        (folder / ".zattrs").write_text(json.dumps(attributes))
        return
    node = json.loads((folder / "zarr.json").read_text())
    (folder / "zarr.json").write_text(json.dumps({**node, "attributes": attributes}))


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to all that is inside a JSON tree."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield (*path, key)
        yield from places(value, (*path, key))


def change(draw: Any, tree: dict[str, Any]) -> tuple[Any, ...]:
    """Replace, remove or repeat something in a JSON tree; returns its path."""
    path = draw(st.sampled_from(sorted(places(tree), key=str)))
    holder: Any = tree
    for key in path[:-1]:
        holder = holder[key]
    how = draw(st.sampled_from(["replace", "replace", "remove", "repeat"]))
    if how == "repeat" and isinstance(holder, list):
        holder.append(deepcopy(holder[path[-1]]))
        return path[:-1]
    if how == "remove":
        del holder[path[-1]]
    else:
        holder[path[-1]] = draw(JSON)
    return path


def describe(draw: Any, version: Any, axes: str, paths: tuple[str, ...]) -> dict[str, Any]:
    """The attributes of a group, as their version has them."""
    unit, kinds = draw(st.sampled_from(UNITS)), {"t": "time", "c": "channel"}
    entries = [{"name": n, "type": kinds.get(n, "space"), **({"unit": unit} if n in "zyx" else {})} for n in axes]
    fine = sorted(paths)
    scales = {path: [2.0 ** fine.index(path) if n in "yx" else 1.0 for n in axes] for path in paths}
    steps = {path: [{"type": "scale", "scale": scales[path]}] for path in paths}
    if draw(st.booleans()):
        for path in paths:
            steps[path].append({"type": "translation", "translation": [1.5 if n in "zyx" else 0 for n in axes]})
    entry: dict[str, Any] = {
        "axes": list(axes) if version == "0.3" else entries,
        "datasets": [{"path": path, "coordinateTransformations": steps[path]} for path in paths],
        "name": "a",
        "extra": {"a": [1]},
    }
    if version in ("0.1", "0.2"):
        del entry["axes"]
    if str(version).startswith("0.6"):
        entry["coordinateSystems"] = [{"name": "physical", "axes": entry.pop("axes")}]
        for dataset in entry["datasets"]:
            inner = dataset["coordinateTransformations"]
            way = {"type": "sequence", "input": dataset["path"], "output": "physical", "transformations": inner}
            dataset["coordinateTransformations"] = [way if len(inner) > 1 else {**inner[0], **way, **inner[0]}]
    channel = {"label": "488", "active": True, "color": "00FF00", "window": {"min": 0, "max": 9, "start": 0, "end": 5}}
    omero = {"omero": {"channels": [channel, {**channel, "label": None}]}} if draw(st.booleans()) else {}
    return {"multiscales": [entry], **omero, "version": version}


@st.composite
def stores(draw: Any) -> Store:
    """A store with up to two changes."""
    version = draw(st.sampled_from(ODD_VERSIONS if draw(st.integers(0, 9)) == 0 else VERSIONS))
    orders = [each for n in range(3) for more in itertools.combinations("tc", n) for each in [(*more, *"zyx")]]
    axes = "tczyx"
    if version not in ("0.1", "0.2"):
        axes = "".join(draw(st.sampled_from(orders)))
        axes = "".join(draw(st.permutations(axes))) if draw(st.booleans()) else axes
    zarr_format = draw(st.sampled_from([2, 3])) if draw(st.booleans()) else 2 if str(version) < "0.5" else 3
    paths = draw(st.sampled_from(LEVELS))
    attributes = describe(draw, version, axes, paths)
    if version is None:
        del attributes["version"]
    elif zarr_format == 2 and draw(st.booleans()):
        attributes["multiscales"][0]["version"] = attributes.pop("version")
    if draw(st.booleans()) if zarr_format == 2 else draw(st.integers(0, 9)):
        attributes = {"ome": attributes}
    labels: dict[str, Any] | None = None
    if draw(st.booleans()):
        labels = {"labels": ["others"]}
        labels = {"ome": {"version": "0.5", **labels}} if zarr_format == 3 else labels
    for key in draw(st.lists(st.sampled_from(FURTHER), max_size=1)):
        attributes.setdefault(key, draw(JSON))
    changed = [change(draw, attributes) for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2]))) if attributes]
    if labels and draw(st.integers(0, 3)) == 0:
        changed.append(("labels", *change(draw, labels)))
    missing = draw(st.sampled_from([None] * 9 + [*paths])) if len(paths) > 1 else None
    return Store(
        zarr_format, axes, draw(st.sampled_from(DTYPES)), paths, draw(st.sampled_from([7, 16, 64])),
        draw(st.booleans()), draw(st.sampled_from("/.")), draw(st.booleans()), missing, attributes, labels, changed,
    )  # fmt: skip


@pytest.fixture(scope="module")
def expected(random_model, tmp_path_factory) -> np.ndarray:
    """Labels of the clean store, (t, z, y, x)."""
    folder, found = tmp_path_factory.mktemp("clean"), []
    for time in range(2):
        write_image(folder / f"{time}.zarr", VALUES[time, 0])
        bigcp3d.segment(folder / f"{time}.zarr", model=random_model, **AS_GIVEN)
        found.append(zarr.open_array(folder / f"{time}.zarr" / "labels" / "cells" / "0", mode="r")[...])
    assert min(each.max() for each in found) > 10
    assert not np.array_equal(*found)
    return np.stack(found)


def files_of(folder: Path) -> dict[str, str]:
    """Hashes of all files below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read_cells(store: Path) -> np.ndarray:
    """The new labels (t, z, y, x), by zarr alone."""
    group = zarr.open_group(store / "labels" / "cells", mode="r")
    attributes = group.attrs.asdict()
    entry = attributes.get("ome", attributes)["multiscales"][0]
    names = [axis["name"] for axis in (entry.get("axes") or entry["coordinateSystems"][0]["axes"])]
    values = np.asarray(group[entry["datasets"][0]["path"]][...])
    values = values.transpose([names.index(name) for name in "tczyx" if name in names])
    return values.reshape(-1, *values.shape[-3:])


def check(store: Store, folder: Path, model: str, expected: np.ndarray) -> None:
    """The rule, for one store."""
    path = folder / "image.zarr"
    store.write(path)
    before = files_of(folder)
    told = CliRunner().invoke(app, ["info", str(path), "--check", "--quiet"])
    if told.exception is not None and not isinstance(told.exception, SystemExit):
        raise told.exception
    assert told.exit_code in (0, InputError.exit_code), told.output
    assert files_of(folder) == before
    try:
        bigcp3d.segment(path, model=model, channel=0, **AS_GIVEN)
    except (InputError, TargetError):
        assert files_of(folder) == before, "an error comes before any work"
        return
    after = files_of(folder)
    own = {name for name in after if name.startswith("image.zarr/labels/cells/")}
    ours = own | {f"image.zarr/labels/{name}" for name in ("zarr.json", ".zattrs", ".zgroup")}
    assert own
    assert {name: after[name] for name in after.keys() - ours} == {name: before[name] for name in before.keys() - ours}
    if store.keeps_meaning:
        cells = read_cells(path)
        assert np.array_equal(cells, expected if "t" in store.axes else expected[:1])


def test_a_store_is_refused_in_words_or_gives_the_labels_of_the_clean_one(random_model, expected):
    """As many examples as CI has time for, the same each time."""
    run(8, True, random_model, expected)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_thousands_of_stores(random_model, expected):
    run(2000, False, random_model, expected)


def run(examples: int, same: bool, model: str, expected: np.ndarray) -> None:
    @settings(
        max_examples=examples, derandomize=same, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(store=stores())
    def each(store: Store) -> None:
        with tempfile.TemporaryDirectory() as folder:
            check(store, Path(folder), model, expected)

    logging.getLogger("bigcp3d").setLevel(logging.ERROR)
    each()


pytestmark = pytest.mark.filterwarnings("ignore")
