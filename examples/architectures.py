"""Compare networks at equal cost: the table behind the choice of the shipped models' architecture.

    python examples/architectures.py --minutes 6 --out architectures.csv

Every network is trained on the same simulated membranes, with the same optimiser, on one thread, for the same processor
minutes. The time for making samples is not counted. Then it segments two tissues of other seeds. The table has size,
work, and speed of inference on one thread, in float32 and (if the processor has it) bfloat16. It also has the number of
training steps, and mean Dice and AP at IoU 0.5 over the cells that the border does not cut.
"""

import argparse
import csv
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from benchmark_models import WALLS
from benchmark_models import score as score_cells
from torch import Tensor, nn
from torch.nn import functional

from bigcp3d import label_maps
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.predict.network import HalfUNet3D, UNet3D
from bigcp3d.pure.predict.normalise import estimate_range, normalise_intensity
from bigcp3d.pure.tissue.tissue import render
from bigcp3d.work.train.batches import Batch, Recipe
from bigcp3d.work.train.optimise import compute_loss
from bigcp3d.work.train.samples import Look, TissueSource
from bigcp3d.work.train.train_checks import choose_device

CARD = SimpleNamespace(diameter_vox=20.0, scale_vox=4.0, representation="tanh", clip=(-0.5, 2.5))
PATCH, BATCH, RATE = (48, 64, 64), 2, 1e-3


class PooledUNet3D(nn.Module):
    """A plain 3D U-Net at full resolution: max-pooling, nearest upsampling, instance norm but on the finest level."""

    def __init__(self, features: int, depth: int) -> None:
        super().__init__()
        widths = [features * 2**level for level in range(depth)]
        self.down = nn.ModuleList(
            _pair(a, b, b > features) for a, b in zip([1, *widths], widths, strict=False)
        )  # fmt: skip
        self.up = nn.ModuleList(_pair(a + b, b, True) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.head = nn.Conv3d(features, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Foreground and flow."""
        skips: list[Tensor] = []
        for level, down in enumerate(self.down):
            x = down(functional.max_pool3d(x, 2) if level else x)
            skips.append(x)
        x = skips.pop()
        for up in self.up:
            x = up(torch.cat([functional.interpolate(x, scale_factor=2.0), skips.pop()], dim=1))
        return torch.tanh(self.head(x))


def _pair(inputs: int, outputs: int, norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (inputs, outputs):
        layers += [nn.Conv3d(width, outputs, 3, padding=1), *([nn.InstanceNorm3d(outputs, affine=True)] * norm)]
        layers.append(nn.LeakyReLU(0.1, inplace=True))
    return nn.Sequential(*layers)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "authors' layout, 16 features": UNet3D,
    "authors' layout, 8 features": lambda: UNet3D(features=8),
    "max-pooling, 12 features": lambda: PooledUNet3D(12, 4),
    "max-pooling, 16 features": lambda: PooledUNet3D(16, 4),
    "half resolution, 24 features": lambda: HalfUNet3D(features=24),
    "half resolution, 32 features": HalfUNet3D,
    "half resolution, 32 features, 3 levels": lambda: HalfUNet3D(features=32, depth=3),
}


def count_work(network: nn.Module) -> float:
    """Floating-point operations of the convolutions per voxel; a multiplication and an addition count as two."""
    total = 0

    def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        at = inputs[0] if isinstance(layer, nn.ConvTranspose3d) else output
        total += 2 * at.numel() * layer.weight[0].numel()

    hooks = [m.register_forward_hook(add) for m in network.modules() if isinstance(m, nn.Conv3d | nn.ConvTranspose3d)]
    with torch.inference_mode():
        network(torch.zeros(1, 1, 64, 64, 64))
    for hook in hooks:
        hook.remove()
    return total / 64**3


def measure_speed(network: nn.Module, bfloat16: bool) -> float:
    """Million voxels per second of processor time on one thread, patches of 96 voxels a side; the best of three."""
    image, times = torch.randn(1, 1, 96, 96, 96), []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        for _ in range(4):
            begin = time.process_time()
            network(image)
            times.append(time.process_time() - begin)
    return 96**3 / min(times[1:]) / 1e6


def train_for(network: nn.Module, batches: list[Batch], seconds: float, bfloat16: bool) -> int:
    """Train for that much processor time; the number of steps."""
    optimiser, rng = torch.optim.RAdam(network.parameters(), lr=RATE), np.random.default_rng(0)
    spent, steps = 0.0, 0
    while spent < seconds:
        begin = time.process_time()
        optimiser.param_groups[0]["lr"] = RATE * (0.5 + 0.5 * math.cos(math.pi * spent / seconds))
        image, target, known = (torch.from_numpy(p.astype(np.float32)) for p in batches[rng.integers(len(batches))])
        for axis in (2, 3, 4):
            if rng.random() < 0.5:
                image, target, known = image.flip(axis), target.flip(axis), known.flip(axis)
                target[:, axis - 1] *= -1
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            output = network(image)
        optimiser.zero_grad()
        sum(compute_loss(output.float(), target, known)).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        spent, steps = spent + time.process_time() - begin, steps + 1
    return steps


def score(network: nn.Module) -> tuple[float, float]:
    """Mean Dice and AP at 0.5 over the whole cells of two hard tissues."""
    numbers = []
    for seed in (2001, 2002):
        tissue = replace(WALLS, shape=(64, 128, 128), seed=seed)
        counts, truth = render(tissue, Box.of_shape(tissue.shape))
        low, high = estimate_range([counts], 1.0, 99.0)
        image = torch.from_numpy(normalise_intensity(counts, low, high, CARD.clip))[None, None]
        with torch.inference_mode():
            maps = np.rint(network(image)[0].numpy() * 127).astype(np.int8)
        maps[0] = np.maximum(maps[0], 0)
        labels = label_maps(maps, CARD.diameter_vox / 2)
        found = score_cells(labels, truth)[1]["uncut_"].numbers
        numbers.append((found["mean_dice"], found["ap50"]))
    dice, ap = np.mean(numbers, axis=0)
    return float(dice), float(ap)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=6.0, help="of training, for each network")
    parser.add_argument("--batches", type=int, default=200, help="that are made once and shown to all")
    parser.add_argument("--only", nargs="*", default=[""], help="only networks whose names hold one of these")
    parser.add_argument("--out", type=Path, default=Path("architectures.csv"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bfloat16 = choose_device("cpu").bfloat16
    source = TissueSource("membrane", Look(CARD.diameter_vox, 1.0, 99.0))
    recipe = Recipe(((1.0, source),), 7, BATCH, PATCH, CARD)
    batches = [tuple(part.astype(np.float16) for part in recipe.make(n)) for n in range(arguments.batches)]
    rows = []
    for name, make in NETWORKS.items():
        if not any(part in name for part in arguments.only):
            continue
        torch.manual_seed(0)
        network = make()
        row: dict[str, str | float] = {
            "network": name,
            "million parameters": round(sum(p.numel() for p in network.parameters()) / 1e6, 2),
            "kFLOP a voxel": round(count_work(network) / 1e3, 1),
            "Mvoxel/s float32": round(measure_speed(network, False), 2),
            "Mvoxel/s bfloat16": round(measure_speed(network, True), 2) if bfloat16 else math.nan,
            "steps": train_for(network.train(), batches, 60 * arguments.minutes, bfloat16),
        }
        row["mean Dice"], row["AP at 0.5"] = (round(value, 3) for value in score(network.eval()))
        rows.append(row)
        print(row, flush=True)
    with arguments.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
