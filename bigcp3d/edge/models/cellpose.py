"""The model family of Cellpose: finds, describes and loads ``cellpose:NAME`` or ``cellpose:PATH``.

Cellpose's own code fetches the weights of its names; paths are files that Cellpose wrote when it trained. A file holds
the residual U-Net of Cellpose 1 to 3, or Cellpose-SAM of Cellpose 4. Each needs an installed Cellpose that has this
network; nothing else of Cellpose is used (`bigcp3d.pure.predict.cellpose_planes`). Cellpose-DINO of Cellpose 4 is not
run: it needs a package that is on no index.

torch reads the weights with ``weights_only=True``, so a file from a stranger runs no code. Cellpose 4's own loader does
not always do so. For an unknown name Cellpose takes its default model; here the name is refused.
"""

from __future__ import annotations

import logging
import math
import ssl
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigcp3d.edge.models.cellpose_names import version_with
from bigcp3d.edge.models.model_card import ModelCard, PatchMemory
from bigcp3d.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn

    Weights = dict[str, Tensor]

PREFIX = "cellpose:"
INSTALL = (
    "first pip install torch torchvision, both in one command (without a GPU add --index-url "
    "https://download.pytorch.org/whl/cpu); then pip install 'bigcp3d[cellpose]'"
)
TORCH_INDEX = "https://download.pytorch.org/whl"

PATCH, SAM_SIDE = 192, 256
"""Side of the largest patch of the U-Net; side of the planes of Cellpose-SAM, which is fixed."""

VERSIONS = {3: "cellpose<4", 4: "cellpose>=4"}
"""What pip installs for a version of Cellpose."""

DINO = "cpdino"
"""Begins the names of the models that are not run."""

NUCLEI_FILE, NUCLEI_DIAMETER, USUAL_DIAMETER = "nucleitorch_0", 17.0, 30.0
"""Cellpose's nuclei model, whose file may not state its diameter; Cellpose's default diameter."""

SAM_BYTES = 4 * 2**30
"""300 million weights in float32, a copy of them during loading, and the planes (measured: 3.5e9)."""


def find_file(name: str) -> Path:
    """The weight file of a path, or of a name; Cellpose's own code fetches it."""
    model = PREFIX + name
    version = _installed_version(model)
    path = Path(name).expanduser()
    if name and path.is_file():
        return path
    if name.startswith(DINO):
        raise ModelError(f"{model}: this is Cellpose-DINO, which bigcp3d does not run; use cellpose:cpsam")
    try:
        with _as_before():
            from cellpose import models
    except Exception as error:
        raise ModelError(
            f"{model}: Cellpose {version} cannot be imported ({type(error).__name__}: {error}); {_import_cure()}"
        ) from error
    names = [*models.MODEL_NAMES, *models.get_user_models()]
    if name not in names:
        other = version_with(name)
        hint = f". {name} is a model of Cellpose {other}: pip install '{VERSIONS[other]}'" if other else ""
        raise ModelError(
            f"{model}: there is neither a file {name!r} nor a model of Cellpose {version} of that name; use a weight "
            f"file or one of {', '.join(each for each in names if not each.startswith(DINO))}{hint}"
        )
    return _fetch(name, version, models)


def _fetch(name: str, version: str, models: Any) -> Path:
    """The weights of one of Cellpose's names, from its cache or its server."""
    function = "model_path" if hasattr(models, "model_path") else "cache_model_path"
    try:
        with _as_before():
            return Path(getattr(models, function)(name))
    except Exception as error:
        raise ModelError(
            f"{PREFIX}{name}: Cellpose {version} could not fetch its weights ({type(error).__name__}: {error}). On a "
            f'computer with internet and Cellpose, run: python -c "from cellpose import models; '
            f"print(models.{function}('{name}'))\". Copy the file that it prints into {models.MODEL_DIR} here, or give "
            "its path: --model cellpose:PATH"
        ) from error


