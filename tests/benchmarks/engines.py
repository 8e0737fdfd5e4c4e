"""The network in float32 on one thread, as several engines compute it: ``python -m tests.benchmarks.engines``.

Simulated volumes are segmented with every engine in turn. So all see the same patches, beside the same other programs.
The table shows processor seconds of a patch, the earlier network's time divided by it (median over the volumes), the
largest difference of an answer, and how well the labels agree with the truth. Engines that are not installed are named
as missing: OpenVINO with NNCF (``pip install openvino nncf``), ONNX Runtime (``pip install onnxruntime onnxscript``),
and torch.compile without a C++ compiler.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.edge.models.model_families import load_network
from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.pure.predict.fewer_operations import Convolution
from bigcp3d.pure.predict.normalise import estimate_range, normalise_intensity
from bigcp3d.pure.predict.patches import choose_patch
from bigcp3d.pure.predict.run_network import fix_arithmetic, run_network, to_precision
from bigcp3d.pure.score.metrics import score_overlaps
from bigcp3d.pure.score.overlaps import count_overlaps
from bigcp3d.pure.tissue.tissue import render
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.work.train.validate import segment_crop
from tests.benchmarks.report import Row, tell

SHAPE: Vec3 = (64, 120, 120)
"""Of a volume: four patches of 96 x 96 x 96."""
TISSUES = {
    "nuclei": Tissue(SHAPE, 14.0, "nuclei", blur_vox=(2.0, 1.2, 1.2), noise=0.3, attenuation=0.5, staining=0.5),
    "membrane": Tissue(SHAPE, 20.0, blur_vox=(2.0, 1.5, 1.5), noise=0.14, inside=0.3, staining=0.5, uneven=0.6),
}
SMALLEST = 50
"""Voxels of a true cell that counts, at least."""
Answer = Callable[[Tensor], Tensor]


class Engine(nn.Module):
    """A function as a network that notes how long each patch takes."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer, self.spent = answer, list[float]()
        self.unused = nn.Parameter(torch.zeros(()), requires_grad=False)

    def forward(self, patch: Tensor) -> Tensor:
        begun = time.process_time()
        answer = self.answer(patch)
        self.spent.append(time.process_time() - begun)
        return answer


def torch_engines(model: str, patch: Tensor) -> dict[str, Callable[[], Answer]]:
    """Ways of torch. The first is the network as it was; runs use the next two."""
    plain, fewer = (lambda: load_network(model)[0]), (lambda: to_precision(load_network(model)[0], "float32"))

    def compiled() -> Answer:
        import torch._inductor.config as settings

        settings.freezing, settings.compile_threads = True, 1
        compiled: Answer = torch.compile(_exportable(model))
        compiled(patch)
        return compiled

    def traced(network: nn.Module) -> Answer:
        return torch.jit.optimize_for_inference(torch.jit.trace(network, patch))  # type: ignore[no-any-return]

    return {
        "plain network": plain,
        "fewer operations": fewer,
        "int8": lambda: to_precision(load_network(model)[0], "int8"),
        "plain, channels last": lambda: plain().to(memory_format=torch.channels_last_3d),
        "plain, traced and frozen": lambda: traced(plain()),
        "fewer, torch.compile": compiled,
    }


def openvino_engine(model: str, patch: Tensor, seen: NDArray[np.float32] | None) -> Answer:
    """OpenVINO in float32; in int8, calibrated on the patches ``seen`` (n, c, z, y, x)."""
    import openvino

    converted = openvino.convert_model(_exportable(model), example_input=patch)
    if seen is not None:
        import nncf

        converted = nncf.quantize(converted, nncf.Dataset([one[None] for one in seen]), subset_size=len(seen))
    converted.reshape(list(patch.shape))
    limits = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(converted, "CPU", limits).create_infer_request()

    def answer(patch: Tensor) -> Tensor:
        request.infer({0: patch.numpy()})
        return torch.from_numpy(request.get_output_tensor(0).data.copy())

    return answer


def onnx_engine(model: str, patch: Tensor, seen: NDArray[np.float32] | None) -> Answer:
    """ONNX Runtime in float32; in int8, calibrated on the patches ``seen``."""
    import onnxruntime
    from onnxruntime import quantization

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "float32.onnx")
        torch.onnx.export(_exportable(model), (patch,), str(path), dynamo=False, input_names=["patch"])
        if seen is not None:
            left = iter([{"patch": one[None]} for one in seen])
            reader = type("Reader", (quantization.CalibrationDataReader,), {"get_next": lambda _: next(left, None)})
            quantization.quantize_static(str(path), str(path := Path(folder, "int8.onnx")), reader())
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    return lambda patch: torch.from_numpy(session.run(None, {"patch": patch.numpy()})[0])


