"""Cellpose's models: ``cellpose:NAME`` or ``cellpose:PATH`` to a card and a network on patches. A model family.

Names are Cellpose's own, and its code fetches their weights; paths are of files that it wrote when it trained. What a
file holds tells two networks apart: the residual U-Net of Cellpose 1 to 3, and Cellpose-SAM of Cellpose 4. Each needs
a Cellpose that has this network; nothing else of Cellpose is used (`bigcp3d.pure.predict.cellpose_planes`).

torch reads the weights with ``weights_only=True``, so a file from a stranger runs no code. Cellpose 3 does the same.
Cellpose 4 first looks at a file without it, so its loader is not used. Where Cellpose does not know a name it takes its
default model; here the name is refused.
"""

from __future__ import annotations

import math
import warnings
import zipfile
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigcp3d.edge.models.model_card import ModelCard, PatchMemory
from bigcp3d.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn

    Weights = dict[str, Tensor]

PREFIX = "cellpose:"
INSTALL = (
    "pip install 'bigcp3d[cellpose]', or, beside a newer numpy, pip install --no-deps 'cellpose<4' and what it imports"
)

PATCH, SAM_SIDE = 192, 256
"""Largest patch of the U-Net; side of the planes of Cellpose-SAM, which knows no other."""

NUCLEI_FILE, NUCLEI_DIAMETER, USUAL_DIAMETER = "nucleitorch_0", 17.0, 30.0
"""The shipped nuclei model, whose file may not say its diameter; what Cellpose takes where a file says nothing."""

SAM_BYTES = 4 * 2**30
"""300 million weights in float32, a copy while they are loaded, its planes (measured: 3.5e9)."""


def find_file(name: str) -> Path:
    """The weight file of a path, or of a name, whose file is fetched by Cellpose's own code."""
    model = PREFIX + name
    version = _installed_version(model)
    path = Path(name).expanduser()
    if name and path.is_file():
        return path
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its dependencies, about themselves
            from cellpose import models
    except Exception as error:
        raise ModelError(
            f"{model}: Cellpose {version} cannot be imported ({type(error).__name__}: {error}); install it again: "
            f"{INSTALL}"
        ) from error
    names = [*models.MODEL_NAMES, *models.get_user_models()]
    if name not in names:
        raise ModelError(
            f"{model}: there is neither a file {name!r} nor a model of Cellpose {version} of that name; use a weight "
            f"file or one of {', '.join(names)}"
        )
    fetch = getattr(models, "model_path", None) or models.cache_model_path
    try:
        return Path(fetch(name))
    except Exception as error:
        raise ModelError(
            f"{model}: Cellpose {version} could not fetch its weights ({type(error).__name__}: {error}); connect to "
            f"the network once, copy the file into {models.MODEL_DIR}, or give its path: --model cellpose:PATH"
        ) from error


def read_card(name: str) -> ModelCard:
    """What a Cellpose model expects, in the words of our cards; `ModelError` also for files of other networks."""
    path = find_file(name)
    weights = _read_weights(path, _stamp(path))
    sam = _is_sam(weights, path)
    widths = _widths(weights)
    diameter = _diameter(weights, path)
    return ModelCard(
        name=PREFIX + (path.name if Path(name).expanduser() == path else name),
        representation="heat",
        scale_vox=1.0,
        diameter_vox=diameter,
        architecture="cellpose-sam" if sam else "cellpose",
        channels=1,
        optional_channels=_channels(weights, sam) - 1,
        features=1024 if sam else widths[1],
        depth=3 if sam else len(widths) - 2,
        patch=(SAM_SIDE,) * 3 if sam else (PATCH,) * 3,
        margin=min(math.ceil(2 * diameter / 3), 24),  # as much as Cellpose's own tiles overlap, for cells of 30
        low_percentile=1.0,
        high_percentile=99.0,
        clip=(-1.0, 100.0),  # Cellpose cuts nothing; NaN must count as something low
        precision="auto" if sam else "float32",  # the U-Net was made for float32, with sums over a batch norm
        memory=_memory(widths, sam),
        training="Cellpose's or its user's own; see where the weights come from",
        date="unknown",
        bigcp3d_version="none",
        command=f"Cellpose {_installed_version(PREFIX + name)}, {path.name}",
    )


def _memory(widths: list[int], sam: bool) -> PatchMemory:
    """Answer and sums of a patch (measured: 45 a voxel); the planes that the network sees at once (70 to 77)."""
    from bigcp3d.pure.predict.cellpose_planes import PLANES

    if sam:
        return PatchMemory(fixed=32 * 2**20 + SAM_BYTES, per_voxel=52)
    return PatchMemory(fixed=32 * 2**20, per_voxel=52, per_plane_voxel=PLANES * widths[1] * 80)


