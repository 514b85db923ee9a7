"""Runs a float or QDQ ONNX model with ONNX Runtime: the accuracy before and after quantization."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import onnx

from shufflec.data.datasets import Dataset, check_classes
from shufflec.data.preprocessing import Preprocessing
from shufflec.quantize.model_info import read_model_info
from shufflec.quantize.runtime import open_session, runtime_errors
from shufflec.training.evaluate import Metrics, evaluate

_BATCH = 32
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class AccuracyLoss:
    """What quantization costs. top1 and top5 are fractions of `images`; data: the data set's name without its path."""

    data: str
    images: int
    float_top1: float
    float_top5: float
    int8_top1: float
    int8_top5: float

    @property
    def lost_points(self) -> float:
        """Top-1 lost, in percentage points; negative when int8 is better."""
        return 100.0 * (self.float_top1 - self.int8_top1)

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return asdict(self)


def predictor(model: onnx.ModelProto) -> Callable[[np.ndarray], np.ndarray]:
    """A function from float32 [N, 3, H, W] to float32 logits [N, classes]; the model itself takes one image."""
    session = open_session(model)
    name = session.get_inputs()[0].name

    def predict(images: np.ndarray) -> np.ndarray:
        images = np.ascontiguousarray(images, np.float32)
        with runtime_errors():
            return np.concatenate([session.run(None, {name: images[i : i + 1]})[0] for i in range(len(images))])

    return predict


def evaluate_onnx(
    model: onnx.ModelProto, dataset: Dataset, preprocessing: Preprocessing, progress: Progress | None = None
) -> Metrics:
    """Top-1, top-5 and the confusion matrix of a model on a data set. progress(done, total) counts images."""
    return evaluate(predictor(model), dataset, preprocessing, _BATCH, progress)


def accuracy_loss(
    float_model: onnx.ModelProto,
    int8_model: onnx.ModelProto,
    dataset: Dataset,
    preprocessing: Preprocessing,
    progress: Progress | None = None,
) -> AccuracyLoss:
    """Evaluates both models on the same images. progress(done, total) counts the images of both.

    Raises InputFileError when the data set's classes are not the model's.
    """
    check_classes(dataset.name, dataset, read_model_info(int8_model)["class_names"])
    total = 2 * len(dataset)

    def first(done: int, _: int) -> None:
        if progress is not None:
            progress(done, total)

    def second(done: int, _: int) -> None:
        if progress is not None:
            progress(len(dataset) + done, total)

    before = evaluate_onnx(float_model, dataset, preprocessing, first)
    after = evaluate_onnx(int8_model, dataset, preprocessing, second)
    return AccuracyLoss(dataset.short_name, before.count, before.top1, before.top5, after.top1, after.top5)
