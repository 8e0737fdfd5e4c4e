"""Prediction: run patches through the network and add up its answers with weights.

Invariant: a voxel of the maps depends on the image, the normalisation, the network, its precision, the kind of device
and the patch grid, never on the block. Every patch has the same shape and runs alone (on a GPU: in a batch of one
shape) and on one thread, so that sums inside the network are always grouped alike. Merging is integer arithmetic.

On a GPU everything from the image to the maps stays there: a layer of patches is uploaded at once, and the next one is
read meanwhile.
"""

from __future__ import annotations

import platform
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box, Vec3, vec3
from bigcp3d.pure.predict.fewer_operations import need_fewer_operations
from bigcp3d.pure.predict.int8_network import Int8HalfUNet3D
from bigcp3d.pure.predict.network import HalfUNet3D
from bigcp3d.pure.predict.patch_sums import PatchSums
from bigcp3d.pure.predict.patches import PatchGrid, choose_patch, reflected
from bigcp3d.pure.read_ahead import read_each

Job = tuple[list[Box], Callable[[], Tensor]]
"""Windows of a batch of patches, and what computes the network's answers to them."""


def take_patch(image: Tensor, region: Box, window: Box, grid: PatchGrid) -> Tensor:
    """The window's voxels (c, z, y, x), reflected beyond the volume's border; ``image`` covers ``region``."""
    for axis in range(3):
        index = torch.from_numpy(reflected(window.start[axis], window.stop[axis], grid.shape[axis]))
        image = image.index_select(1 + axis, (index - region.start[axis]).to(image.device, non_blocking=True))
    return image


def to_precision(network: nn.Module, precision: str) -> nn.Module:
    """A network that was loaded for prediction, in ``"float32"``, ``"bfloat16"`` or ``"int8"``; may change it in place.

    On a processor in float32, it computes the same with fewer operations. int8 is computed on the processor, even if
    there is a GPU. `InputError` if the network or the machine cannot.
    """
    if precision == "int8":
        if not isinstance(network, HalfUNet3D):
            raise InputError("--precision int8 needs a model of the architecture half")
        return Int8HalfUNet3D(network.cpu())
    if precision == "float32" and next(network.parameters()).device.type == "cpu":
        need_fewer_operations(network)
    return network.to(getattr(torch, precision))


def run_network(network: nn.Module, patches: Tensor) -> Tensor:
    """Foreground and flow of patches (n, c, z, y, x): float32 (n, 4, z, y, x), in [-1, 1] as the tanh gives them.

    The network computes in the dtype, and on the device, of its parameters; the answers stay there. An autocast around
    the call changes nothing: it would hold for this thread only.
    """
    first = next(network.parameters())
    with torch.inference_mode(), torch.autocast(first.device.type, enabled=False):
        answers: Tensor = network(patches.to(first.device, first.dtype))
    return answers.float()


@torch.inference_mode()
def mend_border(answer: Tensor, window: Box, shape: Vec3) -> None:
    """On the volume's outermost planes, replace the flow across them by that of the next plane inside, in place.

    ``answer`` (4, *window.shape) is that of one patch in a volume of ``shape``. Beyond the border a patch sees the
    reflected image. Both sides look equal, so it predicts no flow across the outermost plane. So in each cell that
    the border cuts, this plane would become a cell of its own.
    """
    for axis, size in enumerate(shape):
        flow, first, last = answer[1 + axis], -window.start[axis], size - 1 - window.start[axis]
        for plane, inside in ((first, first + 1), (last, last - 1)):
            if min(plane, inside) >= 0 and max(plane, inside) < flow.shape[axis] and size > 1:
                flow.select(axis, plane).copy_(flow.select(axis, inside))


def _fill(patches: Sequence[Tensor], batch: int) -> Tensor:
    """Patches as a batch of fixed shape, filled up with zeros."""
    return torch.stack([*patches, *[torch.zeros_like(patches[0])] * (batch - len(patches))])


def sum_patches(
    read: Callable[[Box], NDArray[np.float32]],
    layers: Sequence[Sequence[Vec3]],
    box: Box,
    grid: PatchGrid,
    network: nn.Module,
    *,
    batch: int = 1,
    ahead: bool | None = None,
    threads: int = 1,
) -> PatchSums:
    """Weighted sums of some patches' predictions in ``box``, equal to the bit whatever the last two arguments.

    ``read`` gives the normalised image, float32 (c, z, y, x), in a box of the working grid. ``layers`` are the patches,
    several at a time: the box that a layer sees is read at once. ``network`` takes (batch, c, *grid.patch) and returns
    (batch, 4, *grid.patch) in [-1, 1]; ``batch`` is above 1 only if that is safe (`bigcp3d.pure.predict.batch_check`).
    ``ahead``: a thread reads the next layer while this one is computed; the default where the network is on a GPU.
    ``threads``: on a processor, so many batches are computed at a time, each still on one thread.

    The answer to a patch with a single value in each channel is computed once per value. So empty space (padding, the
    outside of a stitched mosaic) costs almost nothing, and not a bit changes. Memory on the network's device: 16 bytes
    a voxel of the box, the image of a layer and the activations of one batch for each thread; ahead, the image of the
    next layer on the host.
    """
    device = next(network.parameters()).device
    gpu = device.type != "cpu"
    sums = PatchSums(box, grid, device)
    layers = [layer for layer in layers if layer]
    regions = [grid.read_box(layer) for layer in layers]
    with closing(read_each(read, regions, threads=int(gpu if ahead is None else ahead))) as images:
        jobs = _jobs(images, regions, layers, grid, network, batch)
        for window, answer in _answers(jobs, 1 if gpu else threads):
            mend_border(answer, window, grid.shape)
            sums.add(window, answer)
    return sums


