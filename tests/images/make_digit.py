"""Writes one embedded handwritten digit as a PNG file: python make_digit.py OUT.png [INDEX]."""

import sys

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits


def main() -> None:
    index = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    pixels = np.round(load_digits().images[index] * 255 / 16).astype(np.uint8)
    Image.fromarray(pixels).convert("RGB").save(sys.argv[1])


if __name__ == "__main__":
    main()
