"""A table is there whole, or not at all, or an error that names it."""

import errno
import os

import numpy as np
import pytest
from safetensors import SafetensorError

from bigcp3d.edge.workdir.tables import open_rows, read_table, write_table
from bigcp3d.errors import InputError

ARRAYS = {
    "voxel": np.arange(30, dtype="int32").reshape(10, 3),
    "none": np.empty((0, 6), "int64"),
    "one": np.float64(2.5),
    "many": np.random.default_rng(0).integers(0, 2**60, 5000),
}


def test_arrays_come_back_as_they_were(tmp_path):
    write_table(tmp_path / "new" / "folder" / "t.table", **ARRAYS)
    back = read_table(tmp_path / "new" / "folder" / "t.table")
    assert set(back) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == np.asarray(array).dtype


def test_a_table_of_nothing_is_a_table(tmp_path):
    write_table(tmp_path / "t.table")
    assert read_table(tmp_path / "t.table") == {}


def test_equal_tables_are_equal_files(tmp_path):
    for name in ("a.table", "b.table"):
        write_table(tmp_path / name, **ARRAYS)
    assert (tmp_path / "a.table").read_bytes() == (tmp_path / "b.table").read_bytes()


def test_writing_again_replaces_in_one_step(tmp_path, monkeypatch):
    path = tmp_path / "t.table"
    write_table(path, a=np.arange(3))

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_table(path, a=np.arange(4))
    monkeypatch.undo()
    assert len(read_table(path)["a"]) == 3
    assert [p.name for p in tmp_path.iterdir()] == ["t.table"]
    write_table(path, a=np.arange(4))
    assert len(read_table(path)["a"]) == 4


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_table_is_an_error_that_names_the_file(tmp_path, share):
    path = tmp_path / "t.table"
    write_table(path, **ARRAYS)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"t.table: this table was damaged .* start again"):
        read_table(path)


@pytest.mark.parametrize("share", [0.002, 0.01, 0.2, 0.5, 0.9])
def test_a_flipped_byte_is_noticed(tmp_path, share):
    path = tmp_path / "t.table"
    write_table(path, **ARRAYS)
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"t.table: this table was damaged"):
        read_table(path)


def test_a_missing_table_is_not_a_damaged_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "t.table")


@pytest.mark.parametrize("read", [read_table, open_rows])
def test_a_table_that_cannot_be_opened_now_is_not_a_damaged_one(tmp_path, monkeypatch, read):
    def fail(path, *_, **__):
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    monkeypatch.setattr("builtins.open", fail)
    with pytest.raises(OSError, match="Too many open files"):
        read(tmp_path / "t.table")


def test_objects_are_neither_written_nor_read(tmp_path):
    with pytest.raises(SafetensorError, match="object"):
        write_table(tmp_path / "t.table", a=np.array([{}], object))
    assert list(tmp_path.iterdir()) == []
    with open(tmp_path / "t.table", "wb") as file:  # as older versions wrote tables
        np.savez(file, a=np.array([{}], object))
    with pytest.raises(InputError, match="this table was damaged"):
        read_table(tmp_path / "t.table")