@contextmanager
def _as_before() -> Iterator[None]:
    """Let code of Cellpose neither speak nor change what the rest of the process does.

    Its dependencies warn, it logs that Cellpose-DINO is missing, switches TF32 on, and ends the check of certificates.
    """
    import torch

    tf32, context = torch.backends.cuda.matmul.allow_tf32, ssl._create_default_https_context
    log = logging.getLogger("cellpose")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
        torch.backends.cuda.matmul.allow_tf32, ssl._create_default_https_context = tf32, context


def _import_cure() -> str:
    """What to do if Cellpose is installed and cannot be imported: most often torchvision is of another build."""
    import torch

    try:
        import_module("torchvision")
    except Exception:
        _, _, build = torch.__version__.partition("+")
        index = f" --index-url {TORCH_INDEX}/{build}" if build else ""
        return (
            f"the cause is torchvision, which is missing or does not fit torch {torch.__version__}. Install both from "
            f"one index: pip install --force-reinstall torch torchvision{index}"
        )
    return f"install it again: pip install --force-reinstall --no-deps cellpose. New installation: {INSTALL}"


def read_card(name: str) -> ModelCard:
    """The card of a Cellpose model; `ModelError` also for files of other networks."""
    from bigcp3d.pure.predict.cellpose_planes import PLANES

    found = _open(name)
    path, widths, sam, diameter = found.path, found.widths, found.sam, found.diameter()
    # answer and sums of a patch (measured: 45 bytes a voxel), and the planes that the network sees at once (70 to 77)
    memory = PatchMemory(
        fixed=32 * 2**20 + SAM_BYTES * sam, per_voxel=52, per_plane_voxel=0 if sam else PLANES * widths[1] * 80
    )
    return ModelCard(
        name=PREFIX + (path.name if Path(name).expanduser() == path else name),
        representation="heat",
        scale_vox=1.0,
        diameter_vox=diameter,
        architecture="cellpose-sam" if sam else "cellpose",
        channels=1,
        optional_channels=found.channels - 1,
        features=1024 if sam else widths[1],
        depth=3 if sam else len(widths) - 2,
        patch=(SAM_SIDE,) * 3 if sam else (PATCH,) * 3,
        margin=min(math.ceil(2 * diameter / 3), 24),  # for cells of 30 as large as the overlap of Cellpose's own tiles
        low_percentile=1.0,
        high_percentile=99.0,
        clip=(-1.0, 100.0),  # Cellpose does not clip; NaN becomes the lower bound
        precision="auto" if sam else "float32",  # the U-Net was made for float32, with sums over a batch norm
        memory=memory,
        training="the licence of Cellpose, or of whoever trained it; see where the weights come from",
        date="unknown",
        bigcp3d_version="none",
        command=f"Cellpose {_installed_version(PREFIX + name)}, {path.name}",
    )


def read_network(name: str, device: str) -> nn.Module:
    """The network on patches, in eval mode; `ModelError` also where weights or the installed Cellpose do not fit."""
    from bigcp3d.pure.predict.cellpose_planes import PlaneNetwork

    found = _open(name)
    sam = found.sam
    kind, cure = ("Cellpose-SAM", VERSIONS[4]) if sam else ("the residual U-Net of Cellpose 1 to 3", VERSIONS[3])
    try:
        with _as_before():
            network = _make_network(found.widths)
    except ImportError as error:
        raise ModelError(
            f"{found.path}: this is {kind}, which the installed Cellpose {_installed_version(PREFIX + name)} does not "
            f"have or cannot import ({error}); install one that has it: pip install '{cure}'"
        ) from error
    try:
        missing = network.load_state_dict(found.weights, strict=False).missing_keys
    except RuntimeError as error:
        raise ModelError(
            f"{found.path}: its weights do not fit Cellpose's network ({' '.join(str(error).split())[:300]}); use a "
            "file that Cellpose wrote: get it again"
        ) from error
    # only diameters and counters may be missing
    lacking = [name for name in missing if not name.endswith(("diam_mean", "diam_labels", "num_batches_tracked"))]
    if lacking:
        raise ModelError(
            f"{found.path}: there are no weights for {', '.join(lacking[:3])} ({len(lacking)} are missing); use a "
            "whole file that Cellpose wrote: get it again"
        )
    planes = PlaneNetwork(network, found.channels, SAM_SIDE if sam else None)
    return planes.to(device).eval().requires_grad_(False)


