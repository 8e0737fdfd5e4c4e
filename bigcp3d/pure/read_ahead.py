"""Read the next items in threads while the current one is used."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

What = TypeVar("What")
Value = TypeVar("Value")

THREADS = 16
"""Threads for many small files: on a shared file system, each takes a millisecond or more, nearly all of it waiting."""


def read_each(read: Callable[[What], Value], wanted: Iterable[What], *, threads: int) -> Generator[Value, None, None]:
    """Yield ``read(item)`` for each item of ``wanted``, in order.

    So many threads read the next items while the caller uses the current one; with 0, each is read when it is asked
    for. At most ``threads + 1`` values are held. An exception of ``read`` is raised when its value is due. A generator
    that is closed early waits for the reading that has begun.
    """
    if not threads:
        for one in wanted:
            yield read(one)
        return
    with ThreadPoolExecutor(threads, "read-ahead") as pool:
        coming: list[Future[Value]] = []
        for one in wanted:
            coming.append(pool.submit(read, one))
            if len(coming) > threads:
                yield coming.pop(0).result()
        while coming:
            yield coming.pop(0).result()
