"""Fills the template of the page (`page.html.j2`) with texts and numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bigcp3d.edge.stores.places import place
from bigcp3d.face.progress.pace import format_count, format_time
from bigcp3d.face.report.cards import cell_cards, describe_volume, format_um3, plane_cards
from bigcp3d.face.report.facts import Facts
from bigcp3d.face.report.plots import colour_of, plot_volumes, plot_workers
from bigcp3d.pure.memory import format_bytes
from bigcp3d.pure.plural import count
from bigcp3d.schedule.edits.review import sample_error
from bigcp3d.version import __version__
from bigcp3d.work.run.run_costs import PassEffort, RunEffort, WorkerEffort

GENERATOR = "bigcp3d"
"""Marks a file as a report: only reports are replaced."""

LIMITS = {
    "too small": ("min_volume_vox", "at least {:,.1f} working voxels"),
    "too large": ("max_volume_vox", "at most {:,.1f} working voxels"),
    "weak foreground": ("min_foreground", "mean foreground at least {:.3g}"),
    "too long": ("max_elongation", "at most {:.3g} times as long as wide"),
    "flow error": ("max_flow_error", "at most {:.3g} (voxels per step)²"),
}


def render(facts: Facts) -> str:
    """The whole page."""
    loader = PackageLoader("bigcp3d.face.report", ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    return environment.get_template("page.html.j2").render(context(facts))


def context(facts: Facts) -> dict[str, Any]:
    """What the template shows."""
    digest = facts.digest
    return {
        "generator": f"{GENERATOR} {__version__}",
        "title": _title(facts),
        "subtitle": _subtitle(facts),
        "figures": list(_figures(facts)),
        "oddities": [text[:1].upper() + text[1:] for text in map(str, facts.run.get("oddities") or ())],
        "warnings": list(_warnings(facts)),
        "slices_text": _slices_text(facts),
        "planes": plane_cards(facts),
        "cells": digest.cells,
        **(_volumes(facts) if digest.cells else {}),
        "removed": list(_removed(facts)),
        "unassigned_text": _unassigned(facts),
        "galleries": list(_galleries(facts)),
        "effort": facts.effort is not None,
        **(_effort(facts.effort) if facts.effort is not None else {}),
        "parameters": list(_parameters(facts)),
    }


def _title(facts: Facts) -> str:
    over = f" over {len(facts.times)} time points" if len(facts.times) > 1 else ""
    path = Path(facts.source.labels.path)
    return f"{count(facts.digest.cells, 'cell')}{over} in {path.parent.parent.name}, labels {path.name}"


def _subtitle(facts: Facts) -> str:
    labels = facts.source.labels
    level = labels.levels[0]
    size = " × ".join(f"{s:,}" for s in level.shape)
    words = [f"{labels.path}", f"{size} voxels (z, y, x)"]
    if level.scale_um is not None:
        words.append("voxel " + " × ".join(f"{s:.4g}" for s in level.scale_um) + " µm")
    return "; ".join([*words, f"report written {datetime.now(UTC):%d %B %Y, %H:%M} UTC"])


def _figures(facts: Facts) -> Iterator[tuple[str, str, str]]:
    """Name, value and note of the numbers at the top."""
    digest, effort, size = facts.digest, facts.effort, facts.source.wanted.size
    yield "cells", f"{digest.cells:,}", f"{digest.border:,} touch the border"
    if digest.cells:
        voxels = f"{digest.median['volume']:,.6g} voxels"
        if facts.voxel_um3 is not None:
            yield "median volume", f"{format_um3(digest.median['volume'] * facts.voxel_um3)} µm³", voxels
        else:
            yield "median volume", voxels, "the store states no voxel size"
    if (rate := sample_error(place(facts.source.labels.path))) is not None:
        interval = f"95 % interval {rate.low:.1%} to {rate.high:.1%}; {rate.wrong} of {rate.checked} reviewed at random"
        yield "wrong cells", f"{rate.wrong / rate.checked:.1%}", interval
    share = digest.voxels / (size * max(len(facts.times), 1))
    yield "labelled", f"{share:.1%}", f"of {format_count(size, 'voxel')}s"
    if (foreground := int(facts.run.get("foreground_vox") or 0)) > 0:
        lost = int(facts.run.get("unassigned_vox") or 0)
        yield "foreground without a cell", f"{lost / foreground:.2%}", f"{lost:,} working voxels"
    if effort is not None:
        speed = format_count(facts.run_vox / max(effort.seconds, 1e-9), "voxel/s")
        yield "wall time", format_time(effort.seconds), speed
        if peak := max((p.peak_bytes for p in effort.passes), default=0):
            yield "memory of a worker", format_bytes(peak), f"peak; planned {format_bytes(effort.planned_bytes)}"


def _warnings(facts: Facts) -> Iterator[str]:
    if not facts.run:
        yield "These labels have no record of bigcp3d, so filters, time and parameters are unknown."
    if (bad := int(facts.run.get("nonfinite_vox") or 0)) > 0:
        yield f"In the image, {count(bad, 'voxel')} are NaN or infinite. They were read as the lowest intensity."
    if facts.run.get("scale_um"):
        yield "Micrometres are computed from the voxel size that was given (--scale), not from what the store says."
    if facts.source.image is None:
        yield "The image of these labels cannot be read, so outlines are shown alone."
    elif not any(level is not None for level in facts.source.levels):
        yield "No level of the image has the shape of the labels, so outlines are shown alone."


def _slices_text(facts: Facts) -> str:
    words = (
        "Outlines are one pixel wide; two cells that touch share a line. Black is the 1st percentile of the "
        "intensities in these slices, white the 99.8th."
    )
    channels = facts.parameters.get("channels") or [0]
    words += f" Channel {channels[0]}, the first of {len(channels)}." if len(channels) > 1 else ""
    return words + (f" Time point {facts.time}." if len(facts.times) > 1 else "")


def _volumes(facts: Facts) -> dict[str, str]:
    """The histogram and its caption."""
    digest, voxel = facts.digest, facts.voxel_um3
    factor, unit = (1.0, "voxels") if voxel is None else (voxel, "µm³")
    small, large = (describe_volume(facts, int(rows.volume[0])) for rows in (digest.smallest, digest.largest))
    plot = plot_volumes(digest.edges * factor, digest.counts, digest.median["volume"] * factor, unit)
    return {
        "volumes": Markup(plot),
        "volumes_text": f"Volumes of {count(digest.cells, 'cell')}; cells that the border cuts are included. "
        f"Smallest: {small}. Largest: {large}.",
    }


def _removed(facts: Facts) -> Iterator[tuple[str, str, str]]:
    """Each filter, its limit in words, and how many cells it removed."""
    filters = facts.parameters.get("filters") or {}
    for name, number in dict(facts.run.get("removed") or {}).items():
        key, words = LIMITS.get(name, ("", ""))
        limit = filters.get(key)
        yield name, words.format(limit) if limit is not None else "", f"{int(number):,}"


def _unassigned(facts: Facts) -> str:
    foreground = int(facts.run.get("foreground_vox") or 0)
    if not foreground:
        return ""
    lost, reach = int(facts.run.get("unassigned_vox") or 0), facts.parameters.get("reach")
    return (
        f"The model marked {foreground:,} voxels of the working grid (the resampled image) as foreground. {lost:,} of "
        f"them ({lost / foreground:.2%}) belong to no cell, because the flow leads them more than {reach} "
        "voxels away. A large share means that cells are larger than expected: give a larger --diameter or --radius."
    )


def _galleries(facts: Facts) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    """Title, text and cells of each gallery."""
    digest = facts.digest
    how = (
        "Each cell is shown in three slices, across z, y and x, where it is largest. Its outline is cyan; the outlines "
        "of its neighbours are yellow. Each cell has its own scale and contrast. One scale bar holds for its three "
        "slices. The command below a cell opens the viewer at this cell."
    )
    if digest.cells:
        yield "Largest cells", how, cell_cards(facts, digest.largest)
        small = "Many of them may be pieces of cells that the border of the volume cuts."
        yield "Smallest cells", small, cell_cards(facts, digest.smallest)
    if len(digest.oddest):
        odd = (
            "Look here first for errors. These cells differ most from the others. They are long, or irregular (two "
            "cells in one, branches, holes), or the model is unsure of them. A cell is irregular if it fills little of "
            "the ellipsoid that fits it. Cells that a border cuts are left out."
        )
        yield "Oddest cells", odd, cell_cards(facts, digest.oddest, digest.why)


def _effort(effort: RunEffort) -> dict[str, Any]:
    used, workers = sum(p.seconds for p in effort.passes), len(effort.workers) + effort.more_workers
    passes = [
        {
            **_spent(p),
            "colour": colour_of(p.name),
            "longest": _seconds(p.longest_seconds),
            "speed": format_count(p.voxels / p.seconds, "voxel/s") if p.voxels and p.seconds else "",
        }
        for p in effort.passes
    ]
    return {
        "effort_text": f"All tasks together took {format_time(used)}, on {workers:,} worker process"
        f"{'es' if workers != 1 else ''}. The last command of this run took {format_time(effort.seconds)}. Peak "
        "memory is the most that a worker process held during a task of the pass, including the network and all "
        f"libraries; {format_bytes(effort.planned_bytes)} were planned.",
        "gpus": any(w.gpu_peak_bytes for w in effort.workers),
        "workers_plot": Markup(plot_workers(effort)),
        "passes": passes,
        "workers": [_spent(worker) for worker in effort.workers],
        "more_workers": f"; {effort.more_workers:,} more are not listed" if effort.more_workers else "",
    }


def _spent(row: PassEffort | WorkerEffort) -> dict[str, str]:
    """The columns that the tables of passes and of workers share."""
    return {
        "name": row.name,
        "tasks": f"{row.tasks:,}",
        "seconds": _seconds(row.seconds),
        "peak": format_bytes(row.peak_bytes) if row.peak_bytes else "",
        "gpu": format_bytes(row.gpu_peak_bytes) if row.gpu_peak_bytes else "",
    }


def _seconds(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else format_time(seconds)


def _parameters(facts: Facts) -> Iterator[tuple[str, str]]:
    run = facts.run
    yield "labels", facts.source.labels.path
    if facts.source.image is not None:
        yield "image", facts.source.image.path
    for name in ("version", "model", "model_sha256", "source", "mask"):
        if run.get(name) is not None:
            yield ("bigcp3d" if name == "version" else name), str(run[name])
    for name, said in (run.get("asked") or {}).items():
        yield f"asked: {name}", _plain(said)
    if facts.effort is not None:
        yield "block", _plain(facts.effort.block)
        yield "first task began", f"{datetime.fromtimestamp(facts.effort.began, UTC):%Y-%m-%d %H:%M:%S} UTC"
    yield from _flattened("", facts.parameters)
    if facts.effort is not None:
        yield from facts.effort.versions.items()


def _flattened(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flattened(f"{prefix}{name}.", value)
        else:
            yield f"{prefix}{name}", _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        if len(value) > 12:
            return f"{len(value)} values from {value[0]} to {value[-1]}"
        return ", ".join(_plain(v) for v in value)
    return f"{value:.6g}" if isinstance(value, float) else "none" if value is None else str(value)
