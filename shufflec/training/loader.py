"""Training batches: shuffled and augmented by the epoch's number alone, so that a resumed run sees the same ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.nn.functional import affine_grid, grid_sample, pad

from shufflec.data.dataset import Dataset
from shufflec.data.preprocessing import Preprocessing
from shufflec.training.recipe import Recipe

# Preprocessed inputs are kept between epochs up to this size: decoding is then paid once.
_CACHE_BYTES = 1 << 30


class TrainingLoader:
    """Batches of one dataset for `Recipe`; the last, smaller batch of an epoch is left out.

    A batch of its own would have noisy batch-norm statistics. A dataset of less than one batch is one batch.
    """

    def __init__(self, dataset: Dataset, preprocessing: Preprocessing, recipe: Recipe, seed: int):
        self._dataset = dataset
        self._preprocessing = preprocessing
        self._recipe = recipe
        self._seed = seed
        self._batch_size = min(recipe.batch_size, len(dataset))
        height, width = preprocessing.input_size
        fits = len(dataset) * 3 * height * width * 4 <= _CACHE_BYTES
        self._cache: dict[int, np.ndarray] | None = {} if fits else None

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return len(self._dataset) // self._batch_size

    def epoch(self, number: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yields (float32 [N, 3, H, W], int64 [N]), `steps` times."""
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + number)
        order = torch.randperm(len(self._dataset), generator=generator).tolist()
        for step in range(self.steps):
            chosen = order[step * self._batch_size : (step + 1) * self._batch_size]
            inputs = torch.from_numpy(np.stack([self._input(index) for index in chosen]))
            labels = torch.from_numpy(self._dataset.labels[chosen])
            yield augment(inputs, self._recipe, generator), labels

    def _input(self, index: int) -> np.ndarray:
        if self._cache is None:
            return self._preprocessing.apply(self._dataset.image(index))
        if index not in self._cache:
            self._cache[index] = self._preprocessing.apply(self._dataset.image(index))
        return self._cache[index]


def augment(inputs: torch.Tensor, recipe: Recipe, generator: torch.Generator) -> torch.Tensor:
    """Turns, zooms, moves and mirrors each image of [N, 3, H, W] by itself, as far as `recipe` allows.

    What comes in from outside of an image repeats its border.
    """
    count, _, height, width = inputs.shape
    if recipe.rotate or recipe.zoom:
        angle, zoom = (2.0 * torch.rand(2, count, generator=generator) - 1.0).unbind()
        inputs = _turned(inputs, torch.deg2rad(angle * recipe.rotate), 1.0 + zoom * recipe.zoom)
    if recipe.shift:
        reach = recipe.shift
        offsets = torch.randint(0, 2 * reach + 1, (count, 2), generator=generator).tolist()
        padded = pad(inputs, (reach, reach, reach, reach), mode="replicate")
        inputs = torch.stack(
            [image[:, y : y + height, x : x + width] for image, (y, x) in zip(padded, offsets, strict=True)]
        )
    if recipe.flip:
        mirrored = torch.rand(count, generator=generator) < 0.5
        inputs = torch.where(mirrored[:, None, None, None], inputs.flip(3), inputs)
    return inputs


def _turned(inputs: torch.Tensor, angle: torch.Tensor, zoom: torch.Tensor) -> torch.Tensor:
    """Each image turned by its angle (radians) about the centre and enlarged by its zoom, bilinear."""
    height, width = inputs.shape[2:]
    cosine, sine = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    # affine_grid counts both sides from -1 to 1: the aspect ratio keeps a turn from being a shear.
    aspect = height / width
    zero = torch.zeros_like(angle)
    rows = [torch.stack((cosine, -sine * aspect, zero), 1), torch.stack((sine / aspect, cosine, zero), 1)]
    grid = affine_grid(torch.stack(rows, 1), list(inputs.shape), align_corners=False)
    return grid_sample(inputs, grid, mode="bilinear", padding_mode="border", align_corners=False)
