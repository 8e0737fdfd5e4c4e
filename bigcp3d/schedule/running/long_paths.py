"""Tells of paths that Windows cuts, before a run starts. Other systems have no limit that matters.

The names of files follow from the layout of the work directory and of the labels. Each file is first written under a
longer name (`bigcp3d.edge.stores.atomic_files`, zarr's local store), which counts here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bigcp3d.edge.stores import platforms
from bigcp3d.errors import TargetError
from bigcp3d.work.plan.plan import Plan

IN_WORK_DIR = 115
"""Letters that each run adds to its work directory: the record of its device, under the name it has first."""

IN_LABELS = 51
"""Letters that each run adds to the folder of its labels: a shard, under the name it has first."""

MORE = 19
"""Letters that larger numbers of blocks and time points may add."""


def check_paths(plan: Plan) -> None:
    """Raise a `TargetError` where Windows would cut a path that the run writes."""
    limit = platforms.path_limit()
    for folder, length in _longest(plan):
        if limit is not None and length > limit:
            raise TargetError(_describe(folder, length, limit))


def warn_of_paths(plan: Plan) -> Iterator[str]:
    """A warning for each folder in which Windows may cut a path if the volume is large."""
    limit = platforms.path_limit()
    for folder, length in _longest(plan):
        if limit is not None and length + MORE > limit:
            yield _describe(folder, length, limit)


def _longest(plan: Plan) -> Iterator[tuple[Path, int]]:
    """Folders that a run writes to, each with the letters of the longest path in it that every run needs."""
    work, labels = Path(plan.storage.work_dir), plan.output.target.path
    yield work, len(str(work)) + IN_WORK_DIR
    if isinstance(labels, Path):
        yield labels, len(str(labels)) + IN_LABELS


def _describe(folder: Path, length: int, limit: int) -> str:
    return (
        f"{folder}: a path in this folder will have {length} letters or more, and Windows takes {limit}; give shorter "
        "paths for --output and --work-dir, or turn on long paths in Windows (LongPathsEnabled)"
    )
