"""Augmentation of a whole batch at once: turning, zooming, moving, mirroring, and mixing images with each other."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn.functional import affine_grid, grid_sample, one_hot, pad

from shufflec.training.recipe import Recipe


def augment(
    inputs: torch.Tensor, recipe: Recipe, generator: torch.Generator, first: int = 0, total: int | None = None
) -> torch.Tensor:
    """Turns, zooms, moves and mirrors each image of [N, 3, H, W] by itself, as far as `recipe` allows.

    What comes in from outside of an image repeats its border. The images are those from `first` of a batch of `total`
    (None: all of it), for all of which is drawn: parts of a batch give together what the batch gives at once.
    """
    count, _, height, width = inputs.shape
    total = count if total is None else total
    part = slice(first, first + count)
    if recipe.rotate or recipe.zoom:
        angle, zoom = (2.0 * torch.rand(2, total, generator=generator) - 1.0)[:, part].unbind()
        inputs = _turned(inputs, torch.deg2rad(angle * recipe.rotate), 1.0 + zoom * recipe.zoom)
    if recipe.shift:
        reach = recipe.shift
        offsets = torch.randint(0, 2 * reach + 1, (total, 2), generator=generator)[part].tolist()
        padded = pad(inputs, (reach, reach, reach, reach), mode="replicate")
        inputs = torch.stack(
            [image[:, y : y + height, x : x + width] for image, (y, x) in zip(padded, offsets, strict=True)]
        )
    # Images that are augmented one by one were mirrored with that.
    if recipe.flip and not recipe.per_image:
        mirrored = (torch.rand(total, generator=generator) < 0.5)[part]
        inputs = torch.where(mirrored[:, None, None, None], inputs.flip(3), inputs)
    return inputs


def mix(
    inputs: torch.Tensor, labels: torch.Tensor, classes: int, recipe: Recipe, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mixes each image of [N, 3, H, W] with its neighbour in the batch, and their labels [N] likewise to [N, classes].

    mixup (arXiv 1710.09412) takes a weighted sum of both, cutmix (arXiv 1905.04899) a rectangle from the neighbour; one
    of the two for the whole batch, at random where the recipe has both. Without either, what came in.
    """
    kinds = [name for name in ("mixup", "cutmix") if getattr(recipe, name)]
    if not kinds:
        return inputs, labels
    kind = kinds[int(torch.randint(len(kinds), (1,), generator=generator))]
    own = _beta(getattr(recipe, kind), generator)
    targets = one_hot(labels, classes).to(torch.float32)
    if kind == "mixup":
        inputs = inputs * own + inputs.roll(1, 0) * (1.0 - own)
    else:
        height, width = inputs.shape[2:]
        across, down = (int(0.5 * math.sqrt(1.0 - own) * side) for side in (width, height))
        x, y = (int(torch.randint(side, (1,), generator=generator)) for side in (width, height))
        left, right = max(0, x - across), min(width, x + across)
        top, bottom = max(0, y - down), min(height, y + down)
        inputs = inputs.clone()
        inputs[:, :, top:bottom, left:right] = inputs.roll(1, 0)[:, :, top:bottom, left:right]
        own = 1.0 - (right - left) * (bottom - top) / (width * height)
    return inputs, targets * own + targets.roll(1, 0) * (1.0 - own)


def _beta(alpha: float, generator: torch.Generator) -> float:
    """A draw from Beta(alpha, alpha), which torch has none of that takes a generator."""
    seed = int(torch.randint(1 << 32, (1,), generator=generator))
    return float(np.random.RandomState(seed).beta(alpha, alpha))


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