def read_network(name: str, device: str) -> nn.Module:
    """The network, in eval mode, as one that takes patches; `ModelError` also where weights or Cellpose do not fit."""
    from bigcp3d.pure.predict.cellpose_planes import PlaneNetwork

    path = find_file(name)
    weights = _read_weights(path, _stamp(path))
    sam = _is_sam(weights, path)
    kind, cure = ("Cellpose-SAM", "cellpose>=4") if sam else ("the residual U-Net of Cellpose 1 to 3", "cellpose<4")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = _make_network(weights, sam)
    except ImportError as error:
        raise ModelError(
            f"{path}: this is {kind}, which the installed Cellpose {_installed_version(PREFIX + name)} does not have "
            f"or cannot import ({error}); install one that has it: pip install '{cure}'"
        ) from error
    _fill(network, weights, path)
    planes = PlaneNetwork(network, _channels(weights, sam), SAM_SIDE if sam else None)
    return planes.to(device).eval().requires_grad_(False)


def _installed_version(model: str) -> str:
    try:
        return metadata.version("cellpose")
    except metadata.PackageNotFoundError as error:
        raise ModelError(f"{model}: Cellpose is not installed; install Cellpose 3 or 4: {INSTALL}") from error


def _stamp(path: Path) -> tuple[int, int]:
    """What changes when a file does, so that a changed file is read again."""
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=1)
def _read_weights(path: Path, stamp: tuple[int, int]) -> Weights:
    """The tensors of a file, by name; mapped into memory where the format lets it."""
    import torch

    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # torch raises whatever the bytes lead it to
        raise ModelError(
            f"{path}: its weights cannot be read without running code ({' '.join(str(error).split())[:200]}); use a "
            "file that Cellpose wrote: train it again, or get the file again"
        ) from error
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise ModelError(
            f"{path}: this is a {type(found).__name__} that is no table of weights; use a file that Cellpose wrote"
        )
    return {name.removeprefix("module."): value for name, value in found.items()}


def _is_sam(weights: Weights, path: Path) -> bool:
    """Whether a file holds Cellpose-SAM (else it is the U-Net), by its tensors; `ModelError` for other networks."""
    if "W2" in weights and "encoder.cls_token" not in weights:
        return True
    head = weights.get("output.2.weight")
    if head is not None and len(head) == 3 and _widths(weights):
        return False
    raise ModelError(
        f"{path}: its {len(weights)} tensors ({', '.join(list(weights)[:3])}, ...) are of another network than the "
        "residual U-Net of Cellpose 1 to 3 (2D, with flows and a probability) and Cellpose-SAM; run it with its own "
        "tool and give its maps: --maps, see examples/maps_from_cellpose.py"
    )


def _channels(weights: Weights, sam: bool) -> int:
    """Channels that the network takes: for the U-Net, what shall be found (cytoplasm), then nuclei."""
    return 3 if sam else _widths(weights)[0]


def _widths(weights: Weights) -> list[int]:
    """Channels of a U-Net's input and of its levels; empty where it is none, or not 2D."""
    first = [weights.get(f"downsample.down.res_down_{level}.conv.conv_0.2.weight") for level in range(16)]
    levels = [tensor for tensor in first if tensor is not None and tensor.ndim == 4]
    return [int(levels[0].shape[1]), *(int(tensor.shape[0]) for tensor in levels)] if len(levels) > 1 else []


def _diameter(weights: Weights, path: Path) -> float:
    """Diameter of the cells that a network knows, in pixels, as Cellpose decides it."""
    said = weights.get("diam_mean")
    if path.name == NUCLEI_FILE:
        return NUCLEI_DIAMETER
    diameter = USUAL_DIAMETER if said is None else float(said.reshape(-1)[0])
    if not (math.isfinite(diameter) and diameter > 0):
        raise ModelError(f"{path}: its diameter (diam_mean) is {diameter}, not above 0; get the file again")
    return diameter


def _make_network(weights: Weights, sam: bool) -> nn.Module:
    """Cellpose's network with random weights; ImportError where this Cellpose lacks it."""
    network: nn.Module
    if not sam:
        from cellpose.resnet_torch import CPnet

        network = CPnet(_widths(weights), 3, 3, mkldnn=False)
        return network
    try:
        from cellpose.vit import CPSAM as Sam
    except ImportError:
        from cellpose.vit_sam import Transformer as Sam  # up to 4.1
    network = Sam()
    return network


def _fill(network: nn.Module, weights: Weights, path: Path) -> None:
    """Put weights into a network; diameters and counters may be missing, weights may not."""
    try:
        missing = network.load_state_dict(weights, strict=False).missing_keys
    except RuntimeError as error:
        raise ModelError(
            f"{path}: its weights do not fit Cellpose's network ({' '.join(str(error).split())[:300]}); use a file "
            "that Cellpose wrote: get it again"
        ) from error
    lacking = [name for name in missing if not name.endswith(("diam_mean", "diam_labels", "num_batches_tracked"))]
    if lacking:
        raise ModelError(
            f"{path}: there are no weights for {', '.join(lacking[:3])} ({len(lacking)} are missing); use a whole file "
            "that Cellpose wrote: get it again"
        )
