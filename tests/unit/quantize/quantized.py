"""Small quantized ShuffleNets that several test files share."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx

from shufflec.models.architecture import Architecture
from shufflec.models.random_weights import random_checkpoint
from shufflec.quantize.export import export_onnx
from shufflec.quantize.ptq import quantize_model


def images(count: int, size: int = 32, seed: int = 0) -> np.ndarray:
    """Random images, float32 [count, 3, size, size]."""
    return np.random.default_rng(seed).standard_normal((count, 3, size, size)).astype(np.float32)


@cache
def float_model(groups: int, variant: str) -> onnx.ModelProto:
    """A random network of 10 classes at 32x32. Callers must not change it."""
    return export_onnx(random_checkpoint(Architecture(groups, 0.25, variant, 10, 32)))


@cache
def quantized(groups: int, variant: str) -> onnx.ModelProto:
    """The same, quantized on 4 images. Callers must not change it."""
    return quantize_model(float_model(groups, variant), [images(4)])


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that a test may change."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy
