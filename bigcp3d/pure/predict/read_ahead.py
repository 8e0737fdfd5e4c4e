"""Read the next item in a thread while the current one is used."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

What = TypeVar("What")
Value = TypeVar("Value")


def read_each(read: Callable[[What], Value], wanted: Sequence[What], *, ahead: bool) -> Generator[Value, None, None]:
    """Yield ``read(item)`` for each item of ``wanted``, in order.

    With ``ahead``, a thread reads the next item while the caller uses the current one. It never reads two at a time,
    and at most two values are held. An exception of ``read`` is raised when its value is due. A generator that is
    closed early waits for the reading that has begun.
    """
    if not ahead:
        for one in wanted:
            yield read(one)
        return
    with ThreadPoolExecutor(1, "read-ahead") as pool:
        coming: list[Future[Value]] = []
        for one in wanted:
            coming.append(pool.submit(read, one))
            if len(coming) > 1:
                yield coming.pop(0).result()
        while coming:
            yield coming.pop(0).result()
