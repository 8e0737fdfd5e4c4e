"""The event of a measurement or an evaluation: how many of its blocks were read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BlocksRead:
    """``done`` of ``total`` blocks were read."""

    done: int
    total: int
