"""A labelled set of images, whatever it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from shufflec.data.preprocessing import Preprocessing
from shufflec.errors import InputFileError, OptionError

NAMED_UNREADABLE = 3


class ImageSource(Protocol):
    """Where the pixels come from: index -> uint8 [H, W, 3] in RGB; sizes may differ from image to image."""

    def __call__(self, index: int) -> np.ndarray: ...


class Dataset:
    """One split of a labelled set of images.

    name: what the user called it. labels: integers [N], each an index of class_names.
    unreadable: what is wrong with each image that could not be read so far, one line each, in the order of finding;
    parts of a data set share it.
    """

    def __init__(self, name: str, class_names: Sequence[str], labels: np.ndarray, images: ImageSource):
        self.name = name
        self.class_names = list(class_names)
        self.labels = np.asarray(labels, dtype=np.int64)
        self.unreadable: dict[str, None] = {}
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

    def readable(self, indices: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """(index, image) of those that can be read; the others are noted in `unreadable`.

        Raises InputFileError when none of them can be read.
        """
        found = failed = False
        for index in indices:
            try:
                image = self.image(index)
            except InputFileError as error:
                failed = True
                self.unreadable[str(error)] = None
                continue
            found = True
            yield index, image
        if failed and not found:
            raise InputFileError(self.name, f"none of its images can be read: {next(iter(self.unreadable))}")

    def batches(
        self, preprocessing: Preprocessing, batch_size: int, limit: int | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields (float32 [N, 3, H, W], int64 [N]) in order; the last batch may be smaller.

        limit: stop after that many images. Images that cannot be read are left out, see `unreadable`.
        Raises InputFileError when none can be read.
        """
        if batch_size < 1:
            raise OptionError("batch size", batch_size, "expected a whole number from 1")
        count = len(self) if limit is None else min(limit, len(self))
        images, labels = [], []
        for index, image in self.readable(range(count)):
            images.append(preprocessing.apply(image))
            labels.append(self.labels[index])
            if len(images) == batch_size:
                yield np.stack(images), np.asarray(labels)
                images, labels = [], []
        if images:
            yield np.stack(images), np.asarray(labels)

    def spread(self, count: int) -> Dataset:
        """At most `count` images, taken at equal distances over the whole split."""
        return self if count >= len(self) else self.part(self.spread_indices(count))

    def spread_indices(self, count: int) -> np.ndarray:
        """Indices, ascending, of at most `count` images at equal distances over the whole split."""
        if count >= len(self):
            return np.arange(len(self))
        return np.linspace(0, len(self) - 1, count).round().astype(np.int64)

    def random_indices(self, count: int, seed: int) -> np.ndarray:
        """Indices, ascending, of at most `count` images drawn without putting back; the same with every NumPy."""
        order = np.random.RandomState(seed).permutation(len(self))
        return np.sort(order[:count])

    def part(self, indices: np.ndarray) -> Dataset:
        """The images at these indices, in their order."""
        part = Dataset(self.name, self.class_names, self.labels[indices], lambda index: self._images(indices[index]))
        part.unreadable = self.unreadable
        return part


def unreadable_note(dataset: Dataset) -> str | None:
    """One sentence that counts the images that could not be read and names the first three; None without any."""
    if not dataset.unreadable:
        return None
    count = len(dataset.unreadable)
    named = "; ".join(list(dataset.unreadable)[:NAMED_UNREADABLE])
    rest = f"; and {count - NAMED_UNREADABLE} more" if count > NAMED_UNREADABLE else ""
    what = "1 image" if count == 1 else f"{count} images"
    return f"{what} of {dataset.name} cannot be read and {'is' if count == 1 else 'are'} left out: {named}{rest}."


def unknown_names(count: int) -> list[str]:
    """What the classes of a model are called whose file does not name them."""
    return [f"class {index}" for index in range(count)]


def are_unknown(class_names: Sequence[str]) -> bool:
    """Whether these names only stand for names that a model's file does not have."""
    return list(class_names) == unknown_names(len(class_names))


def check_classes(path: str | Path, dataset: Dataset, class_names: Sequence[str]) -> None:
    """Raises InputFileError unless the dataset has exactly the model's classes, in the same order.

    Of a model that does not name its classes, see `are_unknown`, only their number is checked.
    """
    if len(dataset.class_names) != len(class_names):
        counts = f"{len(dataset.class_names)} classes, the model has {len(class_names)}"
        raise InputFileError(path, f"has {counts}", "use the kind of dataset that the model was trained on")
    if dataset.class_names == list(class_names) or are_unknown(class_names):
        return
    pairs = zip(dataset.class_names, class_names, strict=True)
    index, (found, wanted) = next((index, pair) for index, pair in enumerate(pairs) if pair[0] != pair[1])
    order = "the classes are in another order: " if set(dataset.class_names) == set(class_names) else ""
    raise InputFileError(path, f"{order}class {index} is {found!r}, in the model it is {wanted!r}")
