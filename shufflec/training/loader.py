"""Training batches: shuffled and augmented by the epoch's number alone, so that a resumed run sees the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from shufflec.data.dataset import Dataset
from shufflec.data.preprocessing import Preprocessing
from shufflec.errors import InputFileError, OptionError
from shufflec.training.batch_augment import augment, mix
from shufflec.training.photo import PhotoAugment
from shufflec.training.recipe import Recipe
from shufflec.training.workers import read_ahead

# Preprocessed inputs are kept between epochs up to this size: decoding is then paid once.
_CACHE_BYTES = 1 << 30
_MAX_UNREADABLE = 64


@dataclass(frozen=True)
class _Sample:
    """inputs: of the network, from image `index`; problems: what is wrong with the images that were to be it."""

    inputs: np.ndarray
    index: int
    problems: tuple[str, ...]


class TrainingLoader:
    """Batches of one dataset for `Recipe`; the last, smaller batch of an epoch is left out.

    A batch of its own would have noisy batch-norm statistics. A dataset of less than one batch is one batch.

    workers: processes that read and decode images ahead; 0: none, the images are read when they are needed. The batches
    are the same for any number of workers. rank, world: this process's part of each batch is the `rank`-th of `world`
    equal ones. Raises OptionError for a batch that does not divide by `world`.
    """

    def __init__(
        self,
        dataset: Dataset,
        preprocessing: Preprocessing,
        recipe: Recipe,
        seed: int,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
    ):
        self._dataset = dataset
        self._preprocessing = preprocessing
        self._recipe = recipe
        self._seed = seed
        self._workers = workers
        self._total = min(recipe.batch_size, len(dataset))
        if self._total % world or self._total // world < 2:
            problem = f"expected a multiple of the {world} processes, and at least 2 images for each"
            raise OptionError("batch size", self._total, problem, "it counts the images of all processes together")
        self._share = self._total // world
        self._first = rank * self._share
        self._photo = PhotoAugment(recipe, preprocessing) if recipe.per_image else None
        height, width = preprocessing.input_size
        fits = len(dataset) * 3 * height * width * 4 <= _CACHE_BYTES
        self._cache: dict[int, np.ndarray] | None = {} if fits and not recipe.per_image and not workers else None

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return len(self._dataset) // self._total

    def epoch(self, number: int, steps: int | None = None) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yields (float32 [N, 3, H, W], int64 [N]), `steps` times (None: as many as there are).

        The labels are float32 [N, classes] where the recipe mixes images. In place of an image that cannot be read
        comes the next one that can; it is noted in the dataset's `unreadable`. Raises InputFileError after 64 in a row.
        """
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + number)
        order = self._order(generator)
        steps = self.steps if steps is None else steps
        places = [step * self._total + self._first + index for step in range(steps) for index in range(self._share)]
        samples = read_ahead(lambda place: self._sample(int(order[place]), number, place), places, self._workers)
        for _ in range(steps):
            batch = [next(samples) for _ in range(self._share)]
            for sample in batch:
                self._dataset.unreadable |= dict.fromkeys(sample.problems)
            inputs = torch.from_numpy(np.stack([sample.inputs for sample in batch]))
            labels = torch.from_numpy(self._dataset.labels[[sample.index for sample in batch]])
            inputs = augment(inputs, self._recipe, generator, self._first, self._total)
            yield mix(inputs, labels, len(self._dataset.class_names), self._recipe, generator)

    def _order(self, generator: torch.Generator) -> np.ndarray:
        """The images of one epoch; each `repeats` times in a row, so that the epoch sees fewer different ones."""
        order = torch.randperm(len(self._dataset), generator=generator).numpy()
        repeats = self._recipe.repeats
        return np.repeat(order[: -(-len(order) // repeats)], repeats) if repeats > 1 else order

    def _sample(self, index: int, epoch: int, place: int) -> _Sample:
        problems = []
        for offset in range(min(len(self._dataset), _MAX_UNREADABLE)):
            used = (index + offset) % len(self._dataset)
            try:
                return _Sample(self._input(used, epoch, place), used, tuple(problems))
            except InputFileError as error:
                problems.append(str(error))
        problem = f"{len(problems)} of its images one after the other cannot be read, the first: {problems[0]}"
        raise InputFileError(self._dataset.name, problem)

    def _input(self, index: int, epoch: int, place: int) -> np.ndarray:
        if self._photo is not None:
            return self._photo(self._dataset.image(index), self._seed, epoch, place)
        if self._cache is None:
            return self._preprocessing.apply(self._dataset.image(index))
        if index not in self._cache:
            self._cache[index] = self._preprocessing.apply(self._dataset.image(index))
        return self._cache[index]
