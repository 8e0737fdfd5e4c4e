"""Places: what is an address, what is refused, and that an object store answers like a folder."""

from __future__ import annotations

import gzip
import pickle
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import zarr

from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.image.metadata_faults import group_faults
from bigcp3d.edge.image.voxels import missing_chunks, read_box
from bigcp3d.edge.labels.edit_log import EditLog
from bigcp3d.edge.labels.label_plan import plan_labels
from bigcp3d.edge.labels.labels import create_labels, finish_labels, write_label_box
from bigcp3d.edge.stores import connections
from bigcp3d.edge.stores.places import follow, path_between, place, remove, same_place, zarr_store
from bigcp3d.edge.stores.remote import Remote
from bigcp3d.errors import InputError, TargetError
from bigcp3d.pure.boxes import Box
from tests.object_stores import (
    KEY,
    SECRET,
    Proxy,
    copy_store,
    files_of,
    forget_connections,
    make_public,
    odd_server,
    serving,
)


def test_a_path_stays_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert place("link/") == tmp_path / "link"
    assert place(Path("~")) == Path.home()
    assert isinstance(place("a:b"), Path)


def test_an_address_keeps_its_parts_and_survives_a_path():
    spot = place(Path("s3://bucket/a b/c.zarr/"))
    assert spot == Remote("s3://bucket", "a b/c.zarr") == pickle.loads(pickle.dumps(spot))
    assert (spot.name, str(spot.parent)) == ("c.zarr", "s3://bucket/a b")
    assert [str(p) for p in spot.parents] == ["s3://bucket/a b", "s3://bucket"]
    assert str(place("HTTPS://host:8080/a%20b")) == "https://host:8080/a b"
    odd = place("https://host/a%23b%3Fc%2520d.zarr")
    assert odd == Remote("https://host", "a#b?c%20d.zarr") == place(str(odd)), "plans hold its text"


@pytest.mark.parametrize(
    "address",
    [
        f"s3://{KEY}:{SECRET}@bucket/a.zarr",
        f"s3://{KEY}:{SECRET.replace('/', '')}@bucket/a.zarr",
        f"https://{KEY}:{SECRET}@host/a.zarr",
        f"https://host/a.zarr?X-Amz-Signature={SECRET}&X-Amz-Credential={KEY}",
        f"s3://bucket/a.zarr#{SECRET}",
        f"gs://{KEY}:{SECRET}@bucket/a.zarr",
        "s3:///a.zarr",
    ],
)
def test_an_address_that_may_hold_a_secret_is_refused_and_not_repeated(address):
    with pytest.raises(InputError, match="address") as caught:
        open_image(address)
    assert not any(part in str(caught.value) for part in (KEY, SECRET, "Secret"))


def test_dots_do_not_lead_out_of_a_bucket():
    with pytest.raises(InputError, match=r"cannot contain \. or \.\."):
        place("s3://bucket/a/../../b")


@pytest.mark.parametrize(
    ("start", "end", "way"),
    [
        ("s3://b/x/labels/cells", "s3://b/y/image.zarr", "../../../y/image.zarr"),
        ("s3://b/x", "s3://c/y", "s3://c/y"),
        ("s3://b/x", "/data/y", "/data/y"),
        ("/data/x", "s3://c/y", "s3://c/y"),
        ("/data/x", "/data/y/z", "../y/z"),
    ],
)
def test_the_way_from_one_place_to_another_leads_there(start, end, way):
    assert path_between(start, end) == way
    assert same_place(follow(start, way), end)


def test_an_object_store_answers_like_a_folder(s3, tmp_path):
    seen = {}
    for root in (place(s3) / "store", tmp_path / "store"):
        if isinstance(root, Path):
            (root / "in").mkdir(parents=True)
        assert isinstance(root, Path) or not root.exists()
        (root / "in" / "b.json").write_bytes(b"{}")
        (root / "a").write_bytes(b"xyz")
        seen[type(root)] = (
            sorted(p.name for p in root.iterdir()),
            [(root / name).exists() for name in ("in", "a", "i", "in/b", "none")],
            [(root / name).is_file() for name in ("in", "a", "in/b.json")],
            (root / "in").is_dir(),
            (root / "a").read_bytes(),
        )
        with pytest.raises(FileNotFoundError):
            (root / "none").read_bytes()
        remove(root / "in")
        assert not (root / "in").exists()
        assert (root / "a").exists()
        remove(root / "none")
    assert len(seen) == 2
    assert len({repr(answers) for answers in seen.values()}) == 1


