"""The torch module of an architecture of either family."""

from __future__ import annotations

import torch

from shufflec.models import shufflenet_v1, shufflenet_v2
from shufflec.models.architecture_v2 import ArchitectureV2
from shufflec.models.families import AnyArchitecture


def build(arch: AnyArchitecture) -> torch.nn.Module:
    """The network with fresh weights, in training mode: float32 [N, 3, H, W] -> logits [N, classes]."""
    return shufflenet_v2.build(arch) if isinstance(arch, ArchitectureV2) else shufflenet_v1.build(arch)
