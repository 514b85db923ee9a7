"""Top-1, top-5 and the confusion matrix of anything that maps a batch of inputs to logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from shufflec.data.dataset import Dataset
from shufflec.data.preprocessing import Preprocessing
from shufflec.errors import OptionError

Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Metrics:
    """Accuracy over `count` images. top1, top5: fractions. confusion: int64 [true class, predicted class]."""

    top1: float
    top5: float
    confusion: np.ndarray
    count: int

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {"top1": self.top1, "top5": self.top5, "count": self.count, "confusion": self.confusion.tolist()}


def evaluate(
    predict: Predict,
    dataset: Dataset,
    preprocessing: Preprocessing,
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> Metrics:
    """Runs `predict` over the whole dataset.

    predict: float32 [N, 3, H, W] -> logits [N, classes]. progress: called with (images done, images in all).
    Among equal logits the first class wins, so that integer models have one answer; a logit that is not a number
    never counts as right. Raises OptionError for an empty dataset or logits of another shape.
    """
    classes = len(dataset.class_names)
    if len(dataset) == 0:
        raise OptionError("data", dataset.name, "has no images to evaluate on")
    confusion = np.zeros((classes, classes), dtype=np.int64)
    within_top5 = 0
    done = 0
    for inputs, labels in dataset.batches(preprocessing, batch_size):
        logits = np.asarray(predict(inputs))
        if logits.shape != (len(labels), classes):
            raise OptionError("model", f"gives logits {list(logits.shape)}", f"expected {[len(labels), classes]}")
        ranked = np.argsort(-np.where(np.isnan(logits), -np.inf, logits), axis=1, kind="stable")
        right = ~np.isnan(np.take_along_axis(logits, labels[:, None], axis=1))
        within_top5 += int(((ranked[:, :5] == labels[:, None]) & right).any(axis=1).sum())
        np.add.at(confusion, (labels, ranked[:, 0]), 1)
        done += len(labels)
        if progress:
            progress(done, len(dataset))
    return Metrics(float(np.trace(confusion) / done), within_top5 / done, confusion, done)


def torch_predict(model: torch.nn.Module) -> Predict:
    """`model`, in evaluation mode, as a function between NumPy arrays."""
    model.eval()

    def predict(inputs: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(inputs)).numpy()

    return predict
