"""scikit-learn's handwritten digits: the dataset that needs no download (1,797 images, 8x8, 10 classes)."""

from __future__ import annotations

import functools

import numpy as np

from shufflec.data.dataset import Dataset
from shufflec.data.split import held_out_split


def open_digits(split: str, seed: int = 0) -> Dataset:
    """The train (four fifths) or test (one fifth) part; images are uint8 [8, 8, 3], grey values in every channel."""
    images, labels = _digits()
    train, test = held_out_split(labels, seed)
    chosen = train if split == "train" else test
    names = [str(digit) for digit in range(10)]
    return Dataset("digits", names, labels[chosen], lambda index: images[chosen[index]])


@functools.cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits  # a second to import: only when the digits are asked for

    digits = load_digits()
    # Their grey values are 0 to 16.
    grey = np.round(digits.images * (255.0 / 16.0)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=3), digits.target.astype(np.int64)
