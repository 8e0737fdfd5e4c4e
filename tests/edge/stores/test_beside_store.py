"""Files about a store lie beside it, and never inside another store, where `check_file` refuses them."""

from __future__ import annotations

import pytest

from bigcp3d.edge.stores import check_writable
from bigcp3d.edge.stores.beside_store import beside_store
from bigcp3d.edge.stores.check_writable import check_file


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (["image.zarr"], "a/b/image.cells.csv"),
        (["a", "a/b", "image.zarr"], "a.b.image.cells.csv"),
        (["a", "image.zarr"], "a.b.image.cells.csv"),  # b is a plain folder
    ],
)
def test_a_file_lies_outside_the_outermost_store(tmp_path, monkeypatch, groups, expected):
    (tmp_path / "a" / "b" / "image.zarr").mkdir(parents=True)
    for group in groups:
        folder = tmp_path / "a" / "b" / group if group == "image.zarr" else tmp_path / group
        (folder / "zarr.json").write_text('{"node_type": "group", "attributes": {"ome": {}}}')
    file = beside_store(tmp_path / "a" / "b" / "image.zarr", ".cells.csv")
    assert file == tmp_path / expected
    check_file(file, overwrite=False)
    monkeypatch.chdir(tmp_path / "a" / "b")
    assert beside_store("image.zarr", ".cells.csv") == file, "the way to it does not matter"


def test_each_folder_is_looked_at_once(tmp_path, monkeypatch):
    store = tmp_path / "plain" / "store"
    store.mkdir(parents=True)
    (store / "zarr.json").write_text('{"node_type": "group", "attributes": {"ome": {}}}')
    seen, is_store = [], check_writable._is_store
    monkeypatch.setattr(check_writable, "_is_store", lambda folder: [seen.append(folder), is_store(folder)][1])
    assert beside_store(store / "a" / "b" / "c", ".csv") == tmp_path / "plain" / "store.a.b.c.csv"
    assert store in seen
    assert len(seen) == len(set(seen))
