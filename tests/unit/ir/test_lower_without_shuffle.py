"""A network trained without channel shuffle is compiled as any other: there is nothing to fold."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
from qdq_models import images, quantize

from shufflec.ir.compare import Comparison
from shufflec.ir.pipeline import lower
from shufflec.models.architecture import Architecture
from shufflec.models.random_weights import random_checkpoint
from shufflec.quantize.export import export_onnx


@cache
def unshuffled() -> onnx.ModelProto:
    return quantize(export_onnx(random_checkpoint(Architecture(3, 0.25, "paper", 10, 32, shuffle=False))))


def test_nothing_is_found_nor_left():
    assert lower(unshuffled()).shuffle == {"found": 0, "folded": 0, "copies_left": 0}


def test_every_operator_is_within_one_step_of_onnx_runtime():
    differences = Comparison(unshuffled()).differences(images(1, seed=5)[0])
    assert len(differences) > 50
    assert max(item.largest for item in differences) <= 1
    assert np.mean([item.share for item in differences]) < 0.02
