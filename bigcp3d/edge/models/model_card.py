"""The model card: what a network expects, what it needs, and where it comes from."""

from __future__ import annotations

import math
from typing import get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.choices import Architecture, Precision, Representation
from bigcp3d.pure.memory import network_bytes

OWN_ARCHITECTURES = get_args(Architecture)
"""Networks of `bigcp3d.pure.predict.network`, which ``bigcp3d train`` trains."""

OPERATIONS = {"eschweiler": (164e3, 16), "half": (74e3, 32)}
"""Floating point operations for each voxel of a patch, with so many features."""


class PatchMemory(BaseModel):
    """Bytes that a network needs for one patch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fixed: int = Field(ge=0)
    per_voxel: int = Field(ge=0)
    per_plane_voxel: int = Field(default=0, ge=0)  # of the patch's largest plane

    def count(self, patch: Vec3, channels: int) -> int:
        """Bytes for a patch; each channel after the first adds 8 a voxel."""
        voxels = math.prod(patch)
        return self.fixed + voxels * (self.per_voxel + 8 * (channels - 1)) + voxels // min(patch) * self.per_plane_voxel


class ModelCard(BaseModel):
    """What a network expects, what it needs, and where it comes from; (z, y, x), in working voxels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    representation: Representation
    scale_vox: float = Field(gt=0)  # s of the tanh; no meaning for heat
    diameter_vox: float = Field(gt=0)  # of the cells in its training data
    architecture: str = "eschweiler"  # one of OWN_ARCHITECTURES, or a name of another family
    channels: int = Field(ge=1)  # that the network needs
    optional_channels: int = Field(default=0, ge=0)  # that it can take after these; zeros where the user gives none
    channel_names: tuple[str, ...] = ()  # what each channel shows, in order; empty where not stated
    features: int = Field(default=0, ge=0)
    depth: int = Field(default=0, ge=0)  # levels of the network; decides `stride`
    patch: Vec3  # largest patch for prediction
    margin: int = Field(ge=0)  # voxels at a patch's border in which its prediction counts less
    low_percentile: float = Field(ge=0, lt=100)  # normalisation of intensities (`bigcp3d.pure.predict.normalise`)
    high_percentile: float = Field(gt=0, le=100)
    clip: tuple[float, float]
    # the next two are defaults for the user's settings
    min_foreground: float = Field(default=0.0, ge=0, le=1)  # least mean foreground of a cell; 0 keeps all
    precision: Precision = "auto"
    memory: PatchMemory | None = None  # None for our networks, where it follows from the features
    training: str  # training data, with their licences
    date: str  # when, with what, and how it was trained
    bigcp3d_version: str
    command: str

    @property
    def is_own(self) -> bool:
        """Whether this is one of our networks."""
        return self.architecture in OWN_ARCHITECTURES

    @property
    def stride(self) -> int:
        """Sides of patches are multiples of this: 2 to the depth, or to the depth - 1 for "eschweiler"."""
        return int(2 ** (self.depth - (self.architecture == "eschweiler")))

    def patch_bytes(self, patch: Vec3, channels: int) -> int:
        """Bytes that the network needs for one patch."""
        if self.memory is None:
            return network_bytes(patch, self.features, channels, self.architecture)
        return self.memory.count(patch, channels)

    @property
    def operations_per_vox(self) -> float | None:
        """Floating point operations for a voxel of a patch; None for the network of another family."""
        if not self.is_own:
            return None
        operations, features = OPERATIONS[self.architecture]
        return operations * (self.features / features) ** 2

    @model_validator(mode="after")
    def _fits(self) -> ModelCard:
        if self.is_own and (self.depth < 2 or self.features < 2 or self.features % 2):
            raise ValueError(f"features {self.features}, depth {self.depth}: use an even number, and depth 2 or more")
        if not self.is_own and self.memory is None:
            raise ValueError(f"memory is missing, and is not known for the network {self.architecture!r}")
        if any(side % self.stride or side < max(4 * self.margin, 1) for side in self.patch):
            raise ValueError(
                f"patch {self.patch} needs multiples of {self.stride} from {4 * self.margin} on (4 x margin)"
            )
        if self.channel_names and len(self.channel_names) != self.channels:
            raise ValueError(f"{self.channels} channels, but {len(self.channel_names)} names of channels")
        if self.low_percentile >= self.high_percentile or self.clip[0] >= self.clip[1]:
            raise ValueError("percentiles and clip need the lower number first")
        return self
