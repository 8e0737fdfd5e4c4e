"""Model files: the weights of a network and a card that says what it expects, in one safetensors file.

Nothing is ever unpickled, so that a model from a stranger runs no code. The card is JSON in the file's metadata under
the key "bigcp3d"; extra or missing fields are refused. Every failure is a `ModelError`.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open

from bigcp3d.errors import ModelError
from bigcp3d.pure.boxes import Vec3

if TYPE_CHECKING:  # torch takes seconds to import, and a card does not need it
    from torch import nn

KEY = "bigcp3d"


class ModelCard(BaseModel):
    """What a network expects and where it comes from.

    Attributes
    ----------
    name : str
    representation : "tanh" or "heat"
        Form of the flow (`bigcp3d.pure.learn.targets`).
    scale_vox : float
        s of the tanh in working voxels; no meaning for heat.
    diameter_vox : float
        Diameter of the cells that it knows, in working voxels.
    architecture : "eschweiler", "half", "cellpose" or "cellpose-sam"
        Of the network (`bigcp3d.pure.predict.network`; Cellpose's by `bigcp3d.pure.predict.cellpose_planes`).
    channels, features, depth : int
        Of the network.
    channel_names : tuple of str
        What each channel shows, in order; empty where nobody said.
    patch : tuple of int
        Largest patch for prediction, in voxels.
    margin : int
        Voxels at a patch's border in which its prediction counts less.
    low_percentile, high_percentile, clip : float, float, tuple of float
        Normalisation of intensities (`bigcp3d.pure.predict.normalise`).
    min_foreground : float
        What a cell's mean foreground must reach, where a user does not say; 0 keeps all.
    training, date, bigcp3d_version, command : str
        Training data with their licences; when, with what, and how it was trained.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    representation: Literal["tanh", "heat"]
    scale_vox: float = Field(gt=0)
    diameter_vox: float = Field(gt=0)
    architecture: Literal["eschweiler", "half", "cellpose", "cellpose-sam"] = "eschweiler"
    channels: int = Field(ge=1)
    channel_names: tuple[str, ...] = ()
    features: int = Field(ge=2, multiple_of=2)
    depth: int = Field(ge=2)
    patch: Vec3
    margin: int = Field(ge=0)
    low_percentile: float = Field(ge=0, lt=100)
    high_percentile: float = Field(gt=0, le=100)
    clip: tuple[float, float]
    min_foreground: float = Field(default=0.0, ge=0, le=1)
    training: str
    date: str
    bigcp3d_version: str
    command: str

    @property
    def stride(self) -> int:
        """Sides of patches are multiples of it."""
        return int(2 ** (self.depth - (self.architecture == "eschweiler")))

    @model_validator(mode="after")
    def _fits(self) -> ModelCard:
        if any(side % self.stride or side < max(4 * self.margin, 1) for side in self.patch):
            raise ValueError(
                f"patch {self.patch} needs multiples of {self.stride} from {4 * self.margin} on (4 x margin)"
            )
        if self.channel_names and len(self.channel_names) != self.channels:
            raise ValueError(f"{self.channels} channels, but {len(self.channel_names)} names of channels")
        if self.low_percentile >= self.high_percentile or self.clip[0] >= self.clip[1]:
            raise ValueError("percentiles and clip need the lower number first")
        return self


def shipped_models() -> dict[str, Path]:
    """Models that come with the package, by name."""
    folder = Path(str(files("bigcp3d"))) / "models"
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def is_cellpose(model: str | Path) -> bool:
    """Whether a model is one of Cellpose's, ``cellpose:NAME`` or ``cellpose:PATH`` (`bigcp3d.edge.models.cellpose`)."""
    return str(model).startswith("cellpose:")


def find_model(model: str | Path) -> Path:
    """File of a shipped model's name, or the path itself; `ModelError` where there is no such file."""
    if is_cellpose(model):
        from bigcp3d.edge.models.cellpose import find_cellpose

        return find_cellpose(str(model))
    shipped = shipped_models()
    path = shipped.get(str(model), Path(model).expanduser())
    if not path.is_file():
        raise ModelError(
            f"{model}: found {'a folder' if path.is_dir() else 'no such file'}; allowed are a .safetensors file and "
            "the "
            f"shipped models {', '.join(shipped) or '(none)'}; give one of these"
        )
    return path


def load_card(model: str | Path) -> ModelCard:
    """The card of a shipped model (by name) or of a file.

    Raises
    ------
    ModelError
        No such file, no safetensors file, or no valid card in it.
    """
    if is_cellpose(model):
        from bigcp3d.edge.models.cellpose import cellpose_card

        return cellpose_card(str(model))
    path = find_model(model)
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path}: found no readable safetensors file ({error}); allowed are models that bigcp3d wrote; other "
            "formats are "
            "not opened, since they can run code: train a model with `bigcp3d train`"
        ) from error
    if KEY not in metadata:
        raise ModelError(
            f"{path}: found no model card (metadata {sorted(metadata) or 'empty'}); allowed are files with the key "
            f"{KEY!r}: "
            "write it with bigcp3d.edge.models.model_files.save_model"
        )
    try:
        return ModelCard.model_validate_json(metadata[KEY])
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'card'}: {e['msg']}" for e in error.errors())
        raise ModelError(
            f"{path}: found a model card that cannot be used ({found}); allowed are cards of this version of bigcp3d: "
            "train the model again, or install the version that wrote it"
        ) from error


def load_network(model: str | Path, device: str = "cpu") -> tuple[nn.Module, ModelCard]:
    """The network in eval mode on ``device``, and its card.

    Raises
    ------
    ModelError
        As `load_card`, or the weights do not fit the network that the card describes.
    """
    from safetensors.torch import load_file

    from bigcp3d.pure.predict.network import make_network

    if is_cellpose(model):
        from bigcp3d.edge.models.cellpose import load_cellpose

        return load_cellpose(str(model), device)
    card, path = load_card(model), find_model(model)
    if card.architecture.startswith("cellpose"):
        raise ModelError(
            f"{path}: found a card of a {card.architecture} network in a safetensors file; allowed there are networks "
            "of bigcp3d: give Cellpose's own file, --model cellpose:PATH"
        )
    network = make_network(card.architecture, card.channels, card.features, card.depth)
    try:
        network.load_state_dict(load_file(path))
    except (RuntimeError, SafetensorError, OSError) as error:
        raise ModelError(
            f"{path}: found weights that do not fit {card.channels} channels, {card.features} features, depth "
            f"{card.depth} "
            f"({' '.join(str(error).split())[:300]}); allowed is the network of the card: get the file again"
        ) from error
    return network.to(device).eval().requires_grad_(False), card


def save_model(path: str | Path, network: nn.Module, card: ModelCard) -> None:
    """Write weights and card; the file appears whole or not at all."""
    from safetensors.torch import save

    target = Path(path)
    partial = target.with_name(f".{target.name}.partial")
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(save(weights, metadata={KEY: card.model_dump_json()}))
        partial.replace(target)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"{target}: the model could not be written ({error}); a writable folder with space is needed: give "
            "another path"
        ) from error


def model_hash(model: str | Path) -> str:
    """Sha256 of the model's file, in hexadecimal."""
    with find_model(model).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
