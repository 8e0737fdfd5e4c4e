"""Describes a model for the BioImage.IO model zoo: the rdf.yaml and the README of its package."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.edge.models.model_files import KEY
from bigcp3d.version import __version__


@dataclass(frozen=True)
class Origin:
    """Who made a model, and the licence of its weights (its SPDX name)."""

    authors: Sequence[str]
    licence: str


WEIGHTS, SOURCE = "weights.pt", "network.py"
SHIPPED_BY = Origin(("The bigcp3d developers",), "BSD-3-Clause")
"""Of the models that come with bigcp3d."""
CLASSES = {"eschweiler": "UNet3D", "half": "HalfUNet3D"}
"""Classes of `bigcp3d.pure.predict.network`, by architecture."""
OUTPUTS = ["foreground", "flow_z", "flow_y", "flow_x"]
CITE = [
    {
        "text": 'Eschweiler and Stegmaier, "Robust 3D Cell Segmentation: Extending the View of Cellpose" (2021)',
        "url": "https://arxiv.org/abs/2105.00794",
    },
    {
        "text": 'Stringer et al., "Cellpose: a generalist algorithm for cellular segmentation" (2021)',
        "doi": "10.1038/s41592-020-01018-x",
    },
]

README = """# {name}

A 3D U-Net of bigcp3d. It predicts a foreground and a flow towards the centre of each cell.

## Input

(batch, channel, z, y, x), with isotropic voxels and cells of about {diameter:g} voxels: resample the image to that.
Percentile {low:g} of the intensities becomes 0 and percentile {high:g} becomes 1; take them from the whole volume
rather than from each tile. Values are cut at {clip[0]:g} and {clip[1]:g}. Sides are multiples of {stride}.

## Output, and how to follow the flows

Four channels: `foreground` (-1 to 1; below 0 counts as 0), and `flow_z`, `flow_y`, `flow_x` (-1 to 1), which is {flow}

1. A voxel with a foreground of at least 0.5 belongs to a cell.
2. Each of them walks along the flow, in voxels, in {steps} steps at most: p becomes p + flow(p), with the flow of the
   nearest voxel. The foreground along the path does not matter. A path ends at most {reach} voxels from its start on
   each axis.
3. The voxels where paths end are closed with a ball of radius {closing} voxels. Connected components (26 neighbours) of
   the result are the cells. All voxels whose paths end in one component are one cell.
4. Cells smaller than 1/40 of a ball of the diameter are removed{filter}.

`bigcp3d models import THIS_FOLDER --output model.safetensors`, and then `bigcp3d segment IMAGE.zarr --model
model.safetensors`, do all this for volumes of any size. bigcp3d runs no code of this package.

## Training data and their licences

{training}

## Validation

`bioimageio test rdf.yaml` compares the output for `test_input.npy` with `test_output.npy`. `bigcp3d evaluate` measures
how good the cells are on annotated volumes.

## Training

Trained: {date}. Command: `{command}`.

Licence of the weights: {licence}. Licence of `network.py`, which belongs to bigcp3d: BSD-3-Clause.
"""


def describe_model(card: ModelCard, files: Mapping[str, bytes], origin: Origin) -> dict[str, Any]:
    """The content of rdf.yaml; ``files`` are the others of the package, by name."""
    import torch

    def at(name: str) -> dict[str, str]:
        return {"source": name, "sha256": hashlib.sha256(files[name]).hexdigest()}

    architecture = {
        **at(SOURCE),
        "callable": CLASSES[card.architecture],
        "kwargs": {"channels": card.channels, "features": card.features, "depth": card.depth},
    }
    torch_version = torch.__version__.partition("+")[0]
    return {
        "type": "model",
        "format_version": "0.5.4",
        "name": re.sub(r"[^\w +()-]", " ", f"bigcp3d {card.name}"),
        "description": f"3D cells from foreground and flows; {card.diameter_vox:g} voxels a cell. {card.training}"[
            :1024
        ],
        "authors": [{"name": name} for name in origin.authors],
        "cite": CITE,
        "license": origin.licence,
        "documentation": at("README.md"),
        "tags": ["3d", "instance-segmentation", "unet", "fluorescence-light-microscopy", "pytorch", "cellpose"],
        "timestamp": datetime.now(UTC).isoformat(),
        "inputs": [{**_describe_image(card), "test_tensor": at("test_input.npy")}],
        "outputs": [{**_describe_maps(card), "test_tensor": at("test_output.npy")}],
        "weights": {
            "pytorch_state_dict": {**at(WEIGHTS), "architecture": architecture, "pytorch_version": torch_version}
        },
        "config": {KEY: card.model_dump(mode="json"), "written_by": f"bigcp3d {__version__}"},
    }


def smallest_side(card: ModelCard) -> int:
    """Of an input that is cut into tiles: four margins, as multiples of the stride."""
    return card.stride * max(1, -(-4 * card.margin // card.stride))


def _describe_image(card: ModelCard) -> dict[str, Any]:
    """The input: its axes, and how its intensities are normalised."""
    size = {"min": smallest_side(card), "step": card.stride}
    channels = list(card.channel_names) or [f"channel{n}" for n in range(card.channels)]
    percentiles = {"min_percentile": card.low_percentile, "max_percentile": card.high_percentile}
    return {
        "id": "image",
        "axes": [
            {"type": "batch"},
            {"type": "channel", "channel_names": [_identifier(name) for name in channels]},
            *({"type": "space", "id": axis, "size": size} for axis in "zyx"),
        ],
        "data": {"type": "float32"},
        "preprocessing": [
            {"id": "scale_range", "kwargs": {"axes": ["z", "y", "x"], **percentiles}},
            {"id": "clip", "kwargs": {"min": card.clip[0], "max": card.clip[1]}},
        ],
    }


def _describe_maps(card: ModelCard) -> dict[str, Any]:
    """The output: as large as the input, with a border that other tiles compute."""
    sizes = {axis: {"tensor_id": "image", "axis_id": axis} for axis in "zyx"}
    return {
        "id": "maps",
        "axes": [
            {"type": "batch"},
            {"type": "channel", "channel_names": OUTPUTS},
            *({"type": "space", "id": axis, "size": sizes[axis], "halo": card.margin} for axis in "zyx"),
        ],
        "data": {"type": "float32"},
    }


def write_readme(card: ModelCard, licence: str) -> str:
    """The README of a package: what the network needs, and how to get cells from its output."""
    from bigcp3d.pure.track.radius import closing_radius, path_reach, path_steps

    radius = card.diameter_vox / 2
    tanh = (
        f"tanh(d / {card.scale_vox:g}) on each axis, where d is the way to the cell's centre in voxels. So it is short "
        "near the centre."
    )
    return README.format(
        name=card.name,
        diameter=card.diameter_vox,
        low=card.low_percentile,
        high=card.high_percentile,
        clip=card.clip,
        stride=card.stride,
        flow=tanh if card.representation == "tanh" else "a direction of length 1, as Cellpose's.",
        steps=path_steps(radius),
        reach=path_reach(radius),
        closing=closing_radius(radius),
        filter=f", and so are those with a mean foreground below {card.min_foreground:g}"
        if card.min_foreground
        else "",
        training=card.training,
        date=card.date,
        command=card.command,
        licence=licence,
    )


def _identifier(name: str) -> str:
    """A name of a channel that bioimageio.spec allows."""
    word = re.sub(r"\W+", "_", name)
    return word if word.isidentifier() else f"channel_{word}"
