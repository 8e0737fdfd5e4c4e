"""The web server of stores: what zarr in a browser asks for, and nothing that lies outside the store."""

import os
import socket
from http.client import HTTPConnection
from threading import Barrier, Thread
from urllib.parse import urlsplit

import pytest

from bigcp3d.errors import InputError
from bigcp3d.face.view.served_objects import ServedGroup, StoredObjects
from bigcp3d.face.view.store_server import StoreServer, parse_range

BODY = bytes(range(200))


@pytest.fixture
def folder(tmp_path):
    """A store with a chunk, links, a pipe, and a secret beside it."""
    store = tmp_path / "store"
    (store / "0" / "c").mkdir(parents=True)
    (store / "0" / "c" / "0").write_bytes(BODY)
    (store / "zarr.json").write_bytes(b"stored")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "store-too").mkdir()
    (tmp_path / "store-too" / "secret").write_bytes(b"secret")
    (store / "inside").symlink_to(store / "0" / "c" / "0")
    (store / "out").symlink_to(tmp_path / "secret")
    (store / "away").symlink_to(tmp_path)
    os.mkfifo(store / "pipe")
    return store


@pytest.fixture
def server(folder):
    with StoreServer({"a": ServedGroup({"": StoredObjects(folder)}, {"zarr.json": b"instead"})}) as served:
        yield served


def ask(server, path, method="GET", *, base=None, **headers):
    """Status, headers and body of an answer."""
    where = urlsplit(server.url)
    connection = HTTPConnection(where.hostname, where.port, timeout=20)
    try:
        target = (where.path if base is None else base) + path
        connection.request(method, target, headers={k.title(): v for k, v in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def test_objects_come_whole_and_a_head_tells_their_length(server):
    status, headers, body = ask(server, "a/0/c/0")
    assert (status, body) == (200, BODY)
    assert (headers["Accept-Ranges"], headers["Access-Control-Allow-Origin"]) == ("bytes", "*")
    status, headers, body = ask(server, "a/0/c/0", "HEAD")
    assert (status, headers["Content-Length"], body) == (200, "200", b"")
    assert ask(server, "a/inside")[2] == BODY
    assert ask(server, "a/0/c/0?x=1")[2] == BODY
    assert ask(server, "a/zarr.json")[2] == b"instead"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("bytes=0-9", BODY[:10]),
        ("bytes=190-", BODY[190:]),
        ("bytes=190-500", BODY[190:]),
        ("bytes=-16", BODY[-16:]),  # the index at the end of a shard
        ("bytes=-500", BODY),
        ("bytes=199-199", BODY[199:]),
    ],
)
def test_ranges_come_in_part(server, asked, expected):
    status, headers, body = ask(server, "a/0/c/0", range=asked)
    start = BODY.index(expected)
    assert (status, body) == (206, expected)
    assert headers["Content-Range"] == f"bytes {start}-{start + len(expected) - 1}/200"
    status, headers, body = ask(server, "a/0/c/0", "HEAD", range=asked)
    assert (status, headers["Content-Length"], body) == (206, str(len(expected)), b"")


@pytest.mark.parametrize("asked", ["bytes=200-", "bytes=500-600", "bytes=-0"])
def test_ranges_beyond_the_end_are_refused(server, asked):
    status, headers, _ = ask(server, "a/0/c/0", range=asked)
    assert (status, headers["Content-Range"]) == (416, "bytes */200")


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "lines=0-1", "bytes=9-3", "bytes=-", "bytes=a-b", ""])
def test_what_is_no_single_range_gives_all(asked):
    assert parse_range(asked, 200) == (0, 200, False)


def test_no_byte_of_an_empty_object_is_there():
    assert parse_range("bytes=0-", 0) is None
    assert parse_range("bytes=-5", 0) is None
    assert parse_range(None, 0) == (0, 0, False)


def test_missing_chunks_are_404_and_may_be_seen_by_the_page(server):
    for path in ("a/0/c/1", "a/0/c", "a/0/c/", "a/", "a", "", "b/0/c/0", "a/0/c/0/x"):
        status, headers, body = ask(server, path)
        assert (status, headers["Access-Control-Allow-Origin"], body) == (404, "*", b""), path


