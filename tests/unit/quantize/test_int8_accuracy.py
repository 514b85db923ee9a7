"""What measures the loss of int8 takes any number of images, and only data with the model's classes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from quantized import quantized

from shufflec.data.dataset import Dataset
from shufflec.data.preprocessing import Preprocessing
from shufflec.errors import InputFileError
from shufflec.quantize.accuracy import accuracy_loss, predictor


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
