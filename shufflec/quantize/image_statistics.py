"""What a set of images looks like, in a few numbers: before preprocessing and behind it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ImageStatistics:
    """count: of images. short_side: their median one, in pixels, as stored. grey: how many have no colour at all.
    brightest: the largest of all stored pixel values, of 255. mean, std: of each channel of the network's input.
    """

    count: int
    short_side: float
    grey: int
    brightest: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @staticmethod
    def of(seen: Iterable[tuple[int, bool, int]], inputs: np.ndarray) -> ImageStatistics:
        """seen: (short side, grey, brightest) of each image, from `look`. inputs: float32 [N, 3, H, W]."""
        sides, grey, brightest = zip(*seen, strict=True)
        mean = inputs.mean(axis=(0, 2, 3), dtype=np.float64)
        # Image by image: the squares of all of them at once would double what they take.
        squares = np.mean([np.square(image).mean(axis=(1, 2), dtype=np.float64) for image in inputs], axis=0)
        std = np.sqrt(np.maximum(squares - mean**2, 0.0))
        return ImageStatistics(
            len(sides),
            float(np.median(sides)),
            sum(grey),
            max(brightest),
            tuple(mean.tolist()),
            tuple(std.tolist()),
        )


def look(image: np.ndarray) -> tuple[int, bool, int]:
    """(short side, whether it is grey, brightest value) of uint8 [H, W, 3]."""
    grey = bool((image[:, :, 0] == image[:, :, 1]).all() and (image[:, :, 1] == image[:, :, 2]).all())
    return min(image.shape[:2]), grey, int(image.max())
