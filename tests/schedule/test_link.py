"""Cells linked over time: the same links whatever the blocks and workers, and files that other programs read."""

from __future__ import annotations

import csv
import json
import shutil
import warnings

import numpy as np
import pytest
import zarr

import bigcp3d
from bigcp3d.edge.image import voxels
from bigcp3d.edge.image.image import open_image
from bigcp3d.edge.image.new_image import create_image
from bigcp3d.edge.labels.label_plan import plan_labels
from bigcp3d.edge.labels.labels import create_labels, finish_labels, write_label_box
from bigcp3d.edge.lineage import geff_file
from bigcp3d.errors import InputError, TargetError
from bigcp3d.pure.boxes import Box
from bigcp3d.work import track_labels
from bigcp3d.work.analyse import measure
from tests.moving_tissue import edge_f1, move_tissue
from tests.processes import quick_workers
from tests.schedule.conftest import read_labels

geff = pytest.importorskip("geff", reason="bigcp3d[lineage] is not installed")
pytest.importorskip("ortools", reason="bigcp3d[lineage] is not installed")
SCALE = (2.0, 0.5, 0.5)


@pytest.fixture(scope="module")
def tissue():
    return move_tissue(60, 3, 0.3, seed=2, dividing=0.1)


@pytest.fixture(scope="module")
def written(tissue, tmp_path_factory):
    """Labels of three time points with two levels; ids are far from 1..n. Read only."""
    shape = tissue.labels[0].shape
    path, pieces = tmp_path_factory.mktemp("movie") / "movie.zarr", {"chunk": shape, "shard": shape}
    create_image(path, shape, "uint8", scale_um=SCALE, times=3, factors=[(1, 2, 2)], **pieces)
    target = plan_labels(open_image(path), None, "cells", shard=(64, 64, 64))
    create_labels(target, overwrite=False)
    for time, labels in enumerate(tissue.labels):
        ids = np.where(labels > 0, labels * 7 + 1000, 0).astype(np.uint32)
        write_label_box(target, 0, Box.of_shape(shape), ids, time=time)
        write_label_box(target, 1, Box.of_shape(target.levels[1].shape), ids[:, ::2, ::2], time=time)
    finish_labels(target, attributes={})
    return path


@pytest.fixture
def store(written, tmp_path):
    """A copy of them."""
    return shutil.copytree(written, tmp_path / "movie.zarr")


def test_the_lineage_can_be_read_again(store, tissue):
    lineage = bigcp3d.link(store, max_distance_um=30.0)
    columns = lineage.cells.columns
    graph, about = geff.read(lineage.path, backend="networkx")
    assert graph.number_of_nodes() == len(columns["label"]) == sum(len(np.unique(one)) - 1 for one in tissue.labels)
    assert sorted(graph.edges) == sorted(map(tuple, lineage.edges.tolist()))
    assert about.axes[1].unit == "micrometer"
    assert about.related_objects[0].path == "../../labels/cells"
    node = graph.nodes[5]
    assert [node["label"], node["z"]] == [columns["label"][5], columns["centroid_z_um"][5]]
    begin = np.searchsorted(columns["time"], [0, 1, 2])
    links = [lineage.edges[columns["time"][lineage.edges[:, 0]] == t] - begin[t : t + 2] for t in range(2)]
    assert edge_f1(links, tissue) > 0.9
    assert lineage.divisions > 2


def test_a_consolidated_store_lists_its_lineage(store):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        zarr.consolidate_metadata(store)
    bigcp3d.link(store, max_distance_um=30.0)
    group = zarr.open_group(store, mode="r")
    assert group.metadata.consolidated_metadata is not None
    assert "tracks/cells.geff/nodes/ids" in group


