"""Names the settings that differ, of two plans or two trainings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def name_differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Settings that differ, as "name: 1 then, 2 now"; of a group of settings, as "group.name: 1 then, 2 now"."""
    found = []
    for name in {**then, **now}:
        old, new = then.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += [f"{name}.{line}" for line in name_differences(old, new)]
        elif old != new:
            found.append(f"{name}: {old} then, {new} now")
    return found
