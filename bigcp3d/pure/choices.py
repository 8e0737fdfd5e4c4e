"""The words among which options, model cards and simulated tissue choose. Imports nothing heavy, as help needs them."""

from __future__ import annotations

from typing import Literal

Stain = Literal["membrane", "nuclei"]
"""What is bright in an image: the membranes between cells, or the nuclei."""

Architecture = Literal["eschweiler", "half"]
"""Networks of `bigcp3d.pure.predict.network`."""

Representation = Literal["tanh", "heat"]
"""Form of the flow (`bigcp3d.pure.learn.targets`)."""

Precision = Literal["auto", "float32", "bfloat16"]
"""Of the network. With "auto" it is bfloat16 on a machine that is fast in it."""

PredictionPrecision = Literal["auto", "float32", "bfloat16", "int8"]
"""The same for a network that only predicts."""

WrittenVersion = Literal["0.4", "0.5", "0.6"]
"""Versions of OME-Zarr that images are written in."""
