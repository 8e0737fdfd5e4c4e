"""What a benchmark measures and how it is shown: seconds, bytes, a table for people and JSON beside it."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Row = dict[str, Any]


def spend(task: Callable[[], T], repeats: int = 1) -> tuple[T, Row]:
    """Result of a task, with the least wall and CPU seconds (all threads of this process) over some repeats."""
    spent: Row = {"wall_s": float("inf"), "cpu_s": float("inf")}
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        result = task()
        now = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
        spent = {name: min(spent[name], now[name]) for name in spent}
    return result, spent


def peak_bytes(task: Callable[[], Any]) -> int:
    """Most bytes of numpy arrays that a task holds at once, its result included and its input not."""
    tracemalloc.start()
    try:
        task()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def show(title: str, rows: Iterable[Row]) -> str:
    """A table: one line a row, columns as the rows have them."""
    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [columns, *([_word(row.get(name)) for name in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    lines = ["  ".join(word.ljust(w) if i == 0 else word.rjust(w) for i, (word, w) in enumerate(zip(line, widths, strict=True))) for line in cells]  # noqa: E501 # fmt: skip
    return "\n".join([title, "-" * len(title), *lines, ""])


def _word(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def write_json(path: Path | None, tables: dict[str, list[Row]]) -> None:
    """All tables in one file, where one is asked for."""
    if path is not None:
        path.write_text(json.dumps(tables, indent=1, default=float) + "\n")


def tell(tables: dict[str, list[Row]], path: Path | None) -> None:
    """Print all tables, and write them into a file where one is asked for."""
    for title, rows in tables.items():
        print(show(title, rows))
    write_json(path, tables)
