"""A stand-in for the package Cellpose 3, where it is not installed: names, download and the network's interface.

Its network has the tensors by which `bigcp3d.edge.models.cellpose` knows Cellpose's U-Net, one convolution a level, and
pools over the plane as the style vector does.
"""

from __future__ import annotations

import itertools
import sys
import types

import torch
from torch import nn
from torch.nn import functional


class CPnet(nn.Module):
    """Downwards, a mean over the plane that is added, and back up by nearest neighbour."""

    def __init__(self, nbase, nout, sz, mkldnn=False):
        super().__init__()
        levels = {}
        for level, (inputs, outputs) in enumerate(itertools.pairwise(nbase)):
            convolution = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, outputs, sz, padding=1))
            block = nn.Module()
            block.conv = nn.Sequential()
            block.conv.add_module("conv_0", convolution)
            levels[f"res_down_{level}"] = block
        self.downsample = nn.Module()
        self.downsample.down = nn.ModuleDict(levels)
        self.output = nn.Sequential(nn.BatchNorm2d(sum(nbase[1:])), nn.ReLU(), nn.Conv2d(sum(nbase[1:]), nout, 1))
        self.diam_mean = nn.Parameter(torch.ones(1) * 30.0, requires_grad=False)
        self.diam_labels = nn.Parameter(torch.ones(1) * 30.0, requires_grad=False)

    def forward(self, x):
        size, seen = x.shape[2:], []
        for level, block in enumerate(self.downsample.down.values()):
            x = block.conv(functional.max_pool2d(x, 2) if level else x)
            seen.append(functional.interpolate(x, size=size))
        style = x.mean(dim=(1, 2, 3), keepdim=True)
        return self.output(torch.cat(seen, dim=1) + style), style, seen


def install(monkeypatch, tmp_path, version="3.1.1.3"):
    """Let ``import cellpose`` find the stand-in; its models folder."""
    folder = tmp_path / "cellpose_models"
    folder.mkdir(exist_ok=True)

    def model_path(name):
        if not (folder / name).exists():
            raise OSError("no way to the network")
        return str(folder / name)

    package = types.ModuleType("cellpose")
    package.models = types.ModuleType("cellpose.models")
    package.models.MODEL_NAMES = ["cyto3", "nuclei"]
    package.models.MODEL_DIR = folder
    package.models.get_user_models = lambda: ["mine"]
    package.models.model_path = model_path
    package.resnet_torch = types.ModuleType("cellpose.resnet_torch")
    package.resnet_torch.CPnet = CPnet
    package.__path__ = []
    for name in [name for name in sys.modules if name.partition(".")[0] == "cellpose"]:
        monkeypatch.delitem(sys.modules, name)
    for module in (package, package.models, package.resnet_torch):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr("bigcp3d.edge.models.cellpose._installed_version", lambda model: version)
    return folder


def write_weights(path, network_class=CPnet, widths=(2, 4, 8, 16), diameter=6.0, seed=3):
    """A file of random weights, as `CPnet.save_model` writes it, whose maps cross every seam."""
    torch.manual_seed(seed)
    network = network_class(list(widths), 3, 3).eval()
    plane = torch.zeros(1, widths[0], 64, 64)
    plane[0, 0] = functional.interpolate(torch.rand(1, 1, 16, 16), size=(64, 64), mode="bilinear")[0, 0]
    with torch.no_grad():
        network.diam_mean.fill_(diameter)
        answer = network(plane)[0]  # flows of both signs, and a foreground with both sides of its threshold
        scale = 4 / answer.std(dim=(0, 2, 3))
        network.output[2].weight *= scale[:, None, None, None]
        network.output[2].bias -= answer.mean(dim=(0, 2, 3))
        network.output[2].bias *= scale
        network.output[2].bias[2] += 3
    torch.save(network.state_dict(), path)
    return path
