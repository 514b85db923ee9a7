"""Seeded inputs to check a network with, when no data set is at hand."""

from __future__ import annotations

import numpy as np

from shufflec.data.preprocessing import Preprocessing


def seeded_inputs(preprocessing: Preprocessing, count: int, seed: int = 0) -> list[np.ndarray]:
    """`count` inputs, float32 (1, 3, H, W) each, in the model's own value range.

    They take turns: smooth blobs, which look like photographs to the first layers; noise, which spreads over all
    values; and every third a flat black or white image with one bright or dark pixel, which drives activations to
    their limits.
    """
    generator = np.random.default_rng(seed)
    height, width = preprocessing.input_size
    return [preprocessing.apply(_image(generator, i, height, width))[None] for i in range(count)]


def _image(generator: np.random.Generator, index: int, height: int, width: int) -> np.ndarray:
    """uint8 (H, W, 3)."""
    if index % 3 == 0:
        coarse = generator.integers(0, 256, (5, 5, 3))
        rows = np.linspace(0, 4, height)
        columns = np.linspace(0, 4, width)
        return _interpolated(_interpolated(coarse, rows, 0), columns, 1).astype(np.uint8)
    if index % 3 == 1:
        return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
    background = 255 * (index // 3 % 2)
    image = np.full((height, width, 3), background, np.uint8)
    image[generator.integers(height), generator.integers(width)] = 255 - background
    return image


def _interpolated(values: np.ndarray, places: np.ndarray, axis: int) -> np.ndarray:
    low = np.minimum(places.astype(int), values.shape[axis] - 2)
    shape = [1] * values.ndim
    shape[axis] = -1
    part = (places - low).reshape(shape)
    return np.take(values, low, axis) * (1 - part) + np.take(values, low + 1, axis) * part
