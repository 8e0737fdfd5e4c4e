"""A read-only web server for stores: what a viewer in the browser reads its voxels from.

::

    GET http://127.0.0.1:PORT/TOKEN/GROUP/KEY
                              |     |     +-- of a stored object: zarr.json, 0/c/0/1/2
                              |     +-------- which image or labels
                              +-------------- a random word, so that no other user or web page can guess the address

It listens on the loopback address only, and it only reads what the groups hold
(`bigcp3d.face.view.served_objects`). It knows the part of HTTP that zarr in a browser needs: HEAD, one range a request
(shards are read from the end), permission for pages of another origin, 404 for chunks that are not stored, and
connections that stay open. Python's own server has neither ranges nor permission.
"""

from __future__ import annotations

import logging
import re
import secrets
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote

from bigcp3d.errors import BigCP3DError, InputError
from bigcp3d.face.view.served_objects import ServedGroup

HOST = "127.0.0.1"
POLL_S = 0.05
"""How long, in seconds, the end of the ``with`` block may wait."""
RANGE = re.compile(r"bytes=(\d*)-(\d*)")
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "Range",
    "Access-Control-Allow-Private-Network": "true",
    "Access-Control-Expose-Headers": "Accept-Ranges, Content-Length, Content-Range",
    "Access-Control-Max-Age": "600",
}
"""Any page that knows the token may read; only the viewer's page knows it."""

log = logging.getLogger(__name__)


class StoreServer(ThreadingHTTPServer):
    """Serves groups, by their names in addresses, from a thread while the ``with`` block runs.

    Port 0 stands for any free port; `InputError` where a port is taken or not allowed.
    """

    daemon_threads = True

    def __init__(self, groups: Mapping[str, ServedGroup], port: int = 0) -> None:
        self.groups = dict(groups)
        self.token = secrets.token_urlsafe(16)
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            raise InputError(
                f"port {port} cannot be used ({error}); give another --port (the one after it is used too)"
            ) from error

    @property
    def url(self) -> str:
        """Address above the groups, with a slash at its end."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(POLL_S,), name="bigcp3d-stores", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log a connection that broke; browsers do that all the time."""
        log.debug("a connection from %s ended badly", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    server: StoreServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise the body of a small answer waits until the browser confirms its head
    timeout = 60  # an idle connection gives its thread back

    def do_OPTIONS(self) -> None:
        """Permit requests of pages of another origin."""
        self._send(HTTPStatus.NO_CONTENT)

    def do_GET(self) -> None:
        """Send an object, or the part of it that was asked for; for HEAD only how long that is."""
        try:
            self._answer_with(self._find())
        except BigCP3DError as error:  # a bucket that cannot be reached
            log.warning("%s", error)
            self._send(HTTPStatus.BAD_GATEWAY)

    do_HEAD = do_GET

    def _answer_with(self, found: tuple[ServedGroup, str] | None) -> None:
        size = None if found is None else found[0].size(found[1])
        if found is None or size is None:
            self._send(HTTPStatus.NOT_FOUND)
            return
        group, key = found
        span = parse_range(self.headers.get("Range"), size)
        if span is None:
            self._send(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {"Content-Range": f"bytes */{size}"})
            return
        start, stop, partial = span
        more = {"Content-Range": f"bytes {start}-{stop - 1}/{size}"} if partial else {}
        status = HTTPStatus.PARTIAL_CONTENT if partial else HTTPStatus.OK
        if self.command == "HEAD":
            self._send(status, more, length=stop - start)
            return
        body = group.read(key, start, stop)
        if len(body) != stop - start:  # the file was replaced in between: let the browser ask again
            self._send(HTTPStatus.SERVICE_UNAVAILABLE)
            return
        self._send(status, more, body)

    def _find(self) -> tuple[ServedGroup, str] | None:
        """The group and the key of the address; None where the form, the token or the group is wrong."""
        token, _, rest = self.path.partition("?")[0].lstrip("/").partition("/")
        name, _, key = rest.partition("/")
        group = self.server.groups.get(unquote(name))
        if group is None or not secrets.compare_digest(token.encode(), self.server.token.encode()):
            return None
        return group, unquote(key)

    def _send(
        self, status: HTTPStatus, more: Mapping[str, str] | None = None, body: bytes = b"", *, length: int | None = None
    ) -> None:
        self.send_response(status)
        headers = {"Accept-Ranges": "bytes", "Cache-Control": "no-cache", "Content-Type": "application/octet-stream"}
        if status != HTTPStatus.NO_CONTENT:
            headers |= {"Content-Length": str(len(body) if length is None else length)}
        for name, value in {**CORS, **headers, **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log a request under ``--verbose``, without the token, since people share logs."""
        log.debug("%s", (format % args).replace(self.server.token, "TOKEN"))


def parse_range(header: str | None, size: int) -> tuple[int, int, bool] | None:
    """Which of ``size`` bytes a ``Range`` header asks for: start, stop, and whether that is only a part.

    None where there are no such bytes. Without a header, or where it is not a single range of bytes, all bytes.
    """
    match = RANGE.fullmatch((header or "").strip())
    if match is None or match.group() == "bytes=-":
        return 0, size, False
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        return (size - length, size, True) if length else None
    start, stop = int(first), min(int(last) + 1, size) if last else size
    if last and int(last) < int(first):
        return 0, size, False  # no range at all: to be ignored
    return (start, stop, True) if start < size else None
