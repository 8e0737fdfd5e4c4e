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
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from pydantic import ValidationError

from bigcp3d.edge.models.bioimageio_description import (
    SHIPPED_BY,
    SOURCE,
    WEIGHTS,
    Origin,
    describe_model,
    smallest_side,
    write_readme,
)
from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.edge.models.model_families import load_card
from bigcp3d.edge.models.model_files import KEY, find_file, pack_model, read_network, shipped_models
from bigcp3d.edge.stores.atomic_files import write_bytes
from bigcp3d.errors import InputError, ModelError, TargetError

if TYPE_CHECKING:
    from torch import Tensor

RDF = "rdf.yaml"
SIDE = 64
"""Voxels a side of the test input, at least."""
LARGEST_ENTRY = 2**30
"""Bytes of a file of a package that is read, at most."""


def write_package(model: str, folder: str | Path, *, authors: Sequence[str] = (), licence: str | None = None) -> Path:
    """Write a model of bigcp3d as a package for bioimageio.core; returns its rdf.yaml, which is written last.

    ``folder`` must be new or empty. ``authors`` and ``licence`` (its SPDX name) are known of models that come with
    bigcp3d; for others give both. Raises `ModelError` for a model of another family, `InputError` and `TargetError`.
    """
    card, folder = load_card(model), Path(folder)
    if not card.is_own:
        raise ModelError(
            f"{model}: this is a model of {card.architecture!r}, and only models of bigcp3d can be "
            "exported; export it with the program that made it"
        )
    shipped = model in shipped_models()
    if not shipped and not (authors and licence):
        raise InputError(
            f"{model}: say who made this model and under which licence others may use it, for example --author 'Ada "
            "Lovelace' --licence CC-BY-4.0"
        )
    origin = Origin(authors or SHIPPED_BY.authors, licence or SHIPPED_BY.licence)
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
        "README.md": write_readme(card, origin.licence).encode(),
    }
    try:
        for name, content in files.items():
            write_bytes(folder / name, content)
        rdf = yaml.safe_dump(describe_model(card, files, origin), sort_keys=False, allow_unicode=True).encode()
        write_bytes(folder / RDF, rdf)
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
    write_bytes(target, packed)
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
    from bigcp3d.pure.tissue.tissue import render
    from bigcp3d.pure.tissue.tissue_settings import Tissue

    side = smallest_side(card) + card.stride * -(-max(0, SIDE - smallest_side(card)) // card.stride)
    stain = "nuclei" if "nuclei" in card.name else "membrane"
    tissue = Tissue((side,) * 3, min(card.diameter_vox, side / 3), stain, empty=0.0)
    raw = render(tissue, Box.of_shape(tissue.shape))[0].astype(np.float32)
    low, high = estimate_range([raw], card.low_percentile, card.high_percentile)
    image = np.repeat(raw[None, None], card.channels, axis=1)
    values = torch.from_numpy(normalise_intensity(image, low, high, card.clip))
    with torch.inference_mode():
        maps = read_network(model, "cpu")(values)
    return image, maps.numpy().astype(np.float32)


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
