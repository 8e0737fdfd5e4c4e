"""Reading ahead: what is read, when, in which order, and by whom; events instead of seconds."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from bigcp3d.pure.read_ahead import read_each


class Value:
    """Something that can be seen to go."""


@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_each_is_read_once_and_in_order(count: int, threads: int) -> None:
    asked: list[int] = []
    assert list(read_each(lambda i: asked.append(i) or 10 * i, range(count), threads=threads)) == [
        10 * i for i in range(count)
    ]
    assert sorted(asked) == list(range(count))


def test_the_next_one_is_read_while_one_is_used_and_no_third() -> None:
    begun = [threading.Event() for _ in range(4)]
    values = read_each(lambda i: begun[i].set() or i, range(4), threads=1)
    assert next(values) == 0
    assert begun[1].wait(10)
    assert not begun[2].wait(0.1)
    assert next(values) == 1
    assert begun[2].wait(10)
    values.close()
    assert not begun[3].is_set()


def test_control_without_a_thread_nothing_is_read_before_it_is_asked_for() -> None:
    asked: list[tuple[int, int]] = []
    values = read_each(lambda i: asked.append((i, threading.get_ident())), range(3), threads=0)
    next(values)
    assert asked == [(0, threading.get_ident())]


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_a_value_is_held_by_its_user_alone(threads: int) -> None:
    values = read_each(lambda _: Value(), range(3), threads=threads)
    value = next(values)
    gone = weakref.ref(value)
    del value
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_an_error_comes_when_its_value_is_asked_for(threads: int) -> None:
    values = read_each(lambda i: 6 // (1 - i), range(3), threads=threads)
    assert next(values) == 6
    with pytest.raises(ZeroDivisionError):
        next(values)
