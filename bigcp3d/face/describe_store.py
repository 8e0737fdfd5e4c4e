"""Describes stores, their faults, and models, as text.

Only metadata are read, so this is fast for a store of terabytes too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from bigcp3d.edge.image.chunk_sizes import chunk_sides, is_regular
from bigcp3d.edge.image.image import ImageInfo, Level, open_image, open_labels
from bigcp3d.edge.image.level_geometry import covers, stated_ratio
from bigcp3d.edge.image.odd_voxels import has_no_unit, odd_voxels
from bigcp3d.edge.image.open_node import find_group
from bigcp3d.edge.labels.made_labels import read_made
from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.edge.models.model_families import load_card
from bigcp3d.edge.models.model_files import shipped_models
from bigcp3d.edge.stores.places import place, zarr_store
from bigcp3d.edge.stores.platforms import join_words
from bigcp3d.errors import BigCP3DError
from bigcp3d.face.describe_plan import describe_plan, format_size
from bigcp3d.face.progress.pace import format_count
from bigcp3d.pure.memory import format_bytes
from bigcp3d.pure.plural import count
from bigcp3d.schedule.planning.request import AS_IS, Request

ANISOTROPY = 4.0
"""Ratio of the longest to the shortest side of a voxel from which a user is warned: the mean Dice falls by 0.04
(`docs/explanation/accuracy.md`)."""

NETWORKS = {"eschweiler": "3D U-Net (Eschweiler and Stegmaier)", "half": "3D U-Net at half the resolution inside"}

COMMON_DTYPES = ("uint8", "uint16", "uint32", "int16", "int32", "float32", "float64")


def describe_image(path: str | Path) -> str:
    """An OME-Zarr image in lines: axes, channels, levels, labels, what `bigcp3d segment` would do, and faults."""
    from bigcp3d.schedule.running.status import describe_leftovers

    image = open_image(path)
    voxels = math.prod(image.levels[0].shape)
    size_bytes = voxels * image.channels * image.times * np.dtype(image.dtype).itemsize
    channels = count(image.channels, "channel")
    if image.channel_names:
        channels += ": " + ", ".join(f"{i} {name}" for i, name in enumerate(image.channel_names))
    lines = [
        f"OME-Zarr {image.version} (zarr {image.zarr_format}), axes {','.join(image.axes)}, {image.dtype}",
        f"{format_count(voxels, 'voxel')} a channel and time, {format_bytes(size_bytes)} uncompressed at level 0",
        f"{count(image.times, 'time')}, {channels}",
    ]
    lines += [f"level {i}: {_describe_level(image, level)}" for i, level in enumerate(image.levels)]
    lines += _describe_labels(image)
    lines += describe_leftovers(image.path)
    lines += describe_default_run(image)
    return "\n  ".join([image.path, *lines, *(f"warning: {text}" for text in find_faults(image))])


def _describe_labels(image: ImageInfo) -> Iterator[str]:
    """The image's labels: dtype, levels, who made them, and faults."""
    root = place(image.path)
    for name in image.label_names:
        try:
            labels = open_labels(image.path, name)
            made = read_made(place(labels.path))
        except BigCP3DError as error:
            yield f"labels/{name}: cannot be read: {error}"
            continue
        levels = count(len(labels.levels), "level")
        table = ", a table in the store" if (root / "tables" / name).exists() else ""
        yield f"labels/{name}: {labels.dtype}, {levels}, {format_size(labels.levels[0].shape)}, {made}{table}"
        shapes, others = ([level.shape for level in info.levels] for info in (labels, image))
        if shapes[0] not in others:
            sizes = ", ".join(map(format_size, others))
            yield f"warning: labels/{name} do not have the shape of a level of the image ({sizes})"
        elif shapes != others:
            yield f"warning: labels/{name} do not have the image's levels; viewers may show them shifted or coarse"
    inside = () if find_group(str(root / "labels")) is None else (root / "labels").iterdir()
    unlisted = {path.name for path in inside if path.is_dir()} - set(image.label_names)
    for name in sorted(unlisted):
        yield f"warning: labels/{name} is not in the list of labels: unfinished, or left by a run that was stopped"


def describe_default_run(image: ImageInfo) -> list[str]:
    """The cell sizes that the shipped models look for, and what `bigcp3d segment` would do with the image as it is.

    It plans as `plan_segmentation`, but does not log odd voxels, because `find_faults` tells them.
    """
    from bigcp3d.schedule.plan_segmentation import check_plan
    from bigcp3d.schedule.planning.few_planes import warn_of_few_planes
    from bigcp3d.schedule.planning.find_image import with_known_image
    from bigcp3d.schedule.planning.make_plan import make_plan

    lines, models = [], list(shipped_models())
    scale = image.levels[0].scale_um
    for name in models:
        card = load_card(name)
        size = "" if scale is None else f" ({format_size(tuple(card.diameter_vox * s for s in scale))} um)"
        lines.append(
            f"model {name}: looks for cells of {card.diameter_vox:g} voxels{size}; for other sizes give --diameter"
        )
    lines.append("without --model and --diameter, bigcp3d segment estimates both on a few crops")
    lines.append(f"to see the estimate: {join_words(['bigcp3d', 'estimate-diameter', image.path])}")
    try:
        choices: dict[str, Any] = {"diameter_um": AS_IS, "precision": "float32", "start": "image", "overwrite": True}
        request = with_known_image(Request(image.path, model=models[0], **choices))
        warn_of_few_planes(image, request.model)
        plan = make_plan(request)
        check_plan(plan, request)
    except BigCP3DError as error:
        return [*lines, f"bigcp3d segment --diameter {AS_IS} would stop: {error}"]
    wanted = ("grid", "blocks", "memory", "disk")
    told = describe_plan(plan).splitlines()
    return [*lines, *(f"bigcp3d segment --diameter {AS_IS}: {line}" for line in told if line.startswith(wanted))]


