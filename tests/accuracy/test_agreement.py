"""The integer networks of the bundled checkpoints decide as ONNX Runtime does on the same QDQ models."""

import numpy as np

from shufflec.data.datasets import open_dataset
from shufflec.ir.compare import OnnxRuntimeModel
from shufflec.ir.pipeline import lower
from shufflec.ir.reference import predict
from shufflec.models.checkpoint import bundled_checkpoint
from shufflec.quantize.prepare import prepare_model

GROUPS = (1, 2, 3, 4, 8)
LEAST_EQUAL = 0.997  # of all images; the aim is 0.999, 1793 of 1795 were seen


def agreement(groups: int) -> tuple[int, int]:
    """(images with the same top-1, images) over the held-out digits."""
    prepared = prepare_model(bundled_checkpoint(groups))
    model = OnnxRuntimeModel(prepared.model)
    graph = lower(prepared.model).graph
    equal = count = 0
    for images, _ in open_dataset("digits", "test").batches(prepared.preprocessing, 1):
        (expected,) = model.run(images).values()
        equal += int(np.argmax(expected) == np.argmax(predict(graph, images)))
        count += 1
    return equal, count


def test_top_1_equals_onnx_runtimes():
    equal, count = np.sum([agreement(groups) for groups in GROUPS], axis=0)
    assert count == 5 * 359
    assert equal >= LEAST_EQUAL * count, f"{equal} of {count}"
