"""Model packages of the BioImage.IO model zoo (bioimageio.spec, model 0.5): a folder that bioimageio.core can run.

::

    rdf.yaml                          what the model is and needs; bigcp3d's model card under config.bigcp3d
    weights.pt, network.py            the weights, and the source of the network
    test_input.npy, test_output.npy   a simulated volume, and what the network says of it
    README.md                         how to get cells from the output, training data, licences

bioimageio.core runs PyTorch weights with their source, TorchScript, ONNX and Keras; it does not read safetensors.
TorchScript is no longer developed, and its files hold code. ONNX needs two more packages. So the weights are a table of
tensors, which torch reads with ``weights_only=True``: no pickled object runs. bioimageio.core runs ``network.py``.
`read_package` does not: it takes the weights and the card alone, and builds its own network from them.

The YAML is written by hand, since bioimageio.spec would bring 30 packages for it. A test validates the package where
bioimageio.core is installed.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from pydantic import ValidationError

from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.edge.models.model_families import load_card
from bigcp3d.edge.models.model_files import find_file, pack_model, read_network
from bigcp3d.edge.stores.atomic_files import write_atomically
from bigcp3d.errors import ModelError, TargetError
from bigcp3d.version import __version__

if TYPE_CHECKING:
    from torch import Tensor

RDF, WEIGHTS, SOURCE = "rdf.yaml", "weights.pt", "network.py"
KEY = "bigcp3d"
AUTHORS = [{"name": "The bigcp3d developers"}]
LICENCE = "BSD-3-Clause"
CLASSES = {"eschweiler": "UNet3D", "half": "HalfUNet3D"}
"""Classes of `bigcp3d.pure.predict.network`, by architecture."""
OUTPUTS = ["foreground", "flow_z", "flow_y", "flow_x"]
SIDE = 64
"""Voxels a side of the test input, at least."""
LARGEST_ENTRY = 2**30
"""Bytes of a file of a package that is read, at most."""

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

Licence of the weights and the source: {licence}.
"""


