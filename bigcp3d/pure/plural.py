"""Numbers in words."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """A number of things: "1 cell", "2,345 cells".

    >>> count(1, "cell"), count(2345, "cell")
    ('1 cell', '2,345 cells')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def describe_indices(number: int) -> str:
    """The indices of so many things: "0", "0 to 2".

    >>> describe_indices(1), describe_indices(3)
    ('0', '0 to 2')
    """
    return "0" if number == 1 else f"0 to {number - 1}"
