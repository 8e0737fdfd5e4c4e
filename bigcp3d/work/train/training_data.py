"""The sources of a training: what is learned from, by kind, and what is held out for validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.work.train.samples import Look, NoiseSource, Source, TissueSource, VolumeSource, open_source
from bigcp3d.work.train.settings import TrainSettings


@dataclass(frozen=True)
class TrainingData:
    """Sources of samples.

    Attributes
    ----------
    kinds : tuple of list of Source
        Volumes, painted volumes, simulated tissue, noise.
    held_out : list of (str, Source)
        With their names.
    """

    kinds: tuple[list[Source], list[Source], list[Source], list[Source]]
    held_out: list[tuple[str, Source]]

    def describe(self, settings: TrainSettings) -> dict[str, list[str]]:
        """What a checkpoint remembers of volumes: what was measured, so that they may be moved but not changed."""
        return {
            "volumes": _describe(settings.volumes, self.kinds[0]),
            "painted": _describe(settings.painted, self.kinds[1]),
            "validation": _describe(settings.validation, [source for _, source in self.held_out]),
        }


def open_training_data(settings: TrainSettings, look: Look, channels: Sequence[int | str]) -> TrainingData:
    """Open and measure all volumes."""

    def open_parts(
        volumes: Sequence[str | Path], holdout_x: float, *, paint: bool = False, held_out: bool = False
    ) -> list[Source]:
        return [_open_part(settings, look, channels, v, holdout_x, paint=paint, held_out=held_out) for v in volumes]

    share, simulate = settings.holdout_x, settings.simulate
    tissue: list[Source] = [TissueSource(simulate, look)] if simulate else []
    volumes, painted = open_parts(settings.volumes, share), open_parts(settings.painted, share, paint=True)
    names = [*map(str, settings.validation)]
    held = open_parts(settings.validation, 0.0)
    if share > 0:
        names += [*map(str, settings.volumes), *map(str, settings.painted)]
        held += open_parts(settings.volumes, share, held_out=True)
        held += open_parts(settings.painted, share, paint=True, held_out=True)
    names += [f"simulated {simulate}" for _ in tissue]
    noise: list[Source] = [NoiseSource(look, len(channels))]
    return TrainingData((volumes, painted, tissue, noise), list(zip(names, [*held, *tissue], strict=True)))


def _open_part(
    settings: TrainSettings,
    look: Look,
    channels: Sequence[int | str],
    volume: str | Path,
    holdout_x: float,
    *,
    paint: bool,
    held_out: bool,
) -> Source:
    path, labels_name = split_name(volume, settings.labels_name)
    labels = open_labels(path, labels_name)
    return open_source(
        None if paint else open_image(path),
        labels,
        look,
        part=part_of(labels.levels[0].shape, holdout_x, held_out=held_out),
        diameter_um=_find_diameter(settings, volume),
        min_cell_vox=settings.min_cell_vox,
        channels=channels,
    )


def _find_diameter(settings: TrainSettings, volume: str | Path) -> float | None:
    """The diameter that was given for a volume; one number counts for `volumes` and not for painted ones."""
    given = settings.diameter_um
    if isinstance(given, Mapping):
        return given.get(str(volume))
    return given if volume in settings.volumes else None


def split_name(volume: str | Path, default: str) -> tuple[str, str]:
    """Path and name of the labels, from ``path`` or ``path::name``."""
    path, _, name = str(volume).partition("::")
    return path, name or default


def part_of(shape: Vec3, holdout_x: float, *, held_out: bool) -> Box:
    """What of a volume is trained on, or held out: the last share ``holdout_x`` of x."""
    cut = max(1, shape[2] - round(holdout_x * shape[2]))
    return Box((0, 0, cut), shape) if held_out else Box((0, 0, 0), (shape[0], shape[1], cut))


def _describe(volumes: Sequence[str | Path], sources: Sequence[Source]) -> list[str]:
    return [
        f"{Path(str(volume)).name}: {len(source.cells.ids)} cells in {source.part.start} to {source.part.stop}, "
        f"factors {tuple(round(f, 6) for f in source.factors)}, values {source.ranges}"
        for volume, source in zip(volumes, sources, strict=False)
        if isinstance(source, VolumeSource)
    ]
