"""Shows a bar on stderr while blocks are read one after the other, if stderr is a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress

from bigcp3d.work.analyse.blocks_read import BlocksRead


@contextmanager
def block_bar(what: str, quiet: bool) -> Iterator[Callable[[BlocksRead], None]]:
    """Show a bar from the first event on. Yields an observer that moves it."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(what, total=None, visible=False)
        yield lambda event: bar.update(task, completed=event.done, total=event.total, visible=True)
