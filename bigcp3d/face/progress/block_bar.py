"""A bar on stderr while blocks are read one after the other, if stderr is a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bigcp3d.work.analyse.blocks_read import BlocksRead


class BlockBar:
    """An observer of blocks, and a context that shows the bar while it lasts."""

    def __init__(self, what: str, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        self.bar = Progress(console=console, transient=True, disable=quiet or not console.is_terminal)
        self.task = self.bar.add_task(what, total=None)

    def __enter__(self) -> BlockBar:
        self.bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.bar.stop()

    def __call__(self, event: BlocksRead) -> None:
        """Move the bar."""
        self.move(event.done, event.total)

    def move(self, done: int, total: int) -> None:
        """Show how many of how many blocks are done."""
        self.bar.update(self.task, completed=done, total=total)
