"""The images that activation ranges are read from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from shufflec.data.dataset import Dataset, unreadable_note
from shufflec.data.preprocessing import Preprocessing
from shufflec.errors import OptionError
from shufflec.quantize.image_statistics import ImageStatistics, look

DEFAULT_IMAGES = 300  # NNCF's own default; more changes the ranges by little
SYNTHETIC_IMAGES = 16
SYNTHETIC = "synthetic images"
SEED_RANGE = (0, 2**32 - 1)


@dataclass(frozen=True)
class Calibration:
    """images: float32 [N, 3, H, W], preprocessed. data: what they are, without a path, for the model's metadata.

    indices: which of the data set's `available` images, ascending; none for synthetic ones. seed: they were drawn with
    it; None: taken at equal distances. unreadable: a note on images that were chosen and cannot be read.
    labels: of the model's classes, integers [N]; None where the data set's classes are others.
    """

    images: np.ndarray
    data: str
    indices: tuple[int, ...] = ()
    available: int = 0
    seed: int | None = None
    statistics: ImageStatistics | None = None
    unreadable: str | None = None
    labels: np.ndarray | None = None

    def digest(self) -> str:
        """SHA-256 over the pixels and their shape."""
        state = hashlib.sha256(repr(self.images.shape).encode())
        state.update(np.ascontiguousarray(self.images))
        return state.hexdigest()

    def record(self) -> dict[str, object]:
        """Which images these are, in plain JSON types, for the model's metadata."""
        return {
            "images": len(self.images),
            "data": self.data,
            "sha256": self.digest(),
            "available": self.available,
            "seed": self.seed,
            "indices": list(self.indices),
        }


def dataset_calibration(
    dataset: Dataset, preprocessing: Preprocessing, count: int = DEFAULT_IMAGES, seed: int | None = None
) -> Calibration:
    """At most `count` images of a data set: at equal distances all over it or, with a seed, drawn at random.

    Images that cannot be read are left out. Raises OptionError for a count below 1, a seed out of range or an empty
    set, InputFileError when none of the images can be read.
    """
    if count < 1:
        raise OptionError("samples", count, "expected a whole number from 1")
    if seed is not None and not SEED_RANGE[0] <= seed <= SEED_RANGE[1]:
        raise OptionError("seed", seed, f"expected a whole number from {SEED_RANGE[0]} to {SEED_RANGE[1]}")
    if len(dataset) == 0:
        raise OptionError("calibration data", dataset.name, "has no images")
    chosen = dataset.spread_indices(count) if seed is None else dataset.random_indices(count, seed)
    found, inputs, seen = [], [], []
    for index, image in dataset.readable(chosen):
        found.append(int(index))
        inputs.append(preprocessing.apply(image))
        seen.append(look(image))
    images = np.stack(inputs)
    return Calibration(
        images,
        dataset.short_name,
        tuple(found),
        len(dataset),
        seed,
        ImageStatistics.of(seen, images),
        unreadable_note(dataset),
        dataset.labels[found],
    )


def synthetic_calibration(preprocessing: Preprocessing, seed: int = 0) -> Calibration:
    """Blurred colour noise: for networks whose weights are random, and so have no images of their own."""
    generator = np.random.default_rng(seed)
    height, width = (max(4, side // 16) for side in preprocessing.input_size)
    noise = generator.integers(0, 256, (SYNTHETIC_IMAGES, height, width, 3), dtype=np.uint8)
    # Preprocessing enlarges each to the input size, which makes it smooth as photographs are.
    images = np.stack([preprocessing.apply(image) for image in noise])
    return Calibration(images, SYNTHETIC, seed=seed)
