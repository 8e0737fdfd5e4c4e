"""The tasks that are open: taken from the list of all tasks, and not ended.

At most ``most`` are open at a time, so a run of millions of tasks needs no more memory than a small one::

    all tasks, in order:   ended | open: can run, or wait for open ones | not taken yet
                                   <------------- most ------------->

Each task follows those that it waits for. So what a task needs has ended or is open, and the first open task can always
run. Passes alternate in the list, so a good share of the open tasks can run, whatever the shape of the volume. When a
task ends, the next one is taken, so workers never wait for a group of tasks to end.
"""

from __future__ import annotations

from collections.abc import Iterable

from bigcp3d.schedule.running.tasks import Key, Task


class OpenTasks:
    """Gives the tasks that can run. A task that needs a failed one never runs, nor do those that need it."""

    def __init__(self, tasks: Iterable[Task], most: int) -> None:
        self._coming, self._most = iter(tasks), most
        self._waits: dict[Key, int] = {}
        """For each open task, how many open tasks it waits for."""
        self._followers: dict[Key, list[Task]] = {}
        """The open tasks that wait for an open task."""
        self._failed: set[Key] = set()
        self._ready: list[Task] = []

    def take(self) -> list[Task]:
        """The tasks that can run since the last call."""
        while len(self._waits) < self._most and (task := next(self._coming, None)) is not None:
            self._open(task)
        ready, self._ready = self._ready, []
        return ready

    def _open(self, task: Task) -> None:
        if not self._failed.isdisjoint(task.needs):
            self._failed.add(task.key)
            return
        needs = [need for need in task.needs if need in self._waits]
        self._waits[task.key] = len(needs)
        for need in needs:
            self._followers.setdefault(need, []).append(task)
        if not needs:
            self._ready.append(task)

    def end(self, key: Key, *, failed: bool = False) -> None:
        """Say that a task has ended."""
        del self._waits[key]
        if failed:
            self._failed.add(key)
        for follower in self._followers.pop(key, ()):
            if follower.key not in self._waits:  # ended already, behind another task that failed
                continue
            if failed:
                self.end(follower.key, failed=True)
                continue
            self._waits[follower.key] -= 1
            if not self._waits[follower.key]:
                self._ready.append(follower)