def write_package(model: str, folder: str | Path) -> Path:
    """Write a model of bigcp3d as a package for bioimageio.core; returns its rdf.yaml, which is written last.

    ``folder`` must be new or empty. Raises `ModelError` for a model of another family, and `TargetError`.
    """
    card, folder = load_card(model), Path(folder)
    if not card.is_own:
        raise ModelError(
            f"{model}: this is a model of {card.architecture!r}, and only models of bigcp3d can be "
            "exported; export it with the program that made it"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TargetError(f"{folder} exists already; use a new or an empty folder")
    from safetensors.torch import load_file

    import bigcp3d.pure.predict.network as source

    image, maps = _try_network(model, card)
    files = {
        WEIGHTS: _to_torch(load_file(find_file(model))),
        SOURCE: Path(source.__file__).read_bytes(),
        "test_input.npy": _to_npy(image),
        "test_output.npy": _to_npy(maps),
        "README.md": _describe(card).encode(),
    }
    try:
        for name, content in files.items():
            write_atomically(folder / name, lambda file, content=content: file.write(content))  # type: ignore[misc]
        rdf = yaml.safe_dump(_describe_model(card, files), sort_keys=False, allow_unicode=True).encode()
        write_atomically(folder / RDF, lambda file: file.write(rdf))
    except OSError as error:
        raise TargetError(
            f"{folder}: the package cannot be written ({error}); check the free space and the permissions"
        ) from error
    return folder / RDF


def read_package(package: str | Path, target: str | Path) -> ModelCard:
    """Write the model of a package (a folder, its rdf.yaml, or a zip file) as a safetensors file; returns its card.

    Raises `ModelError` where bigcp3d did not write the package, or it is damaged, and `TargetError` where ``target``
    exists.
    """
    import torch

    package, target = Path(package), Path(target)
    if target.exists():
        raise TargetError(f"{target} exists already; give another --output")
    described: Any = _parse(_read_file(package, RDF), package)
    try:
        card = ModelCard.model_validate(described["config"][KEY])
        weights = described["weights"]["pytorch_state_dict"]
        name, expected = str(weights["source"]), weights["sha256"]
    except (KeyError, TypeError, ValidationError) as error:
        raise ModelError(
            f"{package}: there is no model card of bigcp3d in its {RDF} ({type(error).__name__}); only packages that "
            "bigcp3d wrote can be imported (`bigcp3d models export`)"
        ) from error
    content = _read_file(package, name)
    if hashlib.sha256(content).hexdigest() != expected:
        raise ModelError(
            f"{package}: {name} differs from the file that {RDF} describes (other sha256); get the package again"
        )
    try:
        tensors: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        packed = pack_model(tensors, card)
    except Exception as error:  # torch raises whatever the bytes lead it to
        raise ModelError(f"{package}: {name} holds no table of weights ({type(error).__name__}: {error})") from error
    write_atomically(target, lambda file: file.write(packed))
    try:
        read_network(str(target), "cpu")
    except ModelError:
        target.unlink()
        raise
    return card


def _try_network(model: str, card: ModelCard) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A simulated volume, (1, channels, z, y, x), and what the network says of it; float32."""
    import torch

    from bigcp3d.pure.boxes import Box
    from bigcp3d.pure.predict.normalise import estimate_range, normalise_intensity
    from bigcp3d.pure.tissue.tissue import Tissue, render

    side = _smallest_side(card) + card.stride * -(-max(0, SIDE - _smallest_side(card)) // card.stride)
    stain = "nuclei" if "nuclei" in card.name else "membrane"
    tissue = Tissue((side,) * 3, min(card.diameter_vox, side / 3), stain, empty=0.0)
    raw = render(tissue, Box.of_shape(tissue.shape))[0].astype(np.float32)
    low, high, _ = estimate_range([raw], card.low_percentile, card.high_percentile)
    image = np.repeat(raw[None, None], card.channels, axis=1)
    values = torch.from_numpy(normalise_intensity(image, low, high, card.clip))
    with torch.inference_mode():
        maps = read_network(model, "cpu")(values)
    return image, maps.numpy().astype(np.float32)


def _smallest_side(card: ModelCard) -> int:
    """Of an input that is cut into tiles: four margins, as multiples of the stride."""
    return card.stride * max(1, -(-4 * card.margin // card.stride))


def _describe_model(card: ModelCard, files: Mapping[str, bytes]) -> dict[str, Any]:
    """The content of rdf.yaml."""

    def at(name: str) -> dict[str, str]:
        return {"source": name, "sha256": hashlib.sha256(files[name]).hexdigest()}

    size = {"min": _smallest_side(card), "step": card.stride}
    channels = list(card.channel_names) or [f"channel{n}" for n in range(card.channels)]
    import torch

    return {
        "type": "model",
        "format_version": "0.5.4",
        "name": re.sub(r"[^\w +()-]", " ", f"bigcp3d {card.name}"),
        "description": f"3D cells from foreground and flows; {card.diameter_vox:g} voxels a cell. {card.training}"[
            :1024
        ],
        "authors": AUTHORS,
        "cite": CITE,
        "license": LICENCE,
        "documentation": at("README.md"),
        "tags": ["3d", "instance-segmentation", "unet", "fluorescence-light-microscopy", "pytorch", "cellpose"],
        "timestamp": datetime.now(UTC).isoformat(),
        "inputs": [
            {
                "id": "image",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": [_identifier(name) for name in channels]},
                    *({"type": "space", "id": axis, "size": size} for axis in "zyx"),
                ],
                "data": {"type": "float32"},
                "test_tensor": at("test_input.npy"),
                "preprocessing": [
                    {
                        "id": "scale_range",
                        "kwargs": {
                            "axes": ["z", "y", "x"],
                            "min_percentile": card.low_percentile,
                            "max_percentile": card.high_percentile,
                        },
                    },
                    {"id": "clip", "kwargs": {"min": card.clip[0], "max": card.clip[1]}},
                ],
            }
        ],
        "outputs": [
            {
                "id": "maps",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": OUTPUTS},
                    *(
                        {"type": "space", "id": i, "size": {"tensor_id": "image", "axis_id": i}, "halo": card.margin}
                        for i in "zyx"
                    ),
                ],
                "data": {"type": "float32"},
                "test_tensor": at("test_output.npy"),
            }
        ],
        "weights": {
            "pytorch_state_dict": {
                **at(WEIGHTS),
                "architecture": {
                    **at(SOURCE),
                    "callable": CLASSES[card.architecture],
                    "kwargs": {"channels": card.channels, "features": card.features, "depth": card.depth},
                },
                "pytorch_version": torch.__version__.partition("+")[0],
            }
        },
        "config": {KEY: card.model_dump(mode="json"), "written_by": f"bigcp3d {__version__}"},
    }


def _describe(card: ModelCard) -> str:
    """The README of a package."""
    from bigcp3d.pure.track.radius import closing_radius, path_reach, path_steps

    radius = card.diameter_vox / 2
    tanh = (
        f"the tanh of the way to the cell's centre on each axis, over {card.scale_vox:g} voxels, so that it is short "
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
        licence=LICENCE,
    )


def _identifier(name: str) -> str:
    """A name of a channel that bioimageio.spec allows."""
    word = re.sub(r"\W+", "_", name)
    return word if word.isidentifier() else f"channel_{word}"


def _to_npy(array: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _to_torch(weights: Mapping[str, Tensor]) -> bytes:
    import torch

    file = io.BytesIO()
    torch.save(dict(weights), file)
    return file.getvalue()


def _read_file(package: Path, name: str) -> bytes:
    """A file of a package, by a name without folders."""
    if Path(name).name != name:
        raise ModelError(
            f"{package}: its {RDF} names a file outside the package, {name!r}, which is not read; get another package"
        )
    try:
        if zipfile.is_zipfile(package):
            with zipfile.ZipFile(package) as archive:
                if archive.getinfo(name).file_size > LARGEST_ENTRY:
                    raise ModelError(
                        f"{package}: {name} is larger than {LARGEST_ENTRY} bytes, which is the most that "
                        "is read; use a package that `bigcp3d models export` wrote"
                    )
                return archive.read(name)
        folder = package if package.is_dir() else package.parent
        return (folder / name).read_bytes()
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{package}: found no {name} there ({type(error).__name__}); use a folder or a zip file that "
            "`bigcp3d models export` wrote"
        ) from error


def _parse(content: bytes, package: Path) -> Any:
    try:
        return yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise ModelError(f"{package}: its {RDF} is not YAML ({' '.join(str(error).split())[:200]})") from error
