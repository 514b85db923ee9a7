"""Multiply-accumulates (MACs) and parameters of a ShuffleNet, counted without building it.

The paper's "FLOPs" are multiply-adds of the convolutions alone: only without the classifier do all five 1x models
give its 143/140/137/133/137 million. ShuffleNet-Series counts the classifier too. Pools, additions, batch norm
(folded into the convolutions before anything runs) and activations count nowhere.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from shufflec.models.architecture import Architecture
from shufflec.models.architecture_v2 import ArchitectureV2, UnitV2

# Million multiply-adds at 224x224 and 1000 classes: arXiv 1707.01083v2, table 1, scale 1.
PAPER_MMACS = {1: 143, 2: 140, 3: 137, 4: 133, 8: 137}
# The same of the narrower networks, one figure for all groups (table 2), and of the wider ones (table 5).
PAPER_NARROW_MMACS = {0.25: 13, 0.5: 38}
PAPER_WIDE_MMACS = {(3, 1.5): 292, (3, 2.0): 524}

# (million multiply-adds with the classifier, million parameters), by (groups, scale): README of ShuffleNet-Series,
# ShuffleNetV1. mindcv has the same networks.
MEGVII_PUBLISHED = {
    (3, 0.5): (38, 0.7), (3, 1.0): (138, 1.9), (3, 1.5): (292, 3.4), (3, 2.0): (524, 5.4),
    (8, 0.5): (40, 1.0), (8, 1.0): (138, 2.4), (8, 1.5): (290, 4.3), (8, 2.0): (522, 6.5),
}  # fmt: skip


# Million multiply-adds at 224x224: arXiv 1807.11164, table 8. Million parameters: torchvision's model cards.
PAPER_V2_MMACS = {0.5: 41, 1.0: 146, 1.5: 299, 2.0: 591}
TORCHVISION_V2_MPARAMS = {0.5: 1.366792, 1.0: 2.278604, 1.5: 3.503624, 2.0: 7.393996}


@dataclass(frozen=True)
class LayerComplexity:
    """One layer. kind: conv, dwconv, maxpool, avgpool, add, concat, globalpool or fc.

    output_shape: (C, H, W) for one image. macs: 0 for pools, add and concat. params: weights, biases and the learned
    scale and shift of the batch norm that follows.
    """

    name: str
    kind: str
    output_shape: tuple[int, int, int]
    macs: int
    params: int


@dataclass(frozen=True)
class Complexity:
    """MACs of one inference and the number of learned parameters.

    macs counts convolutions and classifier; conv_macs leaves the classifier out, as the paper does.
    """

    macs: int
    conv_macs: int
    params: int
    layers: tuple[LayerComplexity, ...]

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return asdict(self)


def complexity(arch: Architecture | ArchitectureV2) -> Complexity:
    """Counts every layer of `arch` at its own input size and class count."""
    if isinstance(arch, ArchitectureV2):
        layers, channels = _layers_v2(arch), arch.last_channels
    else:
        layers, channels = _layers_v1(arch), arch.stage_channels[2]
    layers.append(LayerComplexity("pool", "globalpool", (channels, 1, 1), 0, 0))
    weights = channels * arch.classes
    bias = arch.classes if arch.classifier_bias else 0
    layers.append(LayerComplexity("fc", "fc", (arch.classes, 1, 1), weights, weights + bias))
    macs = sum(layer.macs for layer in layers)
    return Complexity(macs, macs - weights, sum(layer.params for layer in layers), tuple(layers))


def _layers_v1(arch: Architecture) -> list[LayerComplexity]:
    layers = _stem(arch)
    height, width = layers[-1].output_shape[1:]
    for unit in arch.units():
        out_height, out_width = (height, width) if unit.stride == 1 else _halved(height, width)
        before = (height, width)
        after = (out_height, out_width)
        layers += [
            _conv(f"{unit.name}.conv1", unit.in_channels, unit.mid_channels, before, groups=unit.conv1_groups),
            _conv(f"{unit.name}.conv2", unit.mid_channels, unit.mid_channels, after, 3, unit.mid_channels),
            _conv(f"{unit.name}.conv3", unit.mid_channels, unit.branch_channels, after, groups=unit.groups),
        ]
        if unit.stride == 2:
            layers.append(LayerComplexity(f"{unit.name}.pool", "avgpool", (unit.in_channels, *after), 0, 0))
        join = "concat" if unit.stride == 2 else "add"
        layers.append(LayerComplexity(f"{unit.name}.{join}", join, (unit.out_channels, *after), 0, 0))
        height, width = after
    return layers


def _layers_v2(arch: ArchitectureV2) -> list[LayerComplexity]:
    layers = _stem(arch)
    size = layers[-1].output_shape[1:]
    for unit in arch.units():
        before, size = size, (size if unit.stride == 1 else _halved(*size))
        layers += _unit_v2(unit, before, size)
    layers.append(_conv("last.conv", arch.stage_channels[2], arch.last_channels, size))
    return layers


def _unit_v2(unit: UnitV2, before: tuple[int, int], after: tuple[int, int]) -> list[LayerComplexity]:
    name, channels = unit.name, unit.branch_channels
    entering = unit.in_channels if unit.stride == 2 else channels
    layers = []
    if unit.stride == 2:
        layers += [
            _conv(f"{name}.branch1.conv2", entering, entering, after, 3, entering),
            _conv(f"{name}.branch1.conv3", entering, channels, after),
        ]
    layers += [
        _conv(f"{name}.branch2.conv1", entering, channels, before),
        _conv(f"{name}.branch2.conv2", channels, channels, after, 3, channels),
        _conv(f"{name}.branch2.conv3", channels, channels, after),
        LayerComplexity(f"{name}.concat", "concat", (unit.out_channels, *after), 0, 0),
    ]
    return layers


def published_macs(arch: Architecture | ArchitectureV2) -> tuple[int, str] | None:
    """(million MACs, source) as published for this network, or None; paper: to be compared with conv_macs."""
    if tuple(arch.input_size) != (224, 224) or arch.classes != 1000:
        return None
    if isinstance(arch, ArchitectureV2):
        return PAPER_V2_MMACS[arch.scale], "paper (V2), table 8"
    if arch.stem_channels is not None:
        return None
    if arch.variant == "paper":
        return _paper_macs(arch)
    published = MEGVII_PUBLISHED.get((arch.groups, arch.scale))
    return (published[0], "ShuffleNet-Series") if published else None


def _paper_macs(arch: Architecture) -> tuple[int, str] | None:
    if arch.scale == 1.0:
        return PAPER_MMACS[arch.groups], "paper, table 1"
    if arch.scale in PAPER_NARROW_MMACS:
        return PAPER_NARROW_MMACS[arch.scale], "paper, table 2"
    wide = PAPER_WIDE_MMACS.get((arch.groups, arch.scale))
    return (wide, "paper, table 5") if wide else None


def published_params(arch: Architecture | ArchitectureV2) -> float | None:
    """Million parameters as published for this network, or None."""
    if arch.classes != 1000:
        return None
    if isinstance(arch, ArchitectureV2):
        return TORCHVISION_V2_MPARAMS[arch.scale] if arch.variant == "torchvision" else None
    if arch.variant == "paper" or arch.stem_channels is not None:
        return None
    published = MEGVII_PUBLISHED.get((arch.groups, arch.scale))
    return published[1] if published else None


def _stem(arch: Architecture | ArchitectureV2) -> list[LayerComplexity]:
    size = _halved(*arch.input_size)
    pooled = (arch.stem, *_halved(*size))
    return [_conv("stem.conv", 3, arch.stem, size, 3), LayerComplexity("stem.pool", "maxpool", pooled, 0, 0)]


def _conv(
    name: str, in_channels: int, out_channels: int, out_size: tuple[int, int], kernel: int = 1, groups: int = 1
) -> LayerComplexity:
    weights = out_channels * (in_channels // groups) * kernel * kernel
    kind = "dwconv" if groups == in_channels == out_channels and groups > 1 else "conv"
    batch_norm = 2 * out_channels
    return LayerComplexity(
        name, kind, (out_channels, *out_size), weights * out_size[0] * out_size[1], weights + batch_norm
    )


def _halved(height: int, width: int) -> tuple[int, int]:
    return (height + 1) // 2, (width + 1) // 2
