"""The model family of bigcp3d: weights and card of a network in one safetensors file.

Nothing is unpickled, so a model from a stranger runs no code. The card is JSON in the file's metadata under the key
"bigcp3d"; extra or missing fields are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from bigcp3d.edge.models.cellpose_names import version_with
from bigcp3d.edge.models.model_card import OWN_ARCHITECTURES, ModelCard
from bigcp3d.edge.stores.atomic_files import write_bytes
from bigcp3d.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn

KEY = "bigcp3d"
"""Key of the card in a file, and the name of this family."""
GROUP = "bigcp3d.models"
"""Entry points of model families."""


def shipped_models() -> dict[str, Path]:
    """Models that come with the package, by name."""
    folder = Path(str(files("bigcp3d"))) / "models"
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def find_file(name: str) -> Path:
    """The file of a shipped model, or the path itself; `ModelError` where there is no such file."""
    shipped = shipped_models()
    path = shipped.get(name, Path(name).expanduser())
    if not path.is_file():
        others = (f"{entry.name}:NAME" for entry in entry_points(group=GROUP) if entry.name != KEY)
        cure = f"use a .safetensors file or one of {', '.join([*shipped, *others])}"
        if version_with(name):
            cure = f"Cellpose has a model of that name: --model cellpose:{name}"
        raise ModelError(f"{name}: {'this is a folder' if path.is_dir() else 'there is no such file'}; {cure}")
    return path


def read_card(name: str) -> ModelCard:
    """The card in a file; `ModelError` where the file does not exist, is not safetensors, or has no valid card."""
    path = find_file(name)
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path}: this is not a readable safetensors file ({error}); use a model that bigcp3d wrote (`bigcp3d "
            "train`): other formats are not opened, since they can run code"
        ) from error
    if KEY not in metadata:
        raise ModelError(
            f"{path}: there is no model card in it (metadata: {', '.join(sorted(metadata)) or 'none'}); use a file "
            "that bigcp3d wrote (`bigcp3d train`)"
        )
    try:
        card = ModelCard.model_validate_json(metadata[KEY])
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'card'}: {e['msg']}" for e in error.errors())
        raise ModelError(
            f"{path}: its model card cannot be used ({found}); train the model again, or install the version of "
            "bigcp3d that wrote it"
        ) from error
    if not card.is_own:
        raise ModelError(
            f"{path}: its card names the network {card.architecture!r}, but safetensors files hold the networks of "
            f"bigcp3d only ({', '.join(OWN_ARCHITECTURES)}); use the file of that model family (Cellpose's own: "
            "--model cellpose:PATH)"
        )
    return card


def read_network(name: str, device: str) -> nn.Module:
    """The network in eval mode; `ModelError` as `read_card`, or where the weights do not fit the card."""
    from safetensors.torch import load_file

    from bigcp3d.pure.predict.network import make_network

    card, path = read_card(name), find_file(name)
    network = make_network(card.architecture, card.channels, card.features, card.depth)
    try:
        network.load_state_dict(load_file(path))
    except (RuntimeError, SafetensorError, OSError) as error:
        raise ModelError(
            f"{path}: its weights do not fit {card.channels} channels, {card.features} features, depth {card.depth}, "
            f"as its card says ({' '.join(str(error).split())[:300]}); get the file again"
        ) from error
    return network.to(device).eval().requires_grad_(False)


def save_model(path: str | Path, network: nn.Module, card: ModelCard) -> None:
    """Write weights and card; the file is complete or absent."""
    try:
        content = pack_model(network.state_dict(), card)
        write_bytes(path, content)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"{path}: the model cannot be written ({error}); check the free space and the permissions, or give another "
            "path"
        ) from error


def pack_model(weights: Mapping[str, Tensor], card: ModelCard) -> bytes:
    """The content of a model file."""
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    return save(tensors, metadata={KEY: card.model_dump_json()})
