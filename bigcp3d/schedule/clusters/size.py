"""Reads ``--workers``: a number, or two between which the number follows the work."""

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
    """``4``, or ``"1:8"`` for 1 to 8 as there is work; anything else is an `InputError`."""
    parts = str(asked).split(":")
    if len(parts) <= 2 and all(part.strip().isdecimal() for part in parts):
        least, most = int(parts[0]), int(parts[-1])
        if 1 <= least <= most:
            return Size(least, most)
    raise InputError(
        f"workers is {asked!r}; it must be a positive number such as 4, or MIN:MAX such as 1:8 with MIN at least 1 and "
        "at most MAX"
    )
