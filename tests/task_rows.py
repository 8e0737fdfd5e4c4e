"""What each task of a run took, one row each."""

from __future__ import annotations

from bigcp3d.schedule.running.events import Event, LabelsReady
from bigcp3d.work.run.task_costs import TaskSpent, read_spent
from bigcp3d.work.run.work_dir import WorkDir


class TaskRows(list[TaskSpent]):
    """The rows, read before the run removes its records; in the order in which tasks began."""

    def look(self, event: Event) -> None:
        """Observe the run with this."""
        if isinstance(event, LabelsReady):
            rows = read_spent(WorkDir.of(event.plan), event.plan.where.times)
            self.extend(sorted(rows, key=lambda row: row.began))
