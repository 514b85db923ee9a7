"""Scores quantized networks on images that the search may look at, and keeps those of the final figure apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx

from shufflec.data.dataset import Dataset
from shufflec.data.preprocessing import Preprocessing
from shufflec.data.split import held_out_split
from shufflec.errors import OptionError
from shufflec.quantize.accuracy import predictor
from shufflec.quantize.sensitivity import decibels
from shufflec.training.evaluate import evaluate

MOST_DECIDING = 2000  # a point of top-1 is then 20 images, and a trial takes minutes on the slowest machine
MOST_TRAINED = 50_000  # images an epoch; fine-tuning needs no more, and processors are slow
_BATCH = 32
_SEED = 0

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class DecidingSplit:
    """decides: what trials are judged by. trains: what fine-tuning may learn from. words: what `decides` is."""

    decides: Dataset
    trains: Dataset
    words: str


def split_off(train: Dataset, calibrated: tuple[int, ...]) -> DecidingSplit:
    """Takes a stratified fifth of a train split to decide by, and leaves the rest to train on.

    At most MOST_DECIDING and MOST_TRAINED images.

    calibrated: indices of the calibration images, which are kept out of the fifth unless nothing would be left of it.
    Raises OptionError for a split too small to be divided.
    """
    trains, fifth = held_out_split(train.labels, _SEED)
    unseen = np.setdiff1d(fifth, np.asarray(calibrated, np.int64))
    chosen = unseen if len(unseen) else fifth
    if len(chosen) == 0 or len(trains) < 2:
        raise OptionError("data", train.name, "is too small to take images out of it to decide by", "--decide-on test")
    if len(chosen) > MOST_DECIDING:
        chosen = chosen[np.linspace(0, len(chosen) - 1, MOST_DECIDING).round().astype(np.int64)]
    apart = "neither calibrated on nor trained on" if len(unseen) else "calibrated on, but not trained on"
    words = f"{len(chosen)} images of the train split, {apart}"
    return DecidingSplit(train.part(chosen), train.part(trains).spread(MOST_TRAINED), words)


@dataclass(frozen=True)
class Score:
    """top1: fraction. logits_db: how far the logits are from the float network's, in dB; None where those are all 0."""

    top1: float
    logits_db: float | None

    @property
    def rank(self) -> tuple[float, float]:
        """Larger is better: top-1 first, and the logits' error where that is equal."""
        return (self.top1, -np.inf if self.logits_db is None else self.logits_db)


class Judge:
    """Compares quantized networks with one float network on one data set.

    float_top1: fraction. Raises InputFileError for images that cannot be read.
    """

    def __init__(
        self,
        float_model: onnx.ModelProto,
        dataset: Dataset,
        preprocessing: Preprocessing,
        progress: Progress | None = None,
    ):
        self._dataset = dataset
        self._preprocessing = preprocessing
        self.float_top1, self._logits = self._run(float_model, progress)

    def score(self, model: onnx.ModelProto, progress: Progress | None = None) -> Score:
        """Runs a QDQ model over the images."""
        top1, logits = self._run(model, progress)
        return Score(top1, decibels(np.square(self._logits).sum(), np.square(self._logits - logits).sum()))

    def drop(self, score: Score) -> float:
        """Points of top-1 lost against float; negative when the quantized network is better."""
        return 100.0 * (self.float_top1 - score.top1)

    def _run(self, model: onnx.ModelProto, progress: Progress | None) -> tuple[float, np.ndarray]:
        predict, seen = predictor(model), []

        def kept(inputs: np.ndarray) -> np.ndarray:
            seen.append(predict(inputs))
            return seen[-1]

        metrics = evaluate(kept, self._dataset, self._preprocessing, _BATCH, progress)
        return metrics.top1, np.concatenate(seen).astype(np.float64)
