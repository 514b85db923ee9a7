"""Accuracy on the held-out images, shared out over the processes of a training and their workers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from shufflec.data.dataset import Dataset
from shufflec.data.preprocessing import Preprocessing
from shufflec.errors import InputFileError
from shufflec.training.distributed import Processes
from shufflec.training.evaluate import Hits, Metrics, count_hits, torch_predict
from shufflec.training.workers import read_ahead

_BATCH = 64


class HeldOut:
    """Evaluates networks on `dataset`: every process its part, the sum in all of them."""

    def __init__(self, dataset: Dataset, preprocessing: Preprocessing, workers: int, processes: Processes):
        self._part = dataset.part(np.arange(processes.rank, len(dataset), processes.world))
        self._preprocessing = preprocessing
        self._workers = workers
        self._processes = processes

    def evaluate(self, model: torch.nn.Module) -> Metrics:
        """Sets the model to evaluation mode. Raises InputFileError when none of the images can be read."""
        hits = Hits(len(self._part.class_names))
        predict = torch_predict(model)
        for inputs, labels in self._batches():
            count_hits(hits, predict(inputs), labels)
        confusion = self._processes.sum(torch.from_numpy(hits.confusion)).numpy()
        within_top5 = int(self._processes.sum(torch.tensor([hits.within_top5]))[0])
        return Hits(len(confusion), confusion, within_top5).metrics(self._part.name)

    def _batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        images: list[np.ndarray] = []
        labels: list[int] = []
        for index, image in enumerate(read_ahead(self._read, range(len(self._part)), self._workers)):
            if isinstance(image, str):
                self._part.unreadable[image] = None
                continue
            images.append(image)
            labels.append(self._part.label(index))
            if len(images) == _BATCH:
                yield np.stack(images), np.asarray(labels)
                images, labels = [], []
        if images:
            yield np.stack(images), np.asarray(labels)

    def _read(self, index: int) -> np.ndarray | str:
        """The network's input, or what is wrong with the image."""
        try:
            return self._preprocessing.apply(self._part.image(index))
        except InputFileError as error:
            return str(error)