def predict_whole(
    image: NDArray[np.float32], network: nn.Module, *, patch: Vec3, margin: int, stride: int
) -> NDArray[np.int8]:
    """Maps, int8 (4, z, y, x), of a normalised image (c, z, y, x) in memory, as a run predicts them for a volume.

    The network computes in its own dtype; it sees patches of at most ``patch``, a multiple of ``stride``.
    """
    shape = vec3(image.shape[1:])
    box, grid = Box.of_shape(shape), PatchGrid(shape, choose_patch(shape, patch, margin, stride), margin)
    sums = sum_patches(lambda part: image[(slice(None), *part.slices())], [list(grid.cores)], box, grid, network)
    return sums.maps(box)


def _jobs(
    images: Iterator[NDArray[np.float32]],
    regions: Sequence[Box],
    layers: Sequence[Sequence[Vec3]],
    grid: PatchGrid,
    network: nn.Module,
    batch: int,
) -> Iterator[Job]:
    """The patches of some layers in batches; each of the ``images`` covers the region of its layer."""
    known: dict[tuple[float, ...], Tensor] = {}  # answers to patches of a single value
    for layer, region in zip(layers, regions, strict=True):
        values = next(images)
        single = {index: value for index in layer if (value := _only_values(values, region, index, grid)) is not None}
        image = torch.from_numpy(values).to(next(network.parameters()).device)
        del values  # on a GPU the host needs its memory for the next layer
        for index, value in single.items():
            if value not in known:
                patch = take_patch(image, region, grid.window(index), grid)
                known[value] = run_network(network, _fill([patch], batch))[:1]
            yield [grid.window(index)], known[value].clone
        rest = [grid.window(index) for index in layer if index not in single]
        for first in range(0, len(rest), batch):
            windows = rest[first : first + batch]
            patches = _fill([take_patch(image, region, window, grid) for window in windows], batch)
            yield windows, partial(run_network, network, patches)
        del image  # before the next layer is read


def _answers(jobs: Iterable[Job], threads: int) -> Iterator[tuple[Box, Tensor]]:
    """Windows and the network's answers, in the order of the jobs; so many jobs are computed at a time."""
    if threads == 1:
        for windows, compute in jobs:
            yield from zip(windows, compute(), strict=False)
        return
    waiting: deque[tuple[list[Box], Future[Tensor]]] = deque()
    with ThreadPoolExecutor(threads, "bigcp3d-network", initializer=fix_arithmetic) as pool:
        for windows, compute in jobs:
            waiting.append((windows, pool.submit(compute)))
            if len(waiting) > threads:
                done, answers = waiting.popleft()
                yield from zip(done, answers.result(), strict=False)
        for done, answers in waiting:
            yield from zip(done, answers.result(), strict=False)


def _only_values(image: NDArray[np.float32], region: Box, index: Vec3, grid: PatchGrid) -> tuple[float, ...] | None:
    """The value of all voxels that a patch sees, by channel; None where they differ. ``image`` covers ``region``."""
    part = image[(slice(None), *grid.read_box([index]).slices(region.start))]
    first = part[:, :1, :1, :1]
    constant = bool((part[:, -1:, -1:, -1:] == first).all()) and bool((part == first).all())
    return tuple(first.ravel().tolist()) if constant else None


def fast_precision(device: str) -> str:
    """``"bfloat16"`` where a device ("cpu" or "cuda") computes it fast, else ``"float32"``."""
    if device == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability() >= (8, 0) else "float32"
    tests = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return "bfloat16" if any(bool(test()) for test in tests if test is not None) else "float32"


def processor_kind(device: str) -> str:
    """The processor or GPU behind a device ("cpu" or "cuda"), and torch's version: others may round differently."""
    if device == "cuda":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    amx = getattr(torch.cpu, "_is_amx_tile_supported", None)
    kind = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}{' AMX' if amx and amx() else ''}"
    return f"{kind}, torch {torch.__version__}"


def fix_arithmetic() -> None:
    """Make this process compute the same numbers for the same patch every time.

    Every operation of torch runs on one thread. cuDNN chooses deterministic kernels by shape, not by timing them, and
    float32 is not replaced by TF32 or bfloat16.
    """
    torch.set_num_threads(1)
    for operation in ("matmul", "conv"):
        if (settings := getattr(torch.backends.mkldnn, operation, None)) is not None:  # since torch 2.9
            settings.fp32_precision = "ieee"
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