def _describe_level(image: ImageInfo, level: Level) -> str:
    store = zarr_store(f"{image.path}/{level.path}")
    array = zarr.open_array(store, mode="r", zarr_format=3 if image.zarr_format == 3 else 2)
    stored = f"chunks {format_size(chunk_sides(array))}" if is_regular(array) else "chunks of different sizes"
    stored += f" in shards {format_size(array.shards)}" if array.shards else ""
    scale = f"voxel {format_size(level.scale_um)} um" if level.scale_um else "no scale"
    return f"{level.path!r}, {format_size(level.shape)} (z y x), {scale}, {stored}"


def find_faults(image: ImageInfo) -> Iterator[str]:
    """What a user should know before a run, each with its cure, in one sentence."""
    finest = image.levels[0]
    odd = [] if finest.scale_um is None else list(odd_voxels(finest.scale_um))
    yield from odd
    if finest.scale_um is None:
        yield "the store does not say its voxel size; with --diameter also give --scale Z Y X (micrometres)"
    elif set(finest.scale_um) == {1.0}:
        yield "every scale is exactly 1, which often means that it was never set; check it, or give --scale Z Y X"
    elif not odd and max(finest.scale_um) / min(finest.scale_um) >= ANISOTROPY:
        z, y, x = finest.scale_um
        yield (
            f"voxels are {max(finest.scale_um) / min(finest.scale_um):.3g} times as long on one axis as on another "
            f"({z:.3g} x {y:.3g} x {x:.3g} um); segment resamples them for the model, except with --diameter as-is"
        )
    if has_no_unit(image) and set(finest.scale_um or ()) != {1.0}:
        yield "the voxel size has no unit and is taken as micrometres; if that is wrong, give --scale Z Y X"
    if image.times > 1:
        yield f"there are {image.times} time points; each is segmented alone; 'bigcp3d link' can join the cells later"
    if image.dtype not in COMMON_DTYPES:
        yield f"unusual dtype {image.dtype}"
    for lower, upper in zip(image.levels, image.levels[1:], strict=False):
        ratio = stated_ratio(lower, upper)
        if ratio is not None and not covers(lower, upper, ratio):
            yield f"scale and shape disagree between levels {lower.path!r} and {upper.path!r}"


def describe_model(name: str, path: Path, card: ModelCard) -> str:
    """A model's card in words, one fact a line."""
    facts = dict(_facts_of(card))
    width = max(map(len, facts))
    lines = [f"{name}  ({path}, {format_bytes(path.stat().st_size)})"]
    return "\n".join([*lines, *(f"  {what:<{width}}  {words}" for what, words in facts.items() if words)])


def _facts_of(card: ModelCard) -> Iterator[tuple[str, str]]:
    """What a card says, by what it is about."""
    yield "cells", f"{card.diameter_vox:g} voxels wide; with --diameter, images are resampled to that"
    channels = count(card.channels, "channel") + (f": {', '.join(card.channel_names)}" if card.channel_names else "")
    more = f", and up to {card.optional_channels} more" if card.optional_channels else ""
    yield "image", f"{channels}{more}"
    low, high = card.clip
    yield (
        "brightness",
        (
            f"percentile {card.low_percentile:g} becomes 0, percentile {card.high_percentile:g} becomes 1; cut at "
            f"{low:g} and {high:g}"
        ),
    )
    if card.min_foreground:
        yield "filter", f"removes cells with a mean foreground below {card.min_foreground:g} (--min-foreground)"
    yield (
        "predicts",
        "foreground, and a flow to the cell's centre: "
        + (
            f"tanh of the distance, over {card.scale_vox:g} voxels"
            if card.representation == "tanh"
            else "heat, as Cellpose"
        ),
    )
    size = f", {card.features} features, {card.depth} levels" if card.features else ""
    yield "network", f"{NETWORKS.get(card.architecture, card.architecture)}{size}"
    yield "patches", f"{format_size(card.patch)} voxels; the outer {card.margin} count less"
    yield "precision", "" if card.precision == "auto" else card.precision
    yield "trained on", card.training
    command = card.command.replace("../shared/data", "FOLDER")  # where the data of the shipped models lay
    yield "made", f"{card.date} with bigcp3d {card.bigcp3d_version}: {command}"
