"""Segment every cell of a 3D microscopy image, even if it does not fit in memory.

It cuts the volume into blocks. The labels are the same, voxel for voxel, as from a run on the whole volume in one
piece. The number of workers does not change them either. ``import bigcp3d`` loads nothing heavy: each name below is
imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

from bigcp3d.version import __version__

if TYPE_CHECKING:
    from typing import Any

    from bigcp3d.edge.labels.edit_log import Change
    from bigcp3d.errors import BigCP3DError, BlockError, InputError, LossError, ModelError, TargetError
    from bigcp3d.face.describe_plan import describe_plan
    from bigcp3d.face.progress.progress import watching
    from bigcp3d.face.report.write import write_report
    from bigcp3d.pure.group.filters import Filters
    from bigcp3d.pure.in_memory import label_maps
    from bigcp3d.pure.tissue.tissue_settings import Tissue
    from bigcp3d.schedule.edits.edit import Edits, edit
    from bigcp3d.schedule.edits.replay import replay_edits
    from bigcp3d.schedule.edits.review import Doubt, review
    from bigcp3d.schedule.estimate import estimate_diameter
    from bigcp3d.schedule.evaluate import evaluate
    from bigcp3d.schedule.export import export
    from bigcp3d.schedule.link import Lineage, link
    from bigcp3d.schedule.measure import MeasuredCells, measure
    from bigcp3d.schedule.plan_segmentation import plan_segmentation
    from bigcp3d.schedule.running.events import Summary
    from bigcp3d.schedule.segment import segment
    from bigcp3d.schedule.segment_array import segment_array
    from bigcp3d.schedule.sweep import Sweep, plan_sweep
    from bigcp3d.schedule.sweep_trial import Trial
    from bigcp3d.schedule.undo import Undone, undo_update
    from bigcp3d.schedule.update import Updated, update
    from bigcp3d.work.analyse.estimate_diameter import Estimate
    from bigcp3d.work.analyse.evaluate import Evaluation
    from bigcp3d.work.convert.convert import convert
    from bigcp3d.work.plan.plan import Plan
    from bigcp3d.work.simulate import simulate
    from bigcp3d.work.train.train import train

__all__ = [
    "BigCP3DError",
    "BlockError",
    "Change",
    "Doubt",
    "Edits",
    "Estimate",
    "Evaluation",
    "Filters",
    "InputError",
    "Lineage",
    "LossError",
    "MeasuredCells",
    "ModelError",
    "Plan",
    "Summary",
    "Sweep",
    "TargetError",
    "Tissue",
    "Trial",
    "Undone",
    "Updated",
    "__version__",
    "convert",
    "describe_plan",
    "edit",
    "estimate_diameter",
    "evaluate",
    "export",
    "label_maps",
    "link",
    "measure",
    "plan_segmentation",
    "plan_sweep",
    "replay_edits",
    "review",
    "segment",
    "segment_array",
    "simulate",
    "train",
    "undo_update",
    "update",
    "watching",
    "write_report",
]

_HOMES = {
    **dict.fromkeys(
        ("BigCP3DError", "BlockError", "InputError", "LossError", "ModelError", "TargetError"), "bigcp3d.errors"
    ),
    "convert": "bigcp3d.work.convert.convert",
    "simulate": "bigcp3d.work.simulate",
    "Tissue": "bigcp3d.pure.tissue.tissue",
    "estimate_diameter": "bigcp3d.schedule.estimate",
    "Estimate": "bigcp3d.work.analyse.estimate_diameter",
    "plan_segmentation": "bigcp3d.schedule.plan_segmentation",
    "describe_plan": "bigcp3d.face.describe_plan",
    "Plan": "bigcp3d.work.plan.plan",
    "segment": "bigcp3d.schedule.segment",
    "segment_array": "bigcp3d.schedule.segment_array",
    "Summary": "bigcp3d.schedule.running.events",
    "export": "bigcp3d.schedule.export",
    "Lineage": "bigcp3d.schedule.link",
    "link": "bigcp3d.schedule.link",
    "measure": "bigcp3d.schedule.measure",
    "MeasuredCells": "bigcp3d.schedule.measure",
    "evaluate": "bigcp3d.schedule.evaluate",
    "Evaluation": "bigcp3d.work.analyse.evaluate",
    "plan_sweep": "bigcp3d.schedule.sweep",
    "Sweep": "bigcp3d.schedule.sweep",
    "Trial": "bigcp3d.schedule.sweep_trial",
    "update": "bigcp3d.schedule.update",
    "Updated": "bigcp3d.schedule.update",
    "undo_update": "bigcp3d.schedule.undo",
    "Undone": "bigcp3d.schedule.undo",
    "edit": "bigcp3d.schedule.edits.edit",
    "Edits": "bigcp3d.schedule.edits.edit",
    "review": "bigcp3d.schedule.edits.review",
    "Doubt": "bigcp3d.schedule.edits.review",
    "replay_edits": "bigcp3d.schedule.edits.replay",
    "Change": "bigcp3d.edge.labels.edit_log",
    "train": "bigcp3d.work.train.train",
    "label_maps": "bigcp3d.pure.in_memory",
    "Filters": "bigcp3d.pure.group.filters",
    "watching": "bigcp3d.face.progress.progress",
    "write_report": "bigcp3d.face.report.write",
}
"""Where each public name comes from, in the order in which their examples run."""


def __getattr__(name: str) -> Any:
    """Import a public name from its home on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'bigcp3d' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(_import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return __all__
