"""ShuffleNetV2 in torch, from an `ArchitectureV2`.

Names in the state dict, and those of the public checkpoints that they stand for (i = 0..15 counts the units):

                                        torchvision             megvii
    stem.conv, .bn                      conv1.0, .1             first_conv.0, .1
    stage2.0.branch1.conv2, .bn2        stage2.0.branch1.0, .1  features.i.branch_proj.0, .1     depthwise, stride 2
    stage2.0.branch1.conv3, .bn3        stage2.0.branch1.2, .3  features.i.branch_proj.2, .3     1x1, stride 2
    stage2.0.branch2.conv1, .bn1        stage2.0.branch2.0, .1  features.i.branch_main.0, .1     1x1
    stage2.0.branch2.conv2, .bn2        stage2.0.branch2.3, .4  features.i.branch_main.3, .4     depthwise
    stage2.0.branch2.conv3, .bn3        stage2.0.branch2.5, .6  features.i.branch_main.5, .6     1x1
    last.conv, .bn                      conv5.0, .1             conv_last.0, .1
    fc                                  fc                      classifier.0
"""

from __future__ import annotations

import torch
from torch import nn

from shufflec.models.architecture_v2 import ArchitectureV2, UnitV2
from shufflec.models.shufflenet_v1 import ChannelShuffle, initialize


class Branch(nn.Module):
    """[1x1 + batch norm + relu,] 3x3 depthwise + batch norm, 1x1 + batch norm + relu."""

    def __init__(self, in_channels: int, channels: int, stride: int, expands: bool):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False) if expands else None
        self.bn1 = nn.BatchNorm2d(channels) if expands else None
        middle = channels if expands else in_channels
        self.conv2 = nn.Conv2d(middle, middle, 3, stride=stride, padding=1, groups=middle, bias=False)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.conv1 is not None:
            x = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn3(self.conv3(self.bn2(self.conv2(x)))))


class UnitModule(nn.Module):
    """One unit over [N, in_channels, H, W]; H and W are halved, rounding up, where the stride is 2."""

    def __init__(self, arch: ArchitectureV2, unit: UnitV2):
        super().__init__()
        channels = unit.branch_channels
        entering = unit.in_channels if unit.stride == 2 else channels
        self.branch1 = Branch(entering, channels, 2, expands=False) if unit.stride == 2 else None
        self.branch2 = Branch(entering, channels, unit.stride, expands=True)
        at_end = arch.variant == "torchvision"
        self.first = nn.Identity() if at_end or unit.stride == 2 else ChannelShuffle(channels)
        self.last = ChannelShuffle(2) if at_end else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.branch1 is not None:
            return self.last(torch.cat((self.branch1(x), self.branch2(x)), dim=1))
        passing, taken = self.first(x).chunk(2, dim=1)
        return self.last(torch.cat((passing, self.branch2(taken)), dim=1))


class ConvNormRelu(nn.Module):
    """Convolution, batch norm, relu."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.bn(self.conv(x)))


class ShuffleNetV2(nn.Module):
    """float32 [N, 3, H, W], preprocessed -> float32 logits [N, classes]."""

    def __init__(self, arch: ArchitectureV2):
        super().__init__()
        self.architecture = arch
        self.stem = ConvNormRelu(3, arch.stem, 3, 2)
        self.stem_pool = nn.MaxPool2d(3, stride=2, padding=1)
        stages: dict[str, list[UnitModule]] = {"stage2": [], "stage3": [], "stage4": []}
        for unit in arch.units():
            stages[unit.name.split(".")[0]].append(UnitModule(arch, unit))
        self.stage2 = nn.Sequential(*stages["stage2"])
        self.stage3 = nn.Sequential(*stages["stage3"])
        self.stage4 = nn.Sequential(*stages["stage4"])
        self.last = ConvNormRelu(arch.stage_channels[2], arch.last_channels, 1, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(arch.last_channels, arch.classes, bias=arch.classifier_bias)
        self.apply(initialize)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stage4(self.stage3(self.stage2(self.stem_pool(self.stem(x)))))
        return self.fc(torch.flatten(self.pool(self.last(x)), 1))


def build(arch: ArchitectureV2) -> ShuffleNetV2:
    """A ShuffleNetV2 with fresh weights drawn from torch's global generator, in training mode."""
    return ShuffleNetV2(arch)
