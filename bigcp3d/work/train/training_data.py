"""The sources of a training: what is learned from, by kind, and what is held out for validation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bigcp3d.edge.image.image import ImageInfo, open_image, open_labels
from bigcp3d.edge.labels.default_name import DEFAULT_NAME
from bigcp3d.edge.labels.edit_log import refuse_half_changed
from bigcp3d.edge.labels.truth import is_truth_elsewhere, open_truth
from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.plural import count
from bigcp3d.work.convert.beside import convert_labels_beside
from bigcp3d.work.train.reviewed import find_reviewed
from bigcp3d.work.train.samples import Look, NoiseSource, Source, TissueSource
from bigcp3d.work.train.settings import TrainSettings, of_volume
from bigcp3d.work.train.volume_source import VolumeSource, open_volume

Named = tuple[str, Source]


@dataclass(frozen=True)
class TrainingData:
    """Sources with their names: of each kind (volumes, painted volumes, simulated tissue, noise), and held out.

    ``described`` is what a checkpoint remembers of volumes, which may be moved but not changed. ``diameters`` are those
    of the cells of each volume, each with whether it is in um (voxels without a scale).
    """

    kinds: tuple[Sequence[Named], ...]
    held_out: Sequence[Named]
    described: dict[str, list[str]]
    diameters: dict[str, tuple[float, bool]]


def open_training_data(settings: TrainSettings, card: ModelCard, channels: Sequence[int | str]) -> TrainingData:
    """Open and measure all volumes."""
    look = Look(card.diameter_vox, card.low_percentile, card.high_percentile, card.clip)
    parts, simulate = _Parts(settings, look, channels), settings.simulate
    volumes, painted = parts.open(settings.volumes), parts.open(settings.painted, paint=True)
    volumes += parts.open(settings.from_edits, reviewed=True)
    validation, tissue = parts.open(settings.validation, all_of=True), list[Named]()
    noise = NoiseSource(look, len(channels))
    named = {"volumes": volumes, "painted": painted, "validation": validation}
    held_out: list[Named] = [*validation]
    held_out += parts.open(settings.volumes, held_out=True)
    held_out += parts.open(settings.painted, paint=True, held_out=True)
    held_out += parts.open(settings.from_edits, held_out=True, reviewed=True)
    if simulate:
        tissue.append((f"simulated {simulate}", TissueSource(simulate, look)))
    described = {what: [_describe(*pair) for pair in pairs] for what, pairs in named.items()}
    diameters = {name: diameter_of(source) for name, source in (*volumes, *painted)}
    if not held_out and settings.only_simulates:
        held_out += tissue
    return TrainingData((volumes, painted, tissue, [("noise", noise)]), held_out, described, diameters)


@dataclass(frozen=True)
class _Parts:
    """Opens parts of volumes. It keeps their diameters, since a held-out part has too few whole cells to measure it."""

    settings: TrainSettings
    look: Look
    channels: Sequence[int | str]
    diameters: dict[tuple[str, bool], float] = field(default_factory=dict)

    def open(
        self,
        volumes: Sequence[str | Path],
        *,
        all_of: bool = False,
        paint: bool = False,
        held_out: bool = False,
        reviewed: bool = False,
    ) -> list[tuple[str, VolumeSource]]:
        """The part of each volume that is trained on, or that is held out, with its name."""
        found, settings = [], self.settings
        for volume in volumes:
            holdout_x = 0.0 if all_of else _find_holdout(settings, volume)
            if held_out and not holdout_x:
                continue
            path, labels_name = split_name(volume, DEFAULT_NAME if reviewed else settings.labels_name)
            labels = _open_labels(path, labels_name, settings.labels_name)
            review = find_reviewed(labels) if reviewed else None
            whole = Box.of_shape(labels.levels[0].shape) if review is None else review.part
            known = self.diameters[str(volume), paint] if held_out else _find_diameter(settings, volume)
            source = open_volume(
                None if paint else open_image(path),
                labels,
                self.look,
                part=part_of(whole, holdout_x, held_out=held_out),
                diameter_um=known,
                min_cell_vox=settings.min_cell_vox,
                channels=self.channels,
                stain=settings.simulate or "membrane",
                reviewed=review,
            )
            self.diameters.setdefault((str(volume), paint), diameter_of(source)[0])
            found.append((str(volume), source))
        return found


def _open_labels(path: str, name: str, named_elsewhere: str) -> ImageInfo:
    """The labels of a volume by name; or, if ``name`` is the path of another store or a file, those in it."""
    if not is_truth_elsewhere(name):
        labels = open_labels(path, name)
        refuse_half_changed(labels)
        return labels
    return open_truth(convert_labels_beside(name, open_image(path).levels[0].scale_um), named_elsewhere)


def diameter_of(source: VolumeSource) -> tuple[float, bool]:
    """The diameter of a volume's cells, and whether it is in um; else it is in voxels."""
    scale = (source.image or source.labels).levels[0].scale_um
    return source.factors[0] * (scale or (1.0,))[0] * source.look.diameter_vox, scale is not None


def _find_diameter(settings: TrainSettings, volume: str | Path) -> float | None:
    """The diameter that was given for a volume; a single number is for ``volumes``, not for painted ones."""
    given = settings.diameter_um
    if isinstance(given, Mapping):
        return of_volume(given, volume)
    return given if volume in (*settings.volumes, *settings.from_edits) else None


def _find_holdout(settings: TrainSettings, volume: str | Path) -> float:
    """The share of x that is held out of a volume."""
    given = settings.holdout_x
    return of_volume(given, volume) or 0.0 if isinstance(given, Mapping) else given


def split_name(volume: str | Path, default: str) -> tuple[str, str]:
    """Path and name of the labels, from ``path`` or ``path::name``."""
    path, _, name = str(volume).partition("::")
    return path, name or default


def part_of(whole: Box, holdout_x: float, *, held_out: bool) -> Box:
    """The part of a volume that is trained on, or the part that is held out: the last share ``holdout_x`` of x."""
    (z, y, x), (end_z, end_y, end_x) = whole.start, whole.stop
    cut = min(x + max(1, end_x - x - round(holdout_x * (end_x - x))), end_x - 1) if holdout_x else end_x
    return Box((z, y, cut), whole.stop) if held_out else Box(whole.start, (end_z, end_y, cut))


def _describe(name: str, source: VolumeSource) -> str:
    """What is learned from a volume; other labels or reviews give another text."""
    cells = source.cells
    measured = b"".join(array.tobytes() for array in (cells.ids, cells.count, cells.centre))
    digest = hashlib.sha256(measured).hexdigest()[:16]
    return (
        f"{Path(name).name}: {count(len(source.cells.ids), 'cell')} in {source.part.start} to {source.part.stop}, "
        f"factors {tuple(round(f, 6) for f in source.factors)}, values {source.ranges}, labels {digest}"
        + (f", reviewed: {source.reviewed}" if source.reviewed else "")
    )
