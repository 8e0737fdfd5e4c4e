"""Descriptions of stores and their faults, and of models, as text.

Only metadata are read, so a store of terabytes is described at once; ``--check`` reads every chunk.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bigcp3d.errors import BigCP3DError, InputError
from bigcp3d.face.progress.pace import format_count
from bigcp3d.pure.memory import format_bytes

if TYPE_CHECKING:
    from bigcp3d.edge.image.image import ImageInfo, Level
    from bigcp3d.edge.models.model_card import ModelCard

ANISOTROPY = 1.5
"""Ratio of voxel sides above which it matters."""
COMMON_DTYPES = ("uint8", "uint16", "uint32", "int16", "int32", "float32", "float64")


def describe_image(path: str | Path, *, plan: bool = False) -> str:
    """Version, axes, channels, levels, chunks, dtype and labels of an OME-Zarr image, in lines; faults come last.

    With ``plan``, also what a segmentation would do.
    """
    from bigcp3d.edge.image.image import open_image
    from bigcp3d.schedule.running.status import describe_leftovers

    image = open_image(path)
    voxels = math.prod(image.levels[0].shape)
    size_bytes = voxels * image.channels * image.times * np.dtype(image.dtype).itemsize
    channels = _plural(image.channels, "channel")
    if image.channel_names:
        channels += ": " + ", ".join(f"{i} {name}" for i, name in enumerate(image.channel_names))
    lines = [
        f"OME-Zarr {image.version} (zarr {image.zarr_format}), axes {','.join(image.axes)}, {image.dtype}",
        f"{format_count(voxels, 'voxel')} a channel and time, {format_bytes(size_bytes)} uncompressed at level 0",
        f"{_plural(image.times, 'time')}, {channels}",
    ]
    lines += [f"level {i}: {_describe_level(image, level)}" for i, level in enumerate(image.levels)]
    lines += _describe_labels(image)
    lines += describe_leftovers(image.path)
    lines += describe_default_run(image) if plan else []
    return "\n  ".join([image.path, *lines, *(f"warning: {text}" for text in find_faults(image))])


def _describe_labels(image: ImageInfo) -> Iterator[str]:
    """The image's labels: type, levels, who made them, and faults."""
    from bigcp3d.edge.image.image import open_labels
    from bigcp3d.edge.stores.places import place

    root = place(image.path)
    for name in image.label_names:
        try:
            labels = open_labels(image.path, name)
        except BigCP3DError as error:
            yield f"labels/{name}: cannot be read: {error}"
            continue
        made = _provenance(labels)
        levels = _plural(len(labels.levels), "level")
        table = ", a table in the store" if (root / "tables" / name).exists() else ""
        yield f"labels/{name}: {labels.dtype}, {levels}, {_by(labels.levels[0].shape)}{made}{table}"
        shapes, others = ([level.shape for level in info.levels] for info in (labels, image))
        if shapes[0] not in others:
            yield f"warning: labels/{name} lie on no level of the image, whose shapes are {', '.join(map(_by, others))}"
        elif shapes != others:
            yield f"warning: labels/{name} do not have the image's levels; viewers may show them shifted or coarse"
    inside = (root / "labels").iterdir() if (root / "labels").exists() else ()
    unlisted = {path.name for path in inside if path.is_dir()} - set(image.label_names)
    for name in sorted(unlisted):
        yield f"warning: labels/{name} is not in the list of labels: unfinished, or left by a run that was stopped"


def _provenance(labels: ImageInfo) -> str:
    """Who made labels, if their attributes say so."""
    import zarr

    from bigcp3d.edge.image.metadata import own_part
    from bigcp3d.edge.stores.places import zarr_store

    made = own_part(zarr.open_group(zarr_store(labels.path), mode="r", use_consolidated=False).attrs.asdict())
    if not made:
        return ""
    model = f", model {made['model']}" if made.get("model") else ""
    cells = f", {made['cells']:,} cells" if isinstance(made.get("cells"), int) else ""
    return f", by bigcp3d {made.get('version', '?')}{model}{cells}"


