"""Augmentation of one image as it is read: random crop, mirror, colours, a policy, a rectangle left out.

Every draw comes from a generator of its own for each image of each epoch: what is drawn depends neither on the other
images nor on which process or worker reads it.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from PIL import Image, ImageEnhance

from shufflec.data.preprocessing import Preprocessing
from shufflec.training.recipe import Recipe
from shufflec.training.trivial_augment import trivial_augment_wide

# torchvision's RandomErasing: part of the area, ratio of the sides.
_ERASE_AREA = (0.02, 0.33)
_ERASE_RATIO = (0.3, 3.3)
_ATTEMPTS = 10


class PhotoAugment:
    """What `recipe` does to one image on its way to a network that takes `preprocessing`.

    Called with uint8 [H, W, 3] in RGB and the numbers that seed its draws (whole numbers from 0 up); gives float32
    [3, H, W] of recipe.train_size, or of the network's input.
    """

    def __init__(self, recipe: Recipe, preprocessing: Preprocessing):
        side = recipe.train_size
        self._recipe = recipe
        self._size = (side, side) if side else preprocessing.input_size
        # Resize and crop alone: a white pixel is 255.
        crop = (preprocessing.resize, preprocessing.crop_fraction)
        self._pixels = Preprocessing(self._size, *crop, value_scale=255.0)
        # Of an image that has the right size already only the colours are left to convert.
        self._colours = replace(preprocessing, input_size=self._size, resize=None, crop_fraction=1.0)

    def __call__(self, image: np.ndarray, *seed: int) -> np.ndarray:
        recipe = self._recipe
        # RandomState's streams are the same in every release of NumPy.
        random = np.random.RandomState([number >> shift & 0xFFFFFFFF for number in seed for shift in (0, 32)])
        picture = Image.fromarray(image)
        if recipe.crop_area is not None:
            box = random_box(random, picture.size, recipe.crop_area, recipe.crop_ratio)
            picture = picture.resize(self._size[::-1], Image.Resampling.BILINEAR, box=box)
        else:
            pixels = self._pixels.apply(picture).transpose(1, 2, 0)
            picture = Image.fromarray(np.ascontiguousarray(pixels, dtype=np.uint8))
        if recipe.flip and random.random_sample() < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if recipe.policy == "trivial_augment_wide":
            picture = trivial_augment_wide(picture, random)
        if recipe.color_jitter:
            picture = jitter_colours(random, picture, recipe.color_jitter)
        inputs = self._colours.apply(picture)
        if recipe.erase and random.random_sample() < recipe.erase:
            _erase(random, inputs)
        return inputs


def random_box(
    random: np.random.RandomState, size: tuple[int, int], area: tuple[float, float], ratio: tuple[float, float]
) -> tuple[int, int, int, int]:
    """A box (left, top, right, bottom) in an image of `size` (W, H): torchvision's RandomResizedCrop.

    area: of the box, as fractions of the image's; ratio: width to height, drawn on a logarithmic scale. After ten boxes
    that do not fit, the middle of the image, as much as the ratio allows.
    """
    width, height = size
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(_ATTEMPTS):
        pixels = width * height * random.uniform(*area)
        aspect = math.exp(random.uniform(low, high))
        across, down = round(math.sqrt(pixels * aspect)), round(math.sqrt(pixels / aspect))
        if 0 < across <= width and 0 < down <= height:
            left = random.randint(0, width - across + 1)
            top = random.randint(0, height - down + 1)
            return left, top, left + across, top + down
    aspect = min(max(width / height, ratio[0]), ratio[1])
    across = max(1, min(width, round(height * aspect)))
    down = max(1, min(height, round(width / aspect)))
    left, top = (width - across) // 2, (height - down) // 2
    return left, top, left + across, top + down


def jitter_colours(random: np.random.RandomState, picture: Image.Image, amount: float) -> Image.Image:
    """Brightness, contrast and saturation in random order, each by a factor from 1 - amount to 1 + amount."""
    kinds = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    factors = random.uniform(1.0 - amount, 1.0 + amount, len(kinds))
    for index in random.permutation(len(kinds)):
        picture = kinds[index](picture).enhance(float(factors[index]))
    return picture


def _erase(random: np.random.RandomState, inputs: np.ndarray) -> None:
    """Sets a rectangle of [3, H, W] to 0, in place."""
    height, width = inputs.shape[1:]
    low, high = (math.log(ratio) for ratio in _ERASE_RATIO)
    for _ in range(_ATTEMPTS):
        pixels = height * width * random.uniform(*_ERASE_AREA)
        aspect = math.exp(random.uniform(low, high))
        down, across = round(math.sqrt(pixels * aspect)), round(math.sqrt(pixels / aspect))
        if down < height and across < width:
            top = random.randint(0, height - down + 1)
            left = random.randint(0, width - across + 1)
            inputs[:, top : top + down, left : left + across] = 0.0
            return
