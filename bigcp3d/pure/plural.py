"""Numbers of things in words."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """A number of things: "1 cell", "2,345 cells".

    >>> count(1, "cell"), count(2345, "cell")
    ('1 cell', '2,345 cells')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
