"""Other ways to prepare the same images: what may have been meant where an input's order or range is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from shufflec.data.preprocessing import Preprocessing, variant_preprocessing


def other_preparations(preprocessing: Preprocessing) -> dict[str, Preprocessing]:
    """What else is usual, in words, without ways that give the same values."""
    order = "BGR" if preprocessing.channel_order == "RGB" else "RGB"
    # Mean and deviation stay with their channel of the network: it is the images whose colours may be swapped.
    swapped = replace(preprocessing, channel_order=order)
    plain = Preprocessing(preprocessing.input_size)
    found = {
        "with red and blue swapped": swapped,
        "as RGB with ImageNet's mean and deviation": variant_preprocessing("paper", preprocessing.input_size),
        "as BGR, 0 to 255, not normalised": variant_preprocessing("megvii", preprocessing.input_size),
        "as RGB, 0 to 255, not normalised": replace(plain, value_scale=255.0),
        "as RGB, 0 to 1, not normalised": plain,
    }
    return {words: other for words, other in found.items() if _values(other) != _values(preprocessing)}


def prepared_again(images: np.ndarray, preprocessing: Preprocessing, other: Preprocessing) -> np.ndarray:
    """Inputs float32 [N, 3, H, W] that `preprocessing` made, as `other` makes them of the same scaled pixels."""
    mean, std = _planes(preprocessing)
    pixels = (images * std + mean) / np.float32(preprocessing.value_scale)
    if preprocessing.channel_order != other.channel_order:
        pixels = pixels[:, ::-1]
    mean, std = _planes(other)
    return np.ascontiguousarray((pixels * np.float32(other.value_scale) - mean) / std)


def _planes(preprocessing: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
    mean, std = (np.float32(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
    return mean, std


def _values(preprocessing: Preprocessing) -> tuple[object, ...]:
    """What decides the values of the input: equal ones give equal inputs."""
    scale = preprocessing.value_scale
    return preprocessing.channel_order, *(
        tuple(round(value / scale, 6) for value in values) for values in (preprocessing.mean, preprocessing.std)
    )