def describe_default_run(image: ImageInfo) -> list[str]:
    """What `bigcp3d segment` would do with the image as it is, and which cells its models look for in it."""
    from bigcp3d.edge.models.model_families import load_card
    from bigcp3d.edge.models.model_files import shipped_models
    from bigcp3d.face.describe_plan import describe_plan
    from bigcp3d.schedule.segment import plan_segmentation

    lines = []
    scale = image.levels[0].scale_um
    for name in shipped_models():
        card = load_card(name)
        size = "" if scale is None else f" ({_by(tuple(card.diameter_vox * s for s in scale))} um)"
        lines.append(f"model {name}: looks for cells of {card.diameter_vox:g} voxels{size}; others need --diameter")
    lines.append(f"a first guess of it: bigcp3d estimate-diameter {image.path} --model NAME")
    try:
        plan = plan_segmentation(image.path, precision="float32", overwrite=True)
    except BigCP3DError as error:
        return [*lines, f"bigcp3d segment would be refused: {error}"]
    wanted = ("grid", "blocks", "memory", "disk")
    told = describe_plan(plan).splitlines()
    return [*lines, *(f"bigcp3d segment: {line}" for line in told if line.startswith(wanted))]


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("s" if count != 1 else "")


def _by(values: tuple[float, ...]) -> str:
    return " x ".join(f"{value:.6g}" for value in values)


def _describe_level(image: ImageInfo, level: Level) -> str:
    import zarr

    from bigcp3d.edge.stores.places import zarr_store

    array = zarr.open_array(zarr_store(f"{image.path}/{level.path}"), mode="r")
    stored = f"chunks {_by(array.chunks)}" + (f" in shards {_by(array.shards)}" if array.shards else "")
    scale = f"voxel {_by(level.scale_um)} um" if level.scale_um else "no scale"
    return f"{level.path!r}, {_by(level.shape)} (z y x), {scale}, {stored}"


def find_faults(image: ImageInfo) -> Iterator[str]:
    """What a user should know before a run: each fault with its cure, in one sentence."""
    finest = image.levels[0]
    if finest.scale_um is None:
        yield "the store does not say its voxel size; give --scale Z Y X (micrometres) where --diameter is used"
    elif set(finest.scale_um) == {1.0}:
        yield "every scale is exactly 1, which often means that it was never set; check it, or give --scale Z Y X"
    elif max(finest.scale_um) / min(finest.scale_um) >= ANISOTROPY:
        z, y, x = finest.scale_um
        yield (
            f"voxels are {max(finest.scale_um) / min(finest.scale_um):.3g} times as long on one axis as on another "
            f"({z:.3g} x {y:.3g} x {x:.3g} um); give --diameter, which resamples to cells that are round in voxels"
        )
    if image.times > 1:
        yield f"{image.times} time points; each is segmented for itself, nothing is linked over time"
    if image.dtype not in COMMON_DTYPES:
        yield f"unusual dtype {image.dtype}"
    for lower, upper in zip(image.levels, image.levels[1:], strict=False):
        if any(b > a for a, b in zip(lower.shape, upper.shape, strict=True)):
            yield f"level {upper.path!r} is larger than level {lower.path!r}, which comes before it"
        elif lower.scale_um and upper.scale_um and not _scales_agree(lower, upper):
            yield f"scale and shape disagree between levels {lower.path!r} and {upper.path!r}"


def _scales_agree(lower: Level, upper: Level) -> bool:
    """Whether two levels span about the same space: within a voxel of the coarser one."""
    if lower.scale_um is None or upper.scale_um is None:
        return True
    pairs = zip(lower.shape, lower.scale_um, upper.shape, upper.scale_um, strict=True)
    return all(abs(n * a - m * b) <= 1.01 * b for n, a, m, b in pairs)


def check_chunks(path: str | Path, *, quiet: bool) -> None:
    """Read every chunk of an image and its labels; list those that cannot be read, and raise `InputError` then."""
    import typer

    from bigcp3d.edge.image.image import open_image, open_labels
    from bigcp3d.edge.image.torn_chunks import find_torn_chunks
    from bigcp3d.face.progress.block_bar import BlockBar

    image = open_image(path)
    torn = 0
    for info in (image, *(open_labels(path, name) for name in image.label_names)):
        with BlockBar("reading", quiet) as bar:
            for fault in find_torn_chunks(info, bar.move):
                torn += 1
                typer.echo(f"torn: {fault}")
    if torn:
        raise InputError(f"{path}: found {torn} piece(s) that cannot be read; copy or write the store again")
    typer.echo("every chunk can be read")


def describe_model(name: str, path: Path, card: ModelCard) -> str:
    """A model's card, one field a line."""
    size = format_bytes(path.stat().st_size)
    fields = card.model_dump()
    fields.pop("name", None)
    width = max(map(len, fields))
    return "\n".join([f"{name}  ({path}, {size})"] + [f"  {key:<{width}}  {value}" for key, value in fields.items()])
