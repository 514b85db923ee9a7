"""From an image to a network's input: stored as data beside the weights, so that no step is lost on the way."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from PIL import Image

from shufflec.errors import OptionError

CHANNEL_ORDERS = ("RGB", "BGR")
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """Resize, crop and normalisation of one model's input.

    input_size: (H, W) of the tensor, in pixels.
    resize: length in pixels that the shorter side is scaled to before the crop (bilinear with antialiasing), or
        None: the image is scaled until it just covers input_size / crop_fraction.
    crop_fraction: above 0 up to 1; the centre crop's part of the scaled image. Only read where resize is None.
    channel_order: "RGB" or "BGR", the order of the tensor's channels.
    value_scale: value of a white pixel before mean and std: 1.0 or 255.0.
    mean, std: per channel, in the tensor's channel order and value scale; x = (pixel - mean) / std.

    Raises OptionError for a value outside of these.
    """

    input_size: tuple[int, int]
    resize: int | None = None
    crop_fraction: float = 1.0
    channel_order: str = "RGB"
    value_scale: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        size = self.input_size
        if not isinstance(size, (tuple, list)) or len(size) != 2 or not all(_is_side(side) for side in size):
            raise OptionError("input size", size, "expected H and W in pixels, each from 1 to 16384")
        if self.resize is not None and not _is_side(self.resize):
            raise OptionError("resize", self.resize, "expected pixels from 1 to 16384, or none")
        if not _is_finite(self.crop_fraction) or not 0.1 <= self.crop_fraction <= 1.0:
            raise OptionError("crop fraction", self.crop_fraction, "expected a number from 0.1 to 1")
        if self.channel_order not in CHANNEL_ORDERS:
            raise OptionError("channel order", self.channel_order, "expected RGB or BGR")
        if self.value_scale not in (1.0, 255.0):
            raise OptionError("value scale", self.value_scale, "expected 1 or 255")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if not isinstance(values, (tuple, list)) or len(values) != 3 or not all(map(_is_finite, values)):
                raise OptionError(name, values, "expected three numbers")
            object.__setattr__(self, name, tuple(float(value) for value in values))
        if min(self.std) <= 0.0:
            raise OptionError("std", self.std, "expected three numbers above 0")
        object.__setattr__(self, "input_size", (int(size[0]), int(size[1])))
        object.__setattr__(self, "crop_fraction", float(self.crop_fraction))
        object.__setattr__(self, "value_scale", float(self.value_scale))

    def apply(self, image: Image.Image | np.ndarray) -> np.ndarray:
        """The network's input for one image: float32 [3, H, W].

        image: a PIL image of any mode, or uint8 [H, W, 3] in RGB. Raises OptionError for another array.
        """
        if isinstance(image, np.ndarray):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
                raise OptionError("image", f"{image.dtype} {list(image.shape)}", "expected uint8 [H, W, 3]")
            image = Image.fromarray(image)
        pixels = np.asarray(self._cropped(image.convert("RGB")), dtype=np.float32)
        if self.channel_order == "BGR":
            pixels = pixels[:, :, ::-1]
        scaled = pixels * np.float32(self.value_scale / 255.0)
        normalised = (scaled - np.float32(self.mean)) / np.float32(self.std)
        return np.ascontiguousarray(normalised.transpose(2, 0, 1), dtype=np.float32)

    def _cropped(self, image: Image.Image) -> Image.Image:
        height, width = self.input_size
        if self.resize is None:
            factor = max(height / image.height, width / image.width) / self.crop_fraction
        else:
            factor = self.resize / min(image.height, image.width)
        # At least the input's size: rounding, or a wide input after `resize`, may fall short of it.
        scaled_height = max(height, math.floor(image.height * factor + 0.5))
        scaled_width = max(width, math.floor(image.width * factor + 0.5))
        # The crop in the original's coordinates: one resampling, and never more pixels in memory than the input's.
        top = (scaled_height - height) // 2
        left = (scaled_width - width) // 2
        down, across = image.height / scaled_height, image.width / scaled_width
        box = (left * across, top * down, (left + width) * across, (top + height) * down)
        return image.resize((width, height), Image.Resampling.BILINEAR, box=box)

    def in_words(self) -> str:
        """For people: `RGB, 0 to 1, (x - 0.485 0.456 0.406) / 0.229 0.224 0.225, middle 87.5%, 224x224`."""
        plain = self.mean == (0.0, 0.0, 0.0) and self.std == (1.0, 1.0, 1.0)
        mean, std = (" ".join(f"{value:.4g}" for value in values) for values in (self.mean, self.std))
        values = "not normalised" if plain else f"(x - {mean}) / {std}"
        height, width = self.input_size
        crop = f"shorter side to {self.resize}" if self.resize else f"middle {100 * self.crop_fraction:g}%"
        return f"{self.channel_order}, 0 to {self.value_scale:g}, {values}, {crop}, {height}x{width}"

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types; `from_dict` reverses it."""
        return {
            "input_size": list(self.input_size),
            "resize": self.resize,
            "crop_fraction": self.crop_fraction,
            "channel_order": self.channel_order,
            "value_scale": self.value_scale,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Preprocessing:
        """The Preprocessing that `to_dict` described. Raises OptionError for other keys or values."""
        expected = set(cls.__dataclass_fields__)
        if not isinstance(data, Mapping) or set(data) != expected:
            raise OptionError("preprocessing", data, f"expected exactly {', '.join(sorted(expected))}")
        return cls(**data)


def variant_preprocessing(variant: str, input_size: tuple[int, int]) -> Preprocessing:
    """What the variant's published models take: megvii raw BGR 0-255, paper and mindcv ImageNet's mean and std."""
    if variant == "megvii":
        # Resize 256, crop 224 in the original; the same fraction at other sizes.
        return Preprocessing(input_size, crop_fraction=0.875, channel_order="BGR", value_scale=255.0)
    if variant == "mindcv":
        mean = tuple(255.0 * value for value in _IMAGENET_MEAN)
        std = tuple(255.0 * value for value in _IMAGENET_STD)
        return Preprocessing(input_size, crop_fraction=0.875, value_scale=255.0, mean=mean, std=std)
    return Preprocessing(input_size, crop_fraction=0.875, mean=_IMAGENET_MEAN, std=_IMAGENET_STD)


def _is_side(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and 1 <= value <= 16384


def _is_finite(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
