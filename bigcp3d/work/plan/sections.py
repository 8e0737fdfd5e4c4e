"""The sections of a plan: settings on which the same things depend (`bigcp3d.work.plan.plan`)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.labels.label_plan import LabelTarget
from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.pure.grid import Factors
from bigcp3d.pure.plural import count
from bigcp3d.pure.prepare.steps import Step


class Section(BaseModel):
    """A part of a plan, or of what a run writes about itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Source(Section):
    """The image, the level that is read, and the channels, in the order in which the network takes them.

    The image has no ``label_names`` here, since a run changes them.
    """

    image: ImageInfo
    level: int
    channels: tuple[int, ...]


class Sampling(Section):
    """The working grid: voxels of the image's level per working voxel, and its shape in working voxels."""

    factors: Factors
    shape: Vec3


class Prediction(Section):
    """How maps are predicted, and what flow means; ``model_hash`` (sha256) and ``card`` are None for given maps.

    ``prepare`` are the filters that the image goes through before the network; sizes are in voxels of its level.
    """

    model_hash: str | None
    card: ModelCard | None
    patch: Vec3
    margin: int
    low_percentile: float
    high_percentile: float
    clip: tuple[float, float]
    precision: str
    representation: str
    scale_vox: float
    prepare: tuple[Step, ...] = ()


class Given(Section):
    """Maps that need not be predicted: where they are (None: predict), and bytes of a stored value."""

    maps: str | None = None
    itemsize: int = 1


class Where(Section):
    """Time points, the region in voxels of the label image (None: all), and a mask, above 0 where cells may be.

    The mask has no ``label_names`` here, as the image. ``mask_factors`` are voxels of the mask's ``mask_level`` per
    working voxel. ``mask_voxels`` stands for what the mask holds: the sha256 of a sample of its voxels, at the first
    and the last time point.
    """

    times: tuple[int, ...]
    roi: Box | None = None
    mask: ImageInfo | None = None
    mask_level: int = 0
    mask_factors: Factors = (1.0, 1.0, 1.0)
    mask_voxels: str = ""


class Tracking(Section):
    """Threshold on the stored foreground (1 to 127), steps, and the longest path in working voxels."""

    foreground: int
    steps: int
    reach: int


class Grouping(Section):
    """Radius of the closing that joins end points, in working voxels."""

    closing_vox: int


class Output(Section):
    """The labels, and their voxels per working voxel."""

    target: LabelTarget
    label_factors: Factors


class Execution(Section):
    """The block, and whether missing chunks of the image are filled ("fill") or refused ("fail").

    No label depends on the block, but finished tasks do.
    """

    block: Vec3
    missing_chunks: str = "fill"


class Running(Section):
    """How the tasks run; may change when a run is carried on.

    ``executor`` is "serial" (in one process) or "dask". ``threads`` patches go through the network at a time in one
    task. ``workers`` is the largest number of processes, None where it is not known.
    """

    executor: Literal["serial", "dask"] = "dask"
    threads: int = 1
    workers: int | None = None


class Storage(Section):
    """Where intermediate results and the network's file are, whether maps are kept, and what unreadable input does.

    ``run`` is the folder in ``work_dir`` to which only the tasks of this run write. It gets a new name when a run
    begins, and keeps it when the run is carried on (`bigcp3d.schedule.running.start.name_run`). ``on_error`` is "fail"
    or "skip" (`bigcp3d.work.run.unreadable_input`). It may change when a run is carried on.
    """

    work_dir: str
    run: str = ""
    model: str | None
    keep_maps: bool = False
    on_error: str = "fail"


class Asked(Section):
    """What the user said: the command line, and the settings that were given, by name and with their units.

    ``arguments`` are those that decide the labels, exactly as Python takes them.
    """

    command: str = "from Python"
    settings: dict[str, Any] = {}
    arguments: dict[str, Any] = {}

    def differences(self, then: Asked) -> dict[str, str]:
        """By name, the settings that were asked for differently: "diameter 6 um then, 9 um now"."""
        names = {**then.settings, **self.settings}
        pairs = {name: (then.settings.get(name), self.settings.get(name)) for name in names}
        words = {name: ["not given" if one is None else str(one) for one in pair] for name, pair in pairs.items()}
        return {name: "{} {} then, {} now".format(name, *words[name]) for name, (a, b) in pairs.items() if a != b}


class Guess(Section):
    """The model and the diameter that were estimated because the user did not say them.

    `bigcp3d.schedule.complete_request` says what the ``question`` is for. The rest are the fields of
    `bigcp3d.work.analyse.estimate_diameter.Estimate`, with three digits; ``diameter`` is None where the user gave one.
    """

    question: dict[str, Any]
    model: str
    chosen: str
    diameter: float | None
    low: float
    high: float
    cells: int
    in_um: bool
    doubts: tuple[str, ...] = ()

    @property
    def answer(self) -> dict[str, Any]:
        """All but the question, ready for JSON."""
        return self.model_dump(mode="json", exclude={"question"})

    def __str__(self) -> str:
        """``diameter 8.1 um (76 cells, 80 % between 6.9 and 9.3), model nuclei (...)``."""
        unit = "um" if self.in_um else "voxels"
        spread = f"({count(self.cells, 'cell')}, 80 % between {self.low:g} and {self.high:g})"
        diameter = "" if self.diameter is None else f"diameter {self.diameter:g} {unit} {spread}"
        return ", ".join(filter(None, [diameter, self.chosen and f"model {self.model} ({self.chosen})"]))
