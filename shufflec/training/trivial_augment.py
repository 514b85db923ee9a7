"""TrivialAugment (arXiv 2103.10158), its "wide" space of operations: one of them, at a random strength, for each image.

The operations and strengths are those of torchvision's TrivialAugmentWide; what comes in from outside is black.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

_STRENGTHS = 31
_ENHANCEMENTS = {
    "brightness": ImageEnhance.Brightness,
    "color": ImageEnhance.Color,
    "contrast": ImageEnhance.Contrast,
    "sharpness": ImageEnhance.Sharpness,
}
# Strongest value of the operations whose sign is drawn; the weakest is 0.
_SIGNED = {
    "shear_x": 0.99, "shear_y": 0.99, "translate_x": 32.0, "translate_y": 32.0, "rotate": 135.0,
    "brightness": 0.99, "color": 0.99, "contrast": 0.99, "sharpness": 0.99,
}  # fmt: skip
OPERATIONS = ("identity", *_SIGNED, "posterize", "solarize", "autocontrast", "equalize")


def trivial_augment_wide(picture: Image.Image, random: np.random.RandomState) -> Image.Image:
    """The RGB image after one operation of OPERATIONS, each equally likely, at one of 31 strengths."""
    name = OPERATIONS[random.randint(len(OPERATIONS))]
    strength = random.randint(_STRENGTHS) / (_STRENGTHS - 1)
    sign = -1.0 if random.randint(2) else 1.0
    return apply_operation(picture, name, strength, sign)


def apply_operation(picture: Image.Image, name: str, strength: float, sign: float = 1.0) -> Image.Image:
    """One operation at a strength from 0, which leaves most images as they are, to 1."""
    amount = sign * strength * _SIGNED.get(name, 0.0)
    if name in _ENHANCEMENTS:
        return _ENHANCEMENTS[name](picture).enhance(1.0 + amount)
    if name == "rotate":
        return picture.rotate(amount, Image.Resampling.BILINEAR)
    if name == "shear_x":
        return _affine(picture, (1.0, amount, 0.0, 0.0, 1.0, 0.0))
    if name == "shear_y":
        return _affine(picture, (1.0, 0.0, 0.0, amount, 1.0, 0.0))
    if name == "translate_x":
        return _affine(picture, (1.0, 0.0, float(int(amount)), 0.0, 1.0, 0.0))
    if name == "translate_y":
        return _affine(picture, (1.0, 0.0, 0.0, 0.0, 1.0, float(int(amount))))
    if name == "posterize":
        return ImageOps.posterize(picture, 8 - round(6 * strength))
    if name == "solarize":
        # At strength 0 the threshold lies above every value.
        return ImageOps.solarize(picture, 255.0 * (1.0 - strength) if strength else 256)
    if name == "autocontrast":
        return ImageOps.autocontrast(picture)
    return ImageOps.equalize(picture) if name == "equalize" else picture


def _affine(picture: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    return picture.transform(picture.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
