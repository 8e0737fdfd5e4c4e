"""A record counts when it is whole; otherwise the task runs again."""

import json
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest

from bigcp3d.edge.workdir import records
from bigcp3d.edge.workdir.records import claim_record, read_record, read_records, write_record

DATA = {"voxels": np.int64(7), "seconds": 0.1 + 0.2, "removed": {"volume": 3}, "dtype": "uint32", "shape": (1, 2)}
PLAIN = {"voxels": 7, "seconds": 0.1 + 0.2, "removed": {"volume": 3}, "dtype": "uint32", "shape": [1, 2]}


def test_a_record_comes_back_as_written(tmp_path):
    assert read_record(tmp_path / "records", "track", (0, 1, 12)) is None
    write_record(tmp_path / "records", "track", (0, 1, 12), DATA)
    assert read_record(tmp_path / "records", "track", (0, 1, 12)) == PLAIN
    assert (tmp_path / "records" / "track" / "0.1.12.json").is_file()
    assert read_record(tmp_path / "records", "track", (0, 1, 1)) is None
    assert read_record(tmp_path / "records", "label", (0, 1, 12)) is None


@pytest.mark.parametrize(
    "tear", [lambda t: t[: len(t) // 2], lambda t: "", lambda t: t.replace("7", "8"), lambda t: "[]"]
)
def test_a_torn_or_changed_record_is_none(tmp_path, tear, caplog):
    write_record(tmp_path, "track", (0, 0, 0), DATA)
    path = tmp_path / "track" / "0.0.0.json"
    path.write_text(tear(path.read_text()))
    assert read_record(tmp_path, "track", (0, 0, 0)) is None
    assert "0.0.0.json: the record is damaged" in caplog.text
    write_record(tmp_path, "track", (0, 0, 0), DATA)
    assert read_record(tmp_path, "track", (0, 0, 0)) == PLAIN


def test_records_are_read_without_damaged_ones(tmp_path):
    assert not list(read_records(tmp_path, "track"))
    for index in ((10, 0, 0), (2, 0, 0), (2, 0, 11), (2, 0, 3)):
        write_record(tmp_path, "track", index, {})
    (tmp_path / "track" / "2.0.3.json").write_text("{")
    (tmp_path / "track" / "notes.json").write_text("{}")
    (tmp_path / "track" / ".2.0.4.json.abc.tmp").write_text("{}")
    assert sorted(index for index, *_ in read_records(tmp_path, "track")) == [(2, 0, 0), (2, 0, 11), (10, 0, 0)]


def test_millions_of_records_are_read_one_by_one(tmp_path, monkeypatch):
    (tmp_path / "track").mkdir()
    entries = (SimpleNamespace(name=f"{n // 100}.0.{n % 100}.json") for n in range(20_000))
    monkeypatch.setattr(records.os, "scandir", lambda folder: closing(entries))
    monkeypatch.setattr(records, "read_whole_record", lambda *_: ({"voxels": 7}, {}))
    tracemalloc.start()
    assert sum(1 for _ in read_records(tmp_path, "track")) == 20_000
    assert tracemalloc.get_traced_memory()[1] < 500_000
    tracemalloc.stop()


def test_what_json_does_not_know_is_refused(tmp_path):
    with pytest.raises(TypeError, match="cannot be written as JSON"):
        write_record(tmp_path, "track", (0, 0, 0), {"a": object()})
    assert not (tmp_path / "track").exists()


def test_a_record_is_plain_json_for_people(tmp_path):
    write_record(tmp_path, "track", (0, 0, 0), DATA)
    assert json.loads((tmp_path / "track" / "0.0.0.json").read_text())["data"] == PLAIN


def test_of_several_that_claim_a_record_at_once_one_succeeds(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda k: claim_record(tmp_path, "device", (0, 0, 0), {"device": k}), range(32)))
    assert len({found["device"] for found in said}) == 1
    assert read_record(tmp_path, "device", (0, 0, 0)) == said[0]
    assert [path.name for path in tmp_path.iterdir()] == ["device"]
