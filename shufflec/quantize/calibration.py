"""The images that activation ranges are read from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from shufflec.data.dataset import Dataset
from shufflec.data.preprocessing import Preprocessing
from shufflec.errors import OptionError

DEFAULT_IMAGES = 300  # NNCF's own default; more changes the ranges by little
SYNTHETIC_IMAGES = 16
SYNTHETIC = "synthetic images"


@dataclass(frozen=True)
class Calibration:
    """images: float32 [N, 3, H, W], preprocessed. data: what they are, without a path, for the model's metadata."""

    images: np.ndarray
    data: str

    def digest(self) -> str:
        """SHA-256 over the pixels and their shape."""
        state = hashlib.sha256(repr(self.images.shape).encode())
        state.update(np.ascontiguousarray(self.images))
        return state.hexdigest()


def dataset_calibration(dataset: Dataset, preprocessing: Preprocessing, count: int = DEFAULT_IMAGES) -> Calibration:
    """At most `count` images from all over a data set. Raises OptionError for a count below 1 or an empty set."""
    if count < 1:
        raise OptionError("samples", count, "expected a whole number from 1")
    chosen = dataset.spread(count)
    images = [batch for batch, _ in chosen.batches(preprocessing, batch_size=32)]
    if not images:
        raise OptionError("calibration data", dataset.name, "has no images")
    return Calibration(np.concatenate(images), dataset.short_name)


def synthetic_calibration(preprocessing: Preprocessing, seed: int = 0) -> Calibration:
    """Blurred colour noise: for networks whose weights are random, and so have no images of their own."""
    generator = np.random.default_rng(seed)
    height, width = (max(4, side // 16) for side in preprocessing.input_size)
    noise = generator.integers(0, 256, (SYNTHETIC_IMAGES, height, width, 3), dtype=np.uint8)
    # Preprocessing enlarges each to the input size, which makes it smooth as photographs are.
    return Calibration(np.stack([preprocessing.apply(image) for image in noise]), SYNTHETIC)