def _exportable(model: str) -> nn.Module:
    """The network with fewer operations, in convolutions that exporters know."""
    network = to_precision(load_network(model)[0], "float32")
    for name, module in list(network.named_modules()):
        if isinstance(module, Convolution):
            out, inside, *sides = module.weight.shape
            known = nn.Conv3d(inside, out, sides, module.stride, module.padding, bias=module.bias is not None)
            known.load_state_dict(module.state_dict())
            parent, _, last = name.rpartition(".")
            setattr(network.get_submodule(parent), last, known.requires_grad_(False))
    return network


def draw(stain: str, seed: int, card: ModelCard) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    """A normalised image (1, z, y, x) and its true labels."""
    image, truth = render(replace(TISSUES[stain], seed=seed), Box.of_shape(SHAPE))
    low, high = estimate_range([image], card.low_percentile, card.high_percentile)
    return normalise_intensity(image, low, high, card.clip)[None], truth


def open_engines(model: str, card: ModelCard, calibration: int) -> tuple[dict[str, Engine], list[Row]]:
    """All engines that can be had here, and a row for each of the others."""
    side = choose_patch(SHAPE, card.patch, card.margin, card.stride)
    patch = torch.zeros((1, 1, *side))
    images = [draw(model, 100 + number, card)[0] for number in range(calibration)]
    part = tuple(slice(min(a, b)) for a, b in zip(SHAPE, side, strict=True))
    room = [(0, 0), *((0, max(0, b - a)) for a, b in zip(SHAPE, side, strict=True))]
    seen = np.stack([np.pad(image[(slice(None), *part)], room, mode="reflect") for image in images])
    makers = torch_engines(model, patch) | {
        "fewer, OpenVINO": lambda: openvino_engine(model, patch, None),
        "fewer, OpenVINO int8": lambda: openvino_engine(model, patch, seen),
        "fewer, ONNX Runtime": lambda: onnx_engine(model, patch, None),
        "fewer, ONNX Runtime int8": lambda: onnx_engine(model, patch, seen),
    }
    engines, missing = {}, []
    for name, make in makers.items():
        try:
            engines[name] = Engine(make())
            run_network(engines[name], patch)
            engines[name].spent.clear()
        except Exception as error:  # another package may raise anything
            engines.pop(name, None)
            missing.append({"engine": f"{name}: {type(error).__name__}: {str(error)[:80]}"})
    return engines, missing


def compare(model: str, volumes: int, calibration: int) -> list[Row]:
    """A row for each engine."""
    fix_arithmetic()
    card = load_network(model)[1]
    engines, missing = open_engines(model, card, calibration)
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in engines}
    largest = dict.fromkeys(engines, 0.0)
    noise = torch.randn((1, 1, *choose_patch(SHAPE, card.patch, card.margin, card.stride)))
    first = engines["plain network"].answer(noise)
    for name, engine in engines.items():
        largest[name] = float((engine.answer(noise) - first).abs().max())
    for seed in range(volumes):
        image, truth = draw(model, seed, card)
        for name, engine in engines.items():
            found = score_overlaps(count_overlaps(segment_crop(image, engine, card), truth), min_truth_vox=SMALLEST)
            scores[name].append((float(found["mean_dice"] or 0), float(found["ap50"] or 0)))
    base = np.array(engines["plain network"].spent).reshape(volumes, -1).min(1)
    rows: list[Row] = []
    for name, engine in engines.items():
        each = np.array(engine.spent).reshape(volumes, -1).min(1)
        dice, ap50 = np.mean(scores[name], axis=0)
        rows.append(
            {
                **{"engine": name, "cpu_s a patch": each.min(), "faster, of the least": base.min() / each.min()},
                **{"faster, median": float(np.median(base / each)), "largest difference": largest[name]},
                **{"dice": f"{dice:.4f}", "ap50": f"{ap50:.4f}"},
            }
        )
    return rows + missing


def main(arguments: list[str] | None = None) -> dict[str, list[Row]]:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(TISSUES), choices=list(TISSUES))
    parser.add_argument("--volumes", type=int, default=3)
    parser.add_argument("--calibration", type=int, default=6, help="patches that int8 is calibrated on")
    parser.add_argument("--json", type=Path, default=None)
    asked = parser.parse_args(arguments)
    tables = {model: compare(model, asked.volumes, asked.calibration) for model in asked.models}
    tell(tables, asked.json)
    return tables


if __name__ == "__main__":
    main()
