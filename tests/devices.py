"""Devices of torch on which the tests run: the CPU always, CUDA where this machine has it."""

from __future__ import annotations

import pytest
import torch

CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"))

on_devices = pytest.mark.parametrize("device", ["cpu", CUDA])
