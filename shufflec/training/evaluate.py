"""Top-1, top-5 and the confusion matrix of anything that maps a batch of inputs to logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from shufflec.data.dataset import Dataset
from shufflec.data.preprocessing import Preprocessing
from shufflec.errors import InputFileError, OptionError

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


class Hits:
    """What was right so far. confusion: int64 [true class, predicted class]."""

    def __init__(self, classes: int, confusion: np.ndarray | None = None, within_top5: int = 0):
        self.confusion = np.zeros((classes, classes), dtype=np.int64) if confusion is None else confusion
        self.within_top5 = within_top5

    def metrics(self, name: str) -> Metrics:
        """Raises InputFileError where no image was counted; `name` is the dataset's."""
        count = int(self.confusion.sum())
        if count == 0:
            raise InputFileError(name, "none of its images can be read")
        return Metrics(float(np.trace(self.confusion) / count), self.within_top5 / count, self.confusion, count)


def count_hits(hits: Hits, logits: np.ndarray, labels: np.ndarray) -> None:
    """Adds one batch: logits [N, classes], labels [N].

    Among equal logits the first class wins, so that integer models have one answer; a logit that is not a number
    never counts as right. Raises OptionError for logits of another shape.
    """
    logits = np.asarray(logits)
    expected = (len(labels), len(hits.confusion))
    if logits.shape != expected:
        raise OptionError("model", f"gives logits {list(logits.shape)}", f"expected {list(expected)}")
    ranked = np.argsort(-np.where(np.isnan(logits), -np.inf, logits), axis=1, kind="stable")
    right = ~np.isnan(np.take_along_axis(logits, labels[:, None], axis=1))
    hits.within_top5 += int(((ranked[:, :5] == labels[:, None]) & right).any(axis=1).sum())
    np.add.at(hits.confusion, (labels, ranked[:, 0]), 1)


def evaluate(
    predict: Predict,
    dataset: Dataset,
    preprocessing: Preprocessing,
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> Metrics:
    """Runs `predict` over the whole dataset, but for images that cannot be read.

    predict: float32 [N, 3, H, W] -> logits [N, classes], counted as count_hits does. progress: called with (images
    done, images in all). Raises OptionError for an empty dataset or logits of another shape.
    """
    if len(dataset) == 0:
        raise OptionError("data", dataset.name, "has no images to evaluate on")
    hits = Hits(len(dataset.class_names))
    done = 0
    for inputs, labels in dataset.batches(preprocessing, batch_size):
        count_hits(hits, predict(inputs), labels)
        done += len(labels)
        if progress:
            progress(done, len(dataset))
    return hits.metrics(dataset.name)


def torch_predict(model: torch.nn.Module) -> Predict:
    """`model`, in evaluation mode and on the device that it is on, as a function between NumPy arrays."""
    model.eval()
    device = next(model.parameters()).device

    def predict(inputs: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(inputs).to(device)).cpu().numpy()

    return predict
