"""The network and tracking on one device, one thread: ``python -m tests.benchmarks.device --device cuda``.

Every line is a choice that the code could make: how many patches a batch holds, where their channels lie in memory,
whether torch compiles the network. `steady` says whether the answer to a patch depends on its place in the batch,
without which a batch may not be used. Tracking is that of the CPU and that of the device, on the same maps.
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bigcp3d.edge.models.model_families import load_network
from bigcp3d.pure.boxes import Box, Vec3, vec3
from bigcp3d.pure.predict.batch_check import batch_is_safe
from bigcp3d.pure.predict.run_network import fix_arithmetic, run_network
from bigcp3d.pure.track.tracking import track
from bigcp3d.pure.track.tracking_torch import track_on_device
from tests.benchmarks.cases import RADIUS, make_case
from tests.benchmarks.report import Row, show, spend, write_json

REACH, STEPS = math.ceil(3 * RADIUS), math.ceil(10 * RADIUS)


def networks(model: str, device: str, compiled: bool) -> dict[str, Callable[..., Any]]:
    """The model's network in every form that is compared."""
    network, _ = load_network(model, device)
    forms: dict[str, Callable[..., Any]] = {}
    for precision in (torch.float32, torch.bfloat16):
        name = str(precision).removeprefix("torch.")
        forms[name] = copy.deepcopy(network).to(precision)
        forms[f"{name}, channels last"] = copy.deepcopy(forms[name]).to(memory_format=torch.channels_last_3d)
        if compiled:
            forms[f"{name}, compiled"] = torch.compile(forms[name])
    return forms


def predict_rows(model: str, device: str, patch: Vec3, batches: list[int], compiled: bool, repeats: int) -> list[Row]:
    """Voxels a second of every form, in every batch."""
    rows = []
    for name, network in networks(model, device, compiled).items():
        for batch in batches:
            patches = torch.randn((batch, 1, *patch), generator=torch.Generator().manual_seed(1)).to(device)

            def answer(network: Any = network, patches: torch.Tensor = patches) -> float:
                return float(run_network(network, patches).sum())  # waits for the device

            answer()  # kernels are chosen, or compiled
            _, spent = spend(answer, repeats)
            rate = batch * math.prod(patch) / spent["wall_s"] / 1e6
            steady = batch_is_safe(network, patch, batch)
            rows.append({"network": name, "batch": batch, **spent, "Mvoxel/s": rate, "steady": steady})
    return rows


def track_rows(shape: Vec3, device: str, repeats: int) -> list[Row]:
    """Tracking by numba and by torch, and whether they agree; what is copied to the device and back included."""
    maps, _ = make_case(shape)
    whole = Box.of_shape(shape)
    ways: dict[str, Callable[..., np.ndarray]] = {
        "numba": track,
        f"torch, {device}": lambda *where, **limits: track_on_device(*where, device=device, **limits),
    }
    rows, found = [], []
    for name, way in ways.items():

        def walk(way: Callable[..., np.ndarray] = way) -> np.ndarray:
            return way(maps, whole, whole, shape, foreground=64, steps=STEPS, reach=REACH)

        walk()
        offsets, spent = spend(walk, repeats)
        found.append(offsets)
        rows.append({"tracking": name, **spent, "foreground": int((maps[0] >= 64).sum())})
        rows[-1]["equal"] = np.array_equal(found[0], offsets)
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Measure and print; JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--patch", type=int, nargs=3, default=(96, 96, 96))
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--shape", type=int, nargs=3, default=(64, 128, 128))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, default=None)
    asked = parser.parse_args(arguments)
    fix_arithmetic()
    patch, shape = vec3(asked.patch), vec3(asked.shape)
    tables = {
        "track": track_rows(shape, asked.device, asked.repeats),
        "predict": predict_rows(asked.model, asked.device, patch, asked.batches, asked.compile, asked.repeats),
    }
    for title, rows in tables.items():
        print(show(f"{title}, {asked.device}", rows))
    write_json(asked.json, tables)


if __name__ == "__main__":
    main()
