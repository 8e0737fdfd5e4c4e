"""Serving the page, on loopback alone, while a run goes.

It is served beside Dask's dashboard rather than in it: so it is the same on a cluster whose scheduler knows nothing of
bigcp3d, and nothing of it runs there.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from bigcp3d.face.dashboard.state import RunState
from bigcp3d.schedule.running.events import ClusterReady, Event, Observer, PageServed

HOST, PORT = "127.0.0.1", 8788
log = logging.getLogger(__name__)


def free_port() -> int:
    """8788 where it is free, else any."""
    for port in (PORT, 0):
        with suppress(OSError), socket.socket() as probe:
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
    raise OSError("no port is free")


@contextmanager
def serving(state: RunState) -> Iterator[str]:
    """Serve the page while the context lasts; its address."""
    from bokeh.server.server import Server

    from bigcp3d.face.dashboard.page import RunPage

    ready = threading.Event()
    held: dict[str, Any] = {}
    port = free_port()
    origins = [f"{host}:{port}" for host in (HOST, "localhost")]

    def run() -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            server = Server(
                {"/": lambda document: RunPage(state).add_to(document)},
                port=port,
                address=HOST,
                allow_websocket_origin=origins,
            )
            held["server"] = server
            server.start()
        finally:
            ready.set()
        server.io_loop.start()

    thread = threading.Thread(target=run, name="bigcp3d page", daemon=True)
    thread.start()
    ready.wait(20)
    if "server" not in held:
        raise OSError(f"the page could not be served at {HOST}:{port}")
    try:
        yield f"http://{HOST}:{port}/"
    finally:
        server = held["server"]
        server.io_loop.add_callback(server.stop)
        server.io_loop.add_callback(server.io_loop.stop)
        thread.join(5)


class PageServer:
    """An observer that serves the page of a run on Dask, and closes it when its context ends.

    A page that cannot be served harms no run: that is logged.
    """

    def __init__(self, then: Observer | None = None) -> None:
        self.then = then
        self.state = RunState()
        self.address = ""
        self._open: AbstractContextManager[str] | None = None

    def __enter__(self) -> PageServer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._open is not None:
            self._open.__exit__(None, None, None)

    def __call__(self, event: Event) -> None:
        """Keep what the page shows; serve it once there is a cluster with a dashboard."""
        self.state(event)
        if isinstance(event, ClusterReady) and event.dashboard and self._open is None:
            self._serve()

    def _serve(self) -> None:
        try:
            opened = serving(self.state)
            self.address, self._open = opened.__enter__(), opened
        except Exception as error:
            log.warning("the page with the map of blocks cannot be served: %s", error)
            return
        if self.then is not None:
            self.then(PageServed(self.address))
