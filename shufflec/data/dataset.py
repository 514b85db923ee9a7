"""A labelled set of images, whatever it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from shufflec.data.preprocessing import Preprocessing
from shufflec.errors import InputFileError, OptionError


class ImageSource(Protocol):
    """Where the pixels come from: index -> uint8 [H, W, 3] in RGB; sizes may differ from image to image."""

    def __call__(self, index: int) -> np.ndarray: ...


class Dataset:
    """One split of a labelled set of images.

    name: what the user called it. labels: integers [N], each an index of class_names.
    """

    def __init__(self, name: str, class_names: Sequence[str], labels: np.ndarray, images: ImageSource):
        self.name = name
        self.class_names = list(class_names)
        self.labels = np.asarray(labels, dtype=np.int64)
        self._images = images

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def short_name(self) -> str:
        """The name without its path, for files that must not depend on it: digits, photos/, set.npz."""
        path = Path(self.name)
        return self.name if self.name == "digits" else path.name if path.suffix == ".npz" else f"{path.name}/"

    def image(self, index: int) -> np.ndarray:
        """Image `index` as uint8 [H, W, 3] in RGB. Raises InputFileError for a file that is not an image."""
        return self._images(index)

    def label(self, index: int) -> int:
        return int(self.labels[index])

    def batches(
        self, preprocessing: Preprocessing, batch_size: int, limit: int | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields (float32 [N, 3, H, W], int64 [N]) in order; the last batch may be smaller.

        limit: stop after that many images.
        """
        if batch_size < 1:
            raise OptionError("batch size", batch_size, "expected a whole number from 1")
        count = len(self) if limit is None else min(limit, len(self))
        for start in range(0, count, batch_size):
            indices = range(start, min(start + batch_size, count))
            images = np.stack([preprocessing.apply(self.image(index)) for index in indices])
            yield images, self.labels[indices.start : indices.stop]

    def spread(self, count: int) -> Dataset:
        """At most `count` images, taken at equal distances over the whole split: for calibration."""
        if count >= len(self):
            return self
        chosen = np.linspace(0, len(self) - 1, count).round().astype(np.int64)
        return Dataset(self.name, self.class_names, self.labels[chosen], lambda index: self._images(int(chosen[index])))


def check_classes(path: str | Path, dataset: Dataset, class_names: Sequence[str]) -> None:
    """Raises InputFileError unless the dataset has exactly the model's classes, in the same order."""
    if dataset.class_names == list(class_names):
        return
    if len(dataset.class_names) != len(class_names):
        counts = f"{len(dataset.class_names)} classes, the model has {len(class_names)}"
        raise InputFileError(path, f"has {counts}", "use the kind of dataset that the model was trained on")
    pairs = zip(dataset.class_names, class_names, strict=True)
    index, (found, wanted) = next((index, pair) for index, pair in enumerate(pairs) if pair[0] != pair[1])
    raise InputFileError(path, f"class {index} is {found!r}, in the model it is {wanted!r}")
