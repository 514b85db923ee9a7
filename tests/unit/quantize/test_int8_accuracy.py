"""int8 costs the shipped digit networks at most half a point of top-1."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from quantized import quantized

from shufflec.data.datasets import Dataset, open_dataset
from shufflec.data.preprocessing import Preprocessing
from shufflec.errors import InputFileError
from shufflec.models.architecture import GROUPS
from shufflec.models.checkpoint import bundled_checkpoint
from shufflec.quantize.accuracy import accuracy_loss, predictor
from shufflec.quantize.prepare import prepare_model


@pytest.mark.parametrize("groups", GROUPS)
def test_bundled_networks(groups):
    prepared = prepare_model(bundled_checkpoint(groups))
    progress = []
    loss = accuracy_loss(
        prepared.float_model,
        prepared.model,
        open_dataset("digits", "test"),
        prepared.preprocessing,
        lambda done, total: progress.append((done, total)),
    )
    assert (loss.data, loss.images) == ("digits", 359)
    assert loss.float_top1 >= 0.97
    assert loss.lost_points <= 0.5
    assert loss.int8_top5 >= 0.99
    assert progress[-1] == (718, 718) and progress == sorted(progress)


def test_predictor_takes_any_number_of_images():
    inputs = np.random.default_rng(0).standard_normal((3, 3, 32, 32)).astype(np.float32)
    predict = predictor(quantized(3, "paper"))
    together = predict(inputs)
    assert together.shape == (3, 10)
    assert np.array_equal(together, np.concatenate([predict(image[None]) for image in inputs]))


def test_other_classes_are_refused():
    model: onnx.ModelProto = quantized(3, "paper")
    dataset = Dataset("pets", ["cat", "dog"], np.zeros(1), lambda index: np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(InputFileError, match="pets: has 2 classes, the model has 10"):
        accuracy_loss(model, model, dataset, Preprocessing((32, 32)))
