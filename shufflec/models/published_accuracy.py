"""Accuracy on ImageNet's 50,000 validation images that was published for a network, as its own project states it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shufflec.models.architecture import Architecture
from shufflec.models.architecture_v2 import ArchitectureV2

IMAGENET_CLASSES = 1000
#: The first and the last of ImageNet-1K's WordNet ids, in the order of every published model's classes.
_FIRST_ID, _LAST_ID = "n01440764", "n15075141"

# Top-1 error in percent by (groups, scale): arXiv 1707.01083v2, table 2; the widest two: table 5.
_PAPER = {
    (1, 1.0): 33.6, (2, 1.0): 32.7, (3, 1.0): 32.6, (4, 1.0): 32.8, (8, 1.0): 32.4,
    (1, 0.5): 45.1, (2, 0.5): 44.4, (3, 0.5): 43.2, (4, 0.5): 41.6, (8, 0.5): 42.3,
    (1, 0.25): 57.1, (2, 0.25): 56.8, (3, 0.25): 55.0, (4, 0.25): 54.2, (8, 0.25): 52.7,
    (3, 1.5): 28.5, (3, 2.0): 26.3,
}  # fmt: skip

# The same of the networks without channel shuffle: table 3.
_PAPER_NO_SHUFFLE = {(3, 1.0): 34.5, (8, 1.0): 37.6, (3, 0.5): 45.7, (8, 0.5): 48.1, (3, 0.25): 56.3, (8, 0.25): 56.5}

# Errors in percent, (top-1, top-5) by (groups, scale): README of ShuffleNet-Series, ShuffleNetV1.
_MEGVII = {
    (3, 0.5): (42.7, 20.0), (3, 1.0): (32.2, 12.3), (3, 1.5): (28.4, 9.8), (3, 2.0): (25.9, 8.6),
    (8, 0.5): (41.2, 19.0), (8, 1.0): (32.0, 13.6), (8, 1.5): (29.0, 10.4), (8, 2.0): (27.1, 9.2),
}  # fmt: skip

# Accuracy in percent, (top-1, top-5) by (groups, scale): configs/shufflenet_v1 of mindcv; its present README has 0.5x
# alone (57.08 and 79.89 on newer processors), the other widths are of its first release.
_MINDCV = {(3, 0.5): (57.05, 79.73), (3, 1.0): (67.77, 87.73), (3, 1.5): (71.53, 90.17), (3, 2.0): (74.02, 91.74)}

# Errors in percent, (top-1, top-5) by scale: README of ShuffleNet-Series, ShuffleNetV2.
_MEGVII_V2 = {0.5: (38.9, 17.4), 1.0: (30.6, 11.1), 1.5: (27.4, 9.4), 2.0: (25.0, 7.6)}

# Accuracy in percent, (top-1, top-5) by scale, float and int8: torchvision's model cards.
_TORCHVISION_V2 = {0.5: (60.552, 81.746), 1.0: (69.362, 88.316), 1.5: (72.996, 91.086), 2.0: (76.230, 93.006)}
_TORCHVISION_V2_INT8 = {0.5: (57.972, 79.780), 1.0: (68.360, 87.582)}


@dataclass(frozen=True)
class PublishedAccuracy:
    """top1, top5: fractions of ImageNet's validation images; top5 is None where only top-1 was published.

    source: whose figure it is, in words. int8: of a quantized network.
    """

    top1: float
    top5: float | None
    source: str
    int8: bool = False


def published_accuracy(arch: Architecture | ArchitectureV2, int8: bool = False) -> PublishedAccuracy | None:
    """What was published for this network at 224x224 and 1000 classes, or None.

    int8: of the quantized network; the float network's where nothing was published of that.
    """
    if tuple(arch.input_size) != (224, 224) or arch.classes != IMAGENET_CLASSES:
        return None
    if isinstance(arch, ArchitectureV2):
        return _published_v2(arch, int8)
    if arch.stem_channels is not None:
        return None
    key = (arch.groups, arch.scale)
    if not arch.shuffle:
        error = _PAPER_NO_SHUFFLE.get(key) if arch.variant == "paper" else None
        return None if error is None else PublishedAccuracy(_right(error), None, "paper, table 3")
    if arch.variant == "paper" and key in _PAPER:
        table = "table 5" if arch.scale > 1 else "table 2"
        return PublishedAccuracy(_right(_PAPER[key]), None, f"paper, {table}")
    if arch.variant == "megvii" and key in _MEGVII:
        return _from_errors(_MEGVII[key], "ShuffleNet-Series")
    if arch.variant == "mindcv" and key in _MINDCV:
        return _from_percent(_MINDCV[key], "mindcv")
    return None


def is_imagenet(class_names: Sequence[str]) -> bool:
    """Whether these are ImageNet-1K's classes, named by their WordNet ids, in the order of the published models."""
    return len(class_names) == IMAGENET_CLASSES and (class_names[0], class_names[-1]) == (_FIRST_ID, _LAST_ID)


def _published_v2(arch: ArchitectureV2, int8: bool) -> PublishedAccuracy:
    if arch.variant == "megvii":
        return _from_errors(_MEGVII_V2[arch.scale], "ShuffleNet-Series")
    if int8 and arch.scale in _TORCHVISION_V2_INT8:
        return _from_percent(_TORCHVISION_V2_INT8[arch.scale], "torchvision", int8=True)
    return _from_percent(_TORCHVISION_V2[arch.scale], "torchvision")


def _from_errors(percent: tuple[float, float], source: str) -> PublishedAccuracy:
    return PublishedAccuracy(_right(percent[0]), _right(percent[1]), source)


def _from_percent(percent: tuple[float, float], source: str, int8: bool = False) -> PublishedAccuracy:
    return PublishedAccuracy(round(percent[0] / 100, 6), round(percent[1] / 100, 6), source, int8)


def _right(error_percent: float) -> float:
    return round(1 - error_percent / 100, 6)
