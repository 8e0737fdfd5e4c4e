"""Reading ahead: a thread fetches the next thing while this one is used."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

What = TypeVar("What")
Value = TypeVar("Value")


def read_each(read: Callable[[What], Value], wanted: Sequence[What], *, ahead: bool) -> Generator[Value, None, None]:
    """Read one thing after the other.

    Parameters
    ----------
    read : callable
        Gives the value of one of ``wanted``; called once for each, in order, never twice at a time.
    wanted : sequence
        What is read.
    ahead : bool
        Whether a thread reads the next one while the caller uses this one; else each is read when it is asked for.

    Yields
    ------
    value
        What ``read`` gave; not held here any more.

    Raises
    ------
    Exception
        What ``read`` raised, when its value is asked for.

    Notes
    -----
    Ahead, the value in use and the next one are in memory; never a third. A generator that is closed early waits for
    the reading that has begun.
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