def test_blocks_and_workers_change_no_link_and_no_label_of_a_track(store, monkeypatch):
    whole = bigcp3d.link(store, track_labels="tracks")
    tracks = read_labels(store, "tracks")
    for block, workers in (((11, 40, 23), None), ((20, 20, 50), 1)):
        shard = (16, 32, 32 * (2 + bool(workers)))
        monkeypatch.setattr(measure, "block_of_chunks", lambda *_, block=block: block)
        monkeypatch.setattr(track_labels, "block_of_chunks", lambda *_, shard=shard: shard)
        with quick_workers():
            again = bigcp3d.link(store, track_labels="tracks", overwrite=True, workers=workers, memory_limit="2GiB")
        assert np.array_equal(read_labels(store, "tracks"), tracks)
        assert len(again.cells.what.grid) > 4
        assert np.array_equal(again.edges, whole.edges)
        assert np.array_equal(again.cells.columns["track"], whole.cells.columns["track"])


def test_each_chunk_is_read_once_for_labels_of_tracks(store, monkeypatch):
    array = zarr.open_array(store / "labels" / "cells" / "0")
    values, attributes, names = array[:], array.attrs.asdict(), array.metadata.dimension_names
    planes = zarr.create_array(
        store / "labels" / "cells" / "0", shape=values.shape, dtype=values.dtype, chunks=(1, 1, *values.shape[2:]),
        dimension_names=names, attributes=attributes, overwrite=True,
    )  # fmt: skip
    planes[:] = values
    read = []

    def read_box(labels, level, box, *, time):
        read.extend((time, z) for z in range(box.start[0], box.stop[0]) if level == 0)
        return voxels.read_box(labels, level, box, time=time)

    monkeypatch.setattr(track_labels, "read_box", read_box)
    monkeypatch.setattr(track_labels, "SHARD_VOX", 4 * values[0, 0].size)
    bigcp3d.link(store, track_labels="tracks")
    assert len(read) == len(set(read)) == values.shape[0] * values.shape[1]


def test_tracks_are_written_as_labels_and_columns(store, tmp_path):
    lineage = bigcp3d.link(store, table=tmp_path / "cells.csv", track_labels="tracks")
    cells, tracks = read_labels(store, "cells"), read_labels(store, "tracks")
    columns = lineage.cells.columns
    for time in range(3):
        here = columns["time"] == time
        lut = np.zeros(cells.max() + 1, np.int64)
        lut[columns["label"][here]] = columns["track"][here]
        assert np.array_equal(tracks[time], lut[cells[time]])
        coarse = zarr.open_array(store / "labels" / "tracks" / "1")[time]
        assert np.array_equal(coarse, lut[cells[time][:, ::2, ::2]])
    with (tmp_path / "cells.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["track"]) for row in rows] == columns["track"].tolist()
    children = columns["parent_track"][columns["parent_track"] > 0]
    assert len(children) >= 2 * lineage.divisions
    assert open_image(store).label_names == ("cells", "tracks")


def test_cells_without_links_are_tracks_of_their_own(store):
    lineage = bigcp3d.link(store, max_distance_um=1e-6)
    assert lineage.edges.shape == (0, 2)
    assert lineage.tracks == len(lineage.cells)


def test_bad_requests_are_refused_before_any_work(store, tmp_path, monkeypatch):
    bigcp3d.link(store)
    with pytest.raises(TargetError, match="exists already"):
        bigcp3d.link(store)
    with pytest.raises(InputError, match="give another name"):
        bigcp3d.link(store, overwrite=True, track_labels="cells")
    with pytest.raises(InputError, match="these are the labels to link"):
        bigcp3d.link(store / "labels/cells", "other", overwrite=True, track_labels="cells")
    with pytest.raises(InputError, match="above 0"):
        bigcp3d.link(store, overwrite=True, max_distance_um=0.0)
    bigcp3d.simulate(tmp_path / "one.zarr", bigcp3d.Tissue((16, 16, 16), 9.0, "nuclei"))
    monkeypatch.setattr(geff_file, "NEEDED", ("no_such_package",))
    with pytest.raises(InputError, match="a lineage needs"):
        bigcp3d.link(store, overwrite=True)
    with pytest.raises(InputError, match="one time point"):
        bigcp3d.link(tmp_path / "one.zarr", "truth")


def test_the_group_of_the_lineage_is_listed_in_no_metadata_of_others(store):
    before = json.loads((store / "zarr.json").read_text())
    bigcp3d.link(store)
    assert json.loads((store / "zarr.json").read_text()) == before