@pytest.mark.parametrize(
    "path",
    [
        "a/../secret",
        "a/0/../../secret",
        "a/%2e%2e/secret",
        "a/..%2fsecret",
        "a/%2e%2e%2fstore-too/secret",
        "a//secret",
        "a/./zarr.json",
        "a/..%5csecret",
        "a/0%00",
        "a/out",
        "a/away/secret",
        "a/pipe",
        "../a/secret",
    ],
)
def test_no_way_leads_out_of_the_store(server, path):
    status, _, body = ask(server, path)
    assert (status, body) == (404, b"")


def test_an_absolute_path_is_no_way_out(server, folder):
    assert ask(server, f"a/{folder.parent}/secret")[0] == 404
    assert ask(server, f"a/%2f{str(folder.parent)[1:]}/secret")[0] == 404


def test_the_control_what_ends_inside_is_read(server, folder):
    assert ask(server, "a/away/store/0/c/0")[2] == BODY
    (folder / "out").unlink()
    (folder / "out").write_bytes(b"not secret")
    assert ask(server, "a/out")[2] == b"not secret"


def test_another_token_finds_nothing(server):
    for base in ("/", "/wrong/", f"/{server.token[:-1]}/", f"/{server.token}x/", "/%C3%A4/"):
        assert ask(server, "a/0/c/0", base=base)[0] == 404


def test_pages_of_another_origin_get_permission_for_ranges(server):
    asked = {"origin": "http://127.0.0.1:1", "access-control-request-headers": "range"}
    status, headers, body = ask(server, "a/0/c/0", "OPTIONS", **asked)
    assert (status, body) == (204, b"")
    assert "Range" in headers["Access-Control-Allow-Headers"]
    assert "Content-Range" in headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
def test_nothing_can_be_written(server, folder, method):
    assert ask(server, "a/0/c/0", method)[0] == 501
    assert (folder / "0" / "c" / "0").read_bytes() == BODY


def test_a_connection_stays_open(server):
    where = urlsplit(server.url)
    connection = HTTPConnection(where.hostname, where.port, timeout=20)
    for path, status in (("a/0/c/0", 200), ("a/nothing", 404), ("a/0/c/0", 200)):
        connection.request("GET", where.path + path)
        answer = connection.getresponse()
        assert (answer.status, answer.will_close) == (status, False)
        answer.read()
    connection.close()


def test_requests_are_answered_side_by_side(folder):
    """Two reads that wait for each other: a server with one thread would answer neither."""
    both = Barrier(2, timeout=20)

    class Slow(StoredObjects):
        def read(self, key, start, stop):
            both.wait()
            return super().read(key, start, stop)

    with StoreServer({"a": ServedGroup({"": Slow(folder)})}) as server:
        answers = []
        threads = [Thread(target=lambda: answers.append(ask(server, "a/0/c/0")[2])) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [BODY, BODY]


def test_a_file_that_shrinks_meanwhile_is_asked_for_again(folder):
    class Shrinking(StoredObjects):
        def read(self, key, start, stop):
            return super().read(key, start, stop)[:-1]

    with StoreServer({"a": ServedGroup({"": Shrinking(folder)})}) as server:
        assert ask(server, "a/0/c/0")[0] == 503


def test_a_bucket_that_cannot_be_reached_is_an_error_of_the_way_there(folder, caplog):
    class Away(StoredObjects):
        def size(self, key):
            raise InputError("s3://bucket: cannot be reached")

    with StoreServer({"a": ServedGroup({"": Away(folder)})}) as server:
        assert ask(server, "a/0/c/0")[0] == 502
    assert "cannot be reached" in caplog.text


def test_it_listens_on_this_machine_alone_and_lets_go_of_its_port(folder):
    with StoreServer({"a": ServedGroup({"": StoredObjects(folder)})}) as server:
        assert server.server_address[0] == "127.0.0.1"
        port = server.server_port
        with pytest.raises(InputError, match=rf"port {port}.*another --port"):
            StoreServer({}, port)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
