"""Writes reports: where a report goes, and the observer that writes one at the end of a run."""

from __future__ import annotations

import logging
from pathlib import Path

from bigcp3d.edge.image.image import open_labels
from bigcp3d.edge.labels.default_name import DEFAULT_NAME
from bigcp3d.edge.stores.atomic_files import write_bytes
from bigcp3d.edge.stores.platforms import join_words
from bigcp3d.errors import TargetError
from bigcp3d.face.report.facts import gather
from bigcp3d.face.report.page import GENERATOR, render
from bigcp3d.pure.cells.cell_summary import Parts
from bigcp3d.schedule.edits.correction import settle_labels
from bigcp3d.schedule.planning.file_of_labels import file_of_labels
from bigcp3d.schedule.running.events import Event, LabelsReady, Observer, ReportWritten
from bigcp3d.work.analyse.report_cells import cells_of_run
from bigcp3d.work.plan.plan import Plan

log = logging.getLogger(__name__)


def write_report(
    store: str | Path,
    name: str = DEFAULT_NAME,
    *,
    output: str | Path | None = None,
    image: str | None = None,
    parts: Parts | None = None,
) -> Path:
    """Write the report of labels: one HTML file that needs nothing else, under 5 MB.

    Parameters
    ----------
    store : str or Path
        An image with labels, a store of labels, or one labels group.
    name : str
        Name of the labels.
    output : str or Path, optional
        The file. Default: ``STORE.NAME.report.html`` beside the store. An older report there is replaced.
    image : str, optional
        The image of the labels, where they name none, or an address elsewhere (`bigcp3d.edge.labels.image_and_labels`).
    parts : callable, optional
        Gives the rows of all cells, if a run has them. Default: the labels are read once, block by block.

    Returns
    -------
    path : Path

    Raises
    ------
    InputError
        There are no such labels, or they cannot be read.
    TargetError
        The file cannot be written, or exists already and is not a report.
    """
    settle_labels(store, name)
    labels = open_labels(store, name)
    path = Path(output) if output is not None else path_of(labels.path)
    _check_place(path)
    text = render(gather(store, name, parts, image)).encode()
    try:
        write_bytes(path, text)
    except OSError as error:
        raise TargetError(f"{path}: cannot be written: {error.strerror or error}; give another --output") from error
    return path


def path_of(where: str) -> Path:
    """Where the report of a labels group goes (`bigcp3d.schedule.planning.file_of_labels`)."""
    return file_of_labels(where, ".report.html")


def _check_place(path: Path) -> None:
    """Refuse to replace a file that is no report (`TargetError`)."""
    if not path.exists():
        return
    try:
        head = path.read_bytes()[:2000] if path.is_file() else b""
    except OSError as error:
        raise TargetError(f"{path}: cannot be read: {error.strerror or error}; give another --output") from error
    if f'name="generator" content="{GENERATOR} '.encode() not in head:
        raise TargetError(f"{path} exists already and is not a report; move it away, or give another --output")


class ReportWriter:
    """An observer that writes the report of a run when its labels are ready, and hands every event on to ``then``.

    An error is only logged: the labels are finished, and `bigcp3d report` can write the report later. ``path`` is that
    of the report, once it is written.
    """

    def __init__(self, then: Observer | None = None) -> None:
        self.then: Observer = then or (lambda event: None)
        self.path: Path | None = None

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, LabelsReady):
            self._write(event.plan)
        self.then(event)

    def _write(self, plan: Plan) -> None:
        target = plan.output.target
        try:
            self.path = write_report(
                target.group, target.name, image=plan.source.image.path, parts=lambda: cells_of_run(plan)
            )
        except Exception as error:
            again = join_words(["bigcp3d", "report", target.group, "--name", target.name])
            log.warning(
                "the labels are finished, but their report could not be written: %s: %s; try again with: %s",
                *(type(error).__name__, error, again),
            )
            log.debug("the report failed", exc_info=True)
        else:
            self.then(ReportWritten(str(self.path)))