def test_a_list_that_many_change_at_once_loses_nothing(s3):
    file = place(s3) / "list.json"

    def add(name: int) -> None:
        for _ in range(3):
            file.edit_json(lambda old: {"names": sorted({*old.get("names", []), name})})

    threads = [threading.Thread(target=add, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert b'"names": [0, 1, 2, 3, 4, 5]' in file.read_bytes()


def test_an_array_is_made_where_it_was_asked_for_and_nowhere_else(s3):
    from bigcp3d.edge.stores.zarr_write import make_array

    spot = place(s3) / "a" / "b"
    make_array(spot, (4, 4, 4), "uint8", axes="zyx", chunk=(2, 2, 2), shard=(4, 4, 4), zarr_format=3)
    assert [p.name for p in place(s3).iterdir()] == ["a"]
    assert not (place(s3) / "zarr.json").exists()


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_voxels_from_an_object_store_are_those_of_the_file(stores, s3, version):
    local = stores.image(version, "tczyx", shards=(14, 24, 26) if version == "0.5" else None)
    copy_store(local, place(s3) / "image.zarr")
    image, remote = open_image(local), open_image(f"{s3}/image.zarr/")
    assert (remote.path, remote.levels, remote.dtype) == (f"{s3}/image.zarr", image.levels, image.dtype)
    box = Box((3, 5, 7), (12, 20, 21))
    assert np.array_equal(*(read_box(info, 0, box, channel=2, time=1) for info in (image, remote)))


def test_what_is_wrong_with_a_store_is_one_line_that_names_it(stores, s3, s3_server, monkeypatch):
    copy_store(stores.image("0.5"), place(s3) / "image.zarr")
    cases = {
        "s3://no-such-bucket-here/a.zarr": "there is no such bucket",
        f"{s3}/none.zarr": "there is nothing",
        f"{s3}/image.zarr/zarr.json": r"this is a file, .* give s3://.*/image.zarr",
        f"{s3}/image.zarr/0": r"this is a zarr array, .* give its image, s3://.*/image.zarr",
    }
    for where, said in cases.items():
        check_refused(where, said)
    proxy = Proxy(s3_server)
    with serving(proxy.handler()) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        forget_connections()
        proxy.deny = ("GET", "HEAD")
        check_refused(f"{s3}/image.zarr", "access was denied.* give credentials")
    forget_connections()
    check_refused(f"{s3}/image.zarr", r"the server does not answer .*after 3 retries.* check the network")


def test_the_endpoint_is_taken_from_the_profile_and_its_services(stores, s3, s3_server, monkeypatch):
    copy_store(stores.image("0.5"), place(s3) / "image.zarr")
    config = stores.folder / "config"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    for text in (f"endpoint_url = {s3_server}/", f"services = lab\n[services lab]\ns3 =\n  endpoint_url = {s3_server}"):
        config.write_text(f"[default]\n{text}\n")
        forget_connections()
        assert open_image(f"{s3}/image.zarr").axes == ("z", "y", "x")
    config.write_text("[default]\nregion = eu-west-1\n")
    forget_connections()
    assert connections._settings()[1] is None, "Amazon's own"


def check_refused(where: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        open_image(where)
    text = str(caught.value)
    assert "\n" not in text
    assert where in text
    assert not any(part in text for part in (KEY, SECRET))


def test_a_damaged_object_is_told_with_its_box(stores, s3):
    copy_store(stores.image("0.5", shards=(14, 24, 26)), place(s3) / "image.zarr")
    image = open_image(f"{s3}/image.zarr")
    (place(s3) / "image.zarr" / "0" / "c" / "0" / "0" / "0").write_bytes(b"")
    empty = "is empty|shard is truncated"  # ours, and zarr's from 3.4 on
    for box in (Box.of_shape((12, 20, 22)), Box((0, 0, 0), (9, 9, 9))):
        with pytest.raises(InputError, match=rf"cannot be read in box \(0, 0, 0\) to .*({empty})"):
            read_box(image, 0, box)


def test_without_credentials_requests_are_not_signed(stores, s3, s3_server, monkeypatch):
    copy_store(stores.image("0.5"), place(s3) / "image.zarr")
    make_public(s3_server, s3)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    forget_connections()
    seen: list[str] = []
    proxy = Proxy(s3_server)

    class Looking(proxy.handler()):
        def parse_request(self) -> bool:
            good = super().parse_request()
            seen.append(self.headers.get("Authorization") or "none")
            return good

    with serving(Looking) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        open_image(f"{s3}/image.zarr")
        assert set(seen) == {"none"}
        profile = f"[lab]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
        Path(stores.folder / "credentials").write_text(profile)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(stores.folder / "credentials"))
        monkeypatch.setenv("AWS_PROFILE", "lab")
        forget_connections()
        seen.clear()
        open_image(f"{s3}/image.zarr")
        assert all(KEY in signed for signed in seen), "the profile's key signs"
        assert seen
        monkeypatch.setenv("AWS_PROFILE", "nobody")
        forget_connections()
        with pytest.raises(InputError, match=r"ProfileNotFound: profile 'nobody'"):
            open_image(f"{s3}/image.zarr")


def test_a_web_server_is_read_and_never_written(stores, tmp_path):
    path = stores.image("0.5", shards=(14, 24, 26), name="my image.zarr")
    with serving(files_of(tmp_path)) as host:
        image = open_image(f"{host}/my%20image.zarr")
        box = Box.of_shape((12, 20, 22))
        assert np.array_equal(read_box(image, 0, box), np.asarray(zarr.open_array(path / "0", mode="r")[...]))
        with pytest.raises(InputError, match="there is nothing"):
            open_image(f"{host}/none.zarr")
        with pytest.raises((InputError, TargetError), match="a web server can only be read from"):
            (place(host) / "a").write_bytes(b"")
    forget_connections()


ODD_SERVERS = [{"head": 405}, {"head": 403}, {"head": 501}, {"absent": 403}, {"absent": 400}, {"absent": 200},
               {"absent": 410}, {"ranges": False}, {"ranges": False, "head": 405, "absent": 403}]  # fmt: skip


@pytest.mark.parametrize("fault", ODD_SERVERS, ids=str)
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_web_server_with_faults_is_read_all_the_same(stores, tmp_path, version, fault):
    path = stores.image(version, shards=(14, 24, 26) if version == "0.5" else None)
    plan = plan_labels(open_image(path), None, "cells", shard=(64, 64, 64))
    create_labels(plan, overwrite=False)
    finish_labels(plan, attributes={})
    with serving(odd_server(tmp_path, **fault)) as host:
        image = open_image(f"{host}/image.zarr")
        box = Box.of_shape((12, 20, 22))
        assert np.array_equal(read_box(image, 0, box), np.asarray(zarr.open_array(path / "0", mode="r")[...]))
        assert image.label_names == ("cells",)
        assert not (place(host) / "image.zarr" / "tables").exists()
        assert EditLog(place(host) / "image.zarr" / "labels" / "cells").changes() == []
        assert not any("tables" in told for told in group_faults(image))
        with pytest.raises(InputError, match=r"there is nothing|access was denied; some servers also say this"):
            open_image(f"{host}/none.zarr")
        if fault.get("absent") in (400, 200, 410):  # empty labels are not stored
            assert not read_box(open_labels(image.path, "cells"), 0, box).any()
            assert missing_chunks(open_labels(image.path, "cells"), 0, box)
    forget_connections()


def test_a_web_server_that_does_not_state_lengths_is_told(stores, tmp_path):
    """It sends files in pieces (Transfer-Encoding: chunked), which obstore does not read."""

    class Pieces(files_of(tmp_path)):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"2\r\n{}\r\n0\r\n\r\n")

    with (
        serving(Pieces) as host,
        pytest.raises(InputError, match=r"does not say how long its files are .*, or copy the store to a local disk$"),
    ):
        open_image(f"{host}/image.zarr")
    forget_connections()


def test_a_web_server_that_sends_nothing_is_told(tmp_path):
    class Empty(files_of(tmp_path)):
        def do_GET(self):
            self.send_response(204)
            self.end_headers()

    with serving(Empty) as host, pytest.raises(InputError, match=r"the server sends nothing \(204\), or .*check the"):
        open_image(f"{host}/image.zarr")
    forget_connections()


def test_a_web_server_that_packs_metadata_or_chunks_is_told(stores, tmp_path):
    path = stores.image("0.5")

    class Packing(files_of(tmp_path)):
        packed = "zarr.json"

        def do_GET(self):
            file = Path(self.translate_path(self.path))
            if not file.is_file() or (file.name == "zarr.json") != (self.packed == "zarr.json"):
                super().do_GET()
                return
            content = gzip.compress(file.read_bytes())
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    told = r"the server sends its files packed \(Content-Encoding: gzip\)"
    with serving(Packing) as host:
        with pytest.raises(InputError, match=f"image.zarr/zarr.json: {told}.*copy the store to a local disk$"):
            open_image(f"{host}/{path.name}")
        Packing.packed = "chunks"
        image = open_image(f"{host}/{path.name}")
        with pytest.raises(InputError, match=told):
            read_box(image, 0, Box.of_shape((12, 20, 22)))
    forget_connections()


def test_missing_libraries_are_named_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    forget_connections()
    with pytest.raises(InputError, match=r"needs?.*pip install 'bigcp3d\[s3\]'"):
        open_image("s3://bucket/a.zarr")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_consolidated_store_in_a_bucket_is_consolidated_again(stores, s3, version):
    path = stores.image(version)
    zarr_format = 3 if version == "0.5" else 2
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        zarr.consolidate_metadata(path, zarr_format=zarr_format)
    copy_store(path, place(s3) / "image.zarr")
    image = open_image(f"{s3}/image.zarr")
    target = plan_labels(image, None, "cells", shard=(12, 20, 22))
    create_labels(target, overwrite=False)
    write_label_box(target, 0, Box.of_shape((12, 20, 22)), np.ones((12, 20, 22), np.uint32))
    finish_labels(target, attributes={})
    group = zarr.open_group(zarr_store(image.path), mode="r", zarr_format=zarr_format)
    assert group.metadata.consolidated_metadata is not None
    assert "labels/cells/0" in group.metadata.consolidated_metadata.flattened_metadata
    assert [spot.name for spot in place(s3).iterdir()] == ["image.zarr"]
