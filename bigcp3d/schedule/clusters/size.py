"""How many workers: a number, or as many as there is work for between two numbers."""

from __future__ import annotations

from dataclasses import dataclass

from bigcp3d.errors import InputError


@dataclass(frozen=True)
class Size:
    """Workers of a cluster; adaptive where the two numbers differ."""

    least: int
    most: int

    @property
    def adaptive(self) -> bool:
        """Whether workers come and go with the work."""
        return self.least != self.most


def parse_size(asked: int | str) -> Size:
    """``4``, or ``"1:8"`` for 1 to 8 as there is work.

    Raises
    ------
    InputError
        For anything else, and for a first number below 1 or above the second.
    """
    parts = str(asked).split(":")
    if len(parts) <= 2 and all(part.strip().isdecimal() for part in parts):
        least, most = int(parts[0]), int(parts[-1])
        if 1 <= least <= most:
            return Size(least, most)
    raise InputError(
        f"workers is {asked!r}; it must be a positive number such as 4, or two as MIN:MAX such as 1:8, the first at "
        "least 1 and not above the second"
    )
