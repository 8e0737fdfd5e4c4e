"""Events that a run sends to its observer (``on_event``), and the summary at its end.

They arrive one at a time, in the process that called `segment`: ``EstimateStarted`` and ``Estimated`` if the user left
the diameter or the model open, ``RunPlanned``, on Dask ``ClusterReady``, for longer runs ``TimeExpected``. Then for
each of the two phases (cells, labels): ``PassStarted`` of all its passes, and ``BlockDone`` (in one process
``BlockGoesOn`` before it) or ``BlockFailed`` of their blocks, where passes alternate. Then ``LabelsReady`` and
``RunFinished``. ``Warned`` and ``Noted`` may come at any time. No label depends on an observer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bigcp3d.work.plan.plan import Plan
    from bigcp3d.work.plan.sections import Guess


class Event:
    """Base class of all events."""


@dataclass(frozen=True)
class EstimateStarted(Event):
    """The user left ``what`` open ("the model and the diameter"): it is estimated, before the run is planned."""

    what: str


@dataclass(frozen=True)
class Estimated(Event):
    """What was estimated in place of what the user left open."""

    guess: Guess


@dataclass(frozen=True)
class RunPlanned(Event):
    """The plan is made, and every check that needs no voxels has passed."""

    plan: Plan


@dataclass(frozen=True)
class ClusterReady(Event):
    """A Dask cluster answers. ``dashboard`` is its address, or empty."""

    dashboard: str
    workers: int


@dataclass(frozen=True)
class TimeExpected(Event):
    """How long the run will take, from a patch that was measured as it began. Short and resumed runs measure none.

    ``seconds`` is the wall time; ``passes`` are the seconds of one worker for each pass. A patch takes
    ``patch_seconds``, and there are ``patches``.
    """

    seconds: float
    passes: dict[str, float]
    patch_seconds: float
    patches: int


@dataclass(frozen=True)
class PassStarted(Event):
    """A pass begins. ``tasks`` and ``voxels`` count all its blocks, including those that an earlier run has done."""

    name: str
    tasks: int
    voxels: int = 0


@dataclass(frozen=True)
class BlockDone(Event):
    """One block of one pass is finished.

    ``index`` is (z, y, x), with the level in front for ``pyramid``; ``voxels`` are those that it had to fill.
    ``seconds`` is the time on the ``worker`` (``host:pid``): 0 and empty if an earlier run has done it. ``done`` of
    ``total`` blocks of the pass are finished. ``gpu_peak_bytes`` is the most memory used on the worker's GPU.
    """

    name: str
    index: tuple[int, ...]
    voxels: int
    seconds: float
    done: int
    total: int
    time: int = 0
    worker: str = ""
    gpu_peak_bytes: int = 0


@dataclass(frozen=True)
class BlockGoesOn(Event):
    """A share (0 to 1) of the block that a pass works on is done. Only runs in one process send it.

    A run of one block would else stand still until it is nearly over.
    """

    name: str
    voxels: int
    share: float


@dataclass(frozen=True)
class BlockFailed(Event):
    """A block failed: on Dask, after it was tried again if that could help. Blocks that wait for it send no event."""

    name: str
    time: int
    index: tuple[int, ...]
    error: str


@dataclass(frozen=True)
class Warned(Event):
    """Something that the user should know and that does not end the run.

    ``kind`` is that of the `bigcp3d.pure.cells.plausibility.Finding` if the cells look odd, else empty.
    """

    message: str
    kind: str = ""


@dataclass(frozen=True)
class Noted(Event):
    """Something that the user should know and that is no reason for a warning."""

    message: str


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes
    ----------
    labels : str
        Path of the labels group.
    name : str
        Name of the labels.
    cells : int
        Cells written.
    removed : dict of str to int
        Removed objects, by filter.
    unassigned_vox, foreground_vox, nonfinite_vox : int
        Numbers of voxels. The first two count voxels of the working grid: foreground without a cell, because the path
        is too long, and all foreground. The third counts voxels of the image that are NaN or infinite.
    blocks, voxels : int
        Blocks of the working grid; voxels that get labels, over all time points.
    seconds : float
        Wall time.
    pass_seconds : dict of str to float
        Time spent in the tasks of each pass, summed over workers.
    lost : list of str
        Chunks of the input that could not be read and became background (``on_error="skip"``): the first 1,000.
    lost_chunks : int
        How many they are.
    missing_chunks : int
        Chunks of the image that are not in the store and were read as the fill value.
    processors : list of str
        Kinds of processors or GPUs that predicted, with the version of torch; those of kept maps too. Empty where maps
        of another program were given. The promise of equal labels holds for one kind.
    oddities : list of str
        What is odd about the cells, with what to try (`bigcp3d.pure.cells.plausibility`); empty where nothing is.
    found : list of dict
        The numbers that were looked at, for each time point: the fields of `bigcp3d.pure.cells.found.Found`.
    table : str or None
        Place of the table of cells, if one was written.
    """

    labels: str
    name: str
    cells: int
    removed: dict[str, int]
    unassigned_vox: int
    foreground_vox: int
    nonfinite_vox: int
    blocks: int
    voxels: int
    seconds: float
    pass_seconds: dict[str, float]
    lost: list[str] = field(default_factory=list)
    lost_chunks: int = 0
    missing_chunks: int = 0
    processors: list[str] = field(default_factory=list)
    oddities: list[str] = field(default_factory=list)
    found: list[dict[str, Any]] = field(default_factory=list, repr=False)
    table: str | None = None


@dataclass(frozen=True)
class LabelsReady(Event):
    """The labels are finished. The work directory is still there, with the table of the cells."""

    plan: Plan
    summary: Summary


@dataclass(frozen=True)
class ReportWritten(Event):
    """An observer has written the report of the run."""

    path: str


@dataclass(frozen=True)
class RunFinished(Event):
    """The run is over."""

    summary: Summary


Observer = Callable[[Event], None]
