"""Servers for tests, on loopback and in memory: S3 by moto, plain files over HTTP, and a proxy that misbehaves."""

from __future__ import annotations

import http.client
import logging
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bigcp3d.edge.stores import connections
from bigcp3d.edge.stores.remote import Remote

KEY, SECRET = "AKIABIGCP3DTESTKEY42", "test/Secret+that.must-appear.nowhere"
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}


@contextmanager
def moto() -> Iterator[str]:
    """An S3 server; its address."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@contextmanager
def serving(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    """A threaded server on loopback; its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Proxy:
    """Passes requests on to an S3 server, counts them, and misbehaves as told.

    Attributes
    ----------
    requests : list of (method, path, range)
        All that came, in order.
    fail_every : int
        Every so many requests are answered 503; 0: none.
    delay_s : float
        Time before every answer.
    deny, deny_path : tuple of str, str
        Methods that are answered 403; and writing to what has this in its path.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream.removeprefix("http://")
        self.requests: list[tuple[str, str, str]] = []
        self.failed = 0
        self.fail_every, self.delay_s = 0, 0.0
        self.deny: tuple[str, ...] = ()
        self.deny_path = ""
        self.lock = threading.Lock()

    def count(self, method: str, part: str) -> Counter[tuple[str, str]]:
        """How often each path with ``part`` in it was asked for, by its range."""
        return Counter((path, span) for m, path, span in self.requests if m == method and part in path)

    def handler(self) -> type[BaseHTTPRequestHandler]:
        """For `serving`."""
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with proxy.lock:
                    proxy.requests.append((self.command, self.path, self.headers.get("Range") or ""))
                    fails = proxy.fail_every and len(proxy.requests) % proxy.fail_every == 0
                    proxy.failed += bool(fails)
                time.sleep(proxy.delay_s)
                denied = self.command == "PUT" and proxy.deny_path and proxy.deny_path in self.path
                if fails or denied or self.command in proxy.deny:
                    self._answer(503 if fails else 403, {}, b"" if fails else b"<Code>AccessDenied</Code>")
                    return
                connection = http.client.HTTPConnection(proxy.upstream, timeout=60)
                connection.request(self.command, self.path, body, dict(self.headers))
                answer = connection.getresponse()
                self._answer(answer.status, dict(answer.getheaders()), answer.read())
                connection.close()

            def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server"):
                        self.send_header(name, value)
                length = headers.get("Content-Length") if self.command == "HEAD" else None
                self.send_header("Content-Length", length or str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


def files_of(folder: Path) -> type[SimpleHTTPRequestHandler]:
    """Files of a folder, with ranges, as a plain web server gives them; for `serving`."""

    class Files(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def do_GET(self) -> None:
            asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
            path = self.translate_path(self.path)
            if asked is None or not os.path.isfile(path):
                super().do_GET()
                return
            content = Path(path).read_bytes()
            first, last = asked.groups()
            start = int(first) if first else max(0, len(content) - int(last))
            stop = min(int(last) + 1, len(content)) if first and last else len(content)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
            self.send_header("Content-Length", str(stop - start))
            self.end_headers()
            self.wfile.write(content[start:stop])

        def log_message(self, *_: Any) -> None:
            pass

    return Files


def odd_server(
    folder: Path, *, head: int = 0, absent: int = 404, ranges: bool = True
) -> type[SimpleHTTPRequestHandler]:
    """Files of a folder from a server with a fault; for `serving`.

    It answers ``head`` to HEAD requests (0: as it should), ``absent`` for what is not there (200: a web page), and
    knows no ranges unless ``ranges``.
    """

    class Odd(files_of(folder)):  # type: ignore[misc]
        def do_HEAD(self) -> None:
            self.send_error(head) if head else super().do_HEAD()

        def do_GET(self) -> None:
            if os.path.isfile(self.translate_path(self.path)):
                super().do_GET() if ranges else SimpleHTTPRequestHandler.do_GET(self)
            elif absent == 200:
                self.send_response(200)
                self.send_header("Content-Type", "Text/HTML; charset=UTF-8")
                self.send_header("Content-Length", "15")
                self.end_headers()
                self.wfile.write(b"<!doctype html>")
            else:
                self.send_error(absent)

    return Odd


def copy_store(local: Path, spot: Remote) -> None:
    """Files into an object store."""
    for path in local.rglob("*"):
        if path.is_file():
            (spot / path.relative_to(local).as_posix()).write_bytes(path.read_bytes())


def make_bucket(endpoint: str, bucket: str) -> None:
    """A new bucket on a server."""
    import boto3

    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket=bucket)


def make_public(endpoint: str, address: str) -> None:
    """Let anyone read what a bucket holds now."""
    import boto3

    client, bucket = boto3.client("s3", endpoint_url=endpoint), address.removeprefix("s3://")
    for found in client.list_objects_v2(Bucket=bucket)["Contents"]:
        client.put_object_acl(Bucket=bucket, Key=found["Key"], ACL="public-read")


def forget_connections() -> None:
    """Let the environment be read again."""
    connections.connect.cache_clear()
    connections._settings.cache_clear()


def slowed(upstream: str, delay_s: float) -> type[BaseHTTPRequestHandler]:
    """A proxy that takes its time; for `serving`."""
    proxy = Proxy(upstream)
    proxy.delay_s = delay_s
    return proxy.handler()
