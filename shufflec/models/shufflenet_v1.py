"""ShuffleNetV1 in torch, from an `Architecture`.

Names in the state dict, and those of the public checkpoints that they stand for (i = 0..15 counts the units):

    stem.conv, stem.bn                first_conv.0, first_conv.1        (megvii and mindcv)
    stage2.0.conv1, .bn1   1x1        features.i.branch_main_1.0, .1    (megvii and mindcv)
    stage2.0.conv2, .bn2   depthwise  features.i.branch_main_1.3, .4    (megvii) branch_main_2.0, .1 (mindcv)
    stage2.0.conv3, .bn3   1x1        features.i.branch_main_2.0, .1    (megvii) branch_main_2.2, .3 (mindcv)
    fc                                classifier.0 (megvii), classifier (mindcv)
"""

from __future__ import annotations

import math

import torch
from torch import nn

from shufflec.models.architecture import Architecture, Unit


class ChannelShuffle(nn.Module):
    """Permutes the channels of [N, C, H, W]: reshape to (rows, C / rows), transpose."""

    def __init__(self, rows: int):
        super().__init__()
        self.rows = rows

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = x.shape
        x = x.reshape(batch, self.rows, channels // self.rows, height, width)
        return x.transpose(1, 2).reshape(batch, channels, height, width)


class ShuffleUnit(nn.Module):
    """One unit over [N, in_channels, H, W]; H and W are halved, rounding up, where the stride is 2."""

    def __init__(self, arch: Architecture, unit: Unit, input_size: tuple[int, int]):
        super().__init__()
        mid, branch = unit.mid_channels, unit.branch_channels
        self.conv1 = nn.Conv2d(unit.in_channels, mid, 1, groups=unit.conv1_groups, bias=False)
        self.bn1 = nn.BatchNorm2d(mid)
        self.conv2 = nn.Conv2d(mid, mid, 3, stride=unit.stride, padding=1, groups=mid, bias=False)
        self.bn2 = nn.BatchNorm2d(mid)
        self.conv3 = nn.Conv2d(mid, branch, 1, groups=unit.groups, bias=False)
        self.bn3 = nn.BatchNorm2d(branch)
        rows = unit.groups if arch.variant == "paper" else mid // unit.groups
        self.shuffle = ChannelShuffle(rows) if unit.shuffle else nn.Identity()
        self.shuffle_after_depthwise = arch.variant == "megvii"
        self.pool = _average_pool(arch, input_size) if unit.stride == 2 else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branch = torch.relu(self.bn1(self.conv1(x)))
        if self.shuffle_after_depthwise:
            branch = self.shuffle(self.bn2(self.conv2(branch)))
        else:
            branch = self.bn2(self.conv2(self.shuffle(branch)))
        branch = self.bn3(self.conv3(branch))
        if self.pool is None:
            return torch.relu(x + branch)
        # The pooled shortcut is never negative, so relu(concat(...)) of the paper equals this.
        return torch.cat((self.pool(x), torch.relu(branch)), dim=1)


class Stem(nn.Module):
    """3x3 convolution with stride 2, batch norm, relu, 3x3 max pool with stride 2."""

    def __init__(self, arch: Architecture):
        super().__init__()
        self.conv = nn.Conv2d(3, arch.stem, 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(arch.stem)
        self.pool = _max_pool(arch, _halved(arch.input_size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pool(torch.relu(self.bn(self.conv(x))))


class ShuffleNetV1(nn.Module):
    """float32 [N, 3, H, W], preprocessed -> float32 logits [N, classes]."""

    def __init__(self, arch: Architecture):
        super().__init__()
        self.architecture = arch
        self.stem = Stem(arch)
        size = _halved(_halved(arch.input_size))
        stages: dict[str, list[ShuffleUnit]] = {"stage2": [], "stage3": [], "stage4": []}
        for unit in arch.units():
            stages[unit.name.split(".")[0]].append(ShuffleUnit(arch, unit, size))
            size = _halved(size) if unit.stride == 2 else size
        self.stage2 = nn.Sequential(*stages["stage2"])
        self.stage3 = nn.Sequential(*stages["stage3"])
        self.stage4 = nn.Sequential(*stages["stage4"])
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(arch.stage_channels[2], arch.classes, bias=arch.classifier_bias)
        self.apply(initialize)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stage4(self.stage3(self.stage2(self.stem(x))))
        return self.fc(torch.flatten(self.pool(x), 1))


def build(arch: Architecture) -> ShuffleNetV1:
    """A ShuffleNetV1 with fresh weights drawn from torch's global generator, in training mode."""
    return ShuffleNetV1(arch)


def _halved(size: tuple[int, int]) -> tuple[int, int]:
    return (size[0] + 1) // 2, (size[1] + 1) // 2


def _max_pool(arch: Architecture, size: tuple[int, int]) -> nn.Module:
    top, left, _, _ = arch.pool_padding(*size)
    return nn.MaxPool2d(3, stride=2, padding=(top, left), ceil_mode=(top, left) != (1, 1))


def _average_pool(arch: Architecture, size: tuple[int, int]) -> nn.Module:
    # torch has no padding at the end alone; with ceil_mode the last window reaches one row or column past the
    # input and is divided by what lies inside, which is `same` padding without counting it.
    top, left, _, _ = arch.pool_padding(*size)
    ceil_mode = (top, left) != (1, 1)
    return nn.AvgPool2d(
        3, stride=2, padding=(top, left), ceil_mode=ceil_mode, count_include_pad=arch.pool_counts_padding
    )


def initialize(module: nn.Module) -> None:
    """Fresh weights for one module of either family, drawn from torch's global generator."""
    if isinstance(module, nn.Conv2d):
        # He et al. 2015 over the inputs that one output sees, which for a grouped convolution is one group.
        fan_in = module.weight.shape[1] * module.weight.shape[2] * module.weight.shape[3]
        nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_in))
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
