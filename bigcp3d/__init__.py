"""Segment every cell of a 3D microscopy volume that does not fit in memory.

The labels are those of the whole volume, bit for bit, whatever the blocks, the workers or the order of the work.
``import bigcp3d`` loads nothing heavy: each name below is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bigcp3d.version import __version__

if TYPE_CHECKING:
    from bigcp3d.face.progress.progress import watching
    from bigcp3d.face.report.write import write_report
    from bigcp3d.pure.in_memory import label_maps
    from bigcp3d.schedule.estimate import estimate_diameter
    from bigcp3d.schedule.measure import measure
    from bigcp3d.schedule.segment import plan_segmentation, segment
    from bigcp3d.schedule.sweep import plan_sweep
    from bigcp3d.schedule.update import update
    from bigcp3d.work.analyse.evaluate import evaluate
    from bigcp3d.work.simulate import simulate
    from bigcp3d.work.train.train import train

__all__ = [
    "__version__",
    "estimate_diameter",
    "evaluate",
    "label_maps",
    "measure",
    "plan_segmentation",
    "plan_sweep",
    "segment",
    "simulate",
    "train",
    "update",
    "watching",
    "write_report",
]

_HOMES = {
    "segment": "bigcp3d.schedule.segment",
    "update": "bigcp3d.schedule.update",
    "plan_segmentation": "bigcp3d.schedule.segment",
    "estimate_diameter": "bigcp3d.schedule.estimate",
    "evaluate": "bigcp3d.work.analyse.evaluate",
    "label_maps": "bigcp3d.pure.in_memory",
    "measure": "bigcp3d.schedule.measure",
    "simulate": "bigcp3d.work.simulate",
    "plan_sweep": "bigcp3d.schedule.sweep",
    "train": "bigcp3d.work.train.train",
    "watching": "bigcp3d.face.progress.progress",
    "write_report": "bigcp3d.face.report.write",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its home on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'bigcp3d' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted(set(globals()) | set(__all__))