def _installed_version(model: str) -> str:
    try:
        return metadata.version("cellpose")
    except metadata.PackageNotFoundError as error:
        raise ModelError(f"{model}: Cellpose is not installed; {INSTALL}") from error


@dataclass(frozen=True)
class _WeightFile:
    """What is in a weight file."""

    path: Path
    weights: Weights
    widths: list[int]  # channels of the U-Net's input and of each of its levels; empty for Cellpose-SAM

    @property
    def sam(self) -> bool:
        """Whether this is Cellpose-SAM rather than the U-Net."""
        return not self.widths

    @property
    def channels(self) -> int:
        """Channels that the network takes; the U-Net takes cytoplasm, then nuclei."""
        return 3 if self.sam else self.widths[0]

    def diameter(self) -> float:
        """Diameter of the cells that the network knows, in pixels, by Cellpose's own rules."""
        said = self.weights.get("diam_mean")
        if self.path.name == NUCLEI_FILE:
            return NUCLEI_DIAMETER
        diameter = USUAL_DIAMETER if said is None else float(said.reshape(-1)[0])
        if not (math.isfinite(diameter) and diameter > 0):
            raise ModelError(f"{self.path}: its diameter (diam_mean) is {diameter}, not above 0; get the file again")
        return diameter


def _open(name: str) -> _WeightFile:
    """Read the weight file of a model; `ModelError` for other networks, which show in the names of their tensors."""
    path = find_file(name)
    stat = path.stat()
    weights = _read_weights(path, stat.st_mtime_ns, stat.st_size)
    if "W2" in weights and "encoder.cls_token" not in weights:
        return _WeightFile(path, weights, [])
    if "W2" in weights:
        raise ModelError(f"{path}: this is Cellpose-DINO, which bigcp3d does not run; use cellpose:cpsam")
    first = [weights.get(f"downsample.down.res_down_{level}.conv.conv_0.2.weight") for level in range(16)]
    levels = [tensor for tensor in first if tensor is not None and tensor.ndim == 4]
    head = weights.get("output.2.weight")
    if head is not None and len(head) == 3 and len(levels) > 1:
        return _WeightFile(path, weights, [int(levels[0].shape[1]), *(int(tensor.shape[0]) for tensor in levels)])
    raise ModelError(
        f"{path}: its {len(weights)} tensors ({', '.join(list(weights)[:3])}, ...) are of another network than the "
        "residual U-Net of Cellpose 1 to 3 (2D, with flows and a probability) and Cellpose-SAM; run it with its own "
        "tool and give its maps: --maps, whose form 'bigcp3d segment --help' states"
    )


@lru_cache(maxsize=1)
def _read_weights(path: Path, changed: int, size: int) -> Weights:
    """The tensors of a file by name, mapped into memory where possible; read again when time or size change."""
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
            f"{path}: this is a {type(found).__name__}, not a table of weights; use a file that Cellpose wrote"
        )
    return {name.removeprefix("module."): value for name, value in found.items()}


def _make_network(widths: list[int]) -> Any:
    """Cellpose's U-Net of these widths, or Cellpose-SAM, untrained; ImportError where this Cellpose has no such."""
    if widths:
        from cellpose.resnet_torch import CPnet

        return CPnet(widths, 3, 3, mkldnn=False)
    try:
        from cellpose.vit import CPSAM as Sam
    except ImportError:
        from cellpose.vit_sam import Transformer as Sam  # up to 4.1
    return Sam()
