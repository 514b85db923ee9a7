"""Window arithmetic that convolutions and pools share."""

from __future__ import annotations

import numpy as np


def fitted_pad(
    size: tuple[int, ...],
    result: tuple[int, int],
    kernel: tuple[int, ...],
    stride: tuple[int, int],
    pad: tuple[int, ...],
) -> tuple[int, int, int, int]:
    """The padding (top, left, bottom, right) that the windows really read.

    size: (H, W, ...) of the input; result: (H, W) of the output. The bottom and right edges lose rows that no
    window reaches (3x3, stride 2, padding 1 on an even size) and gain those of ONNX's ceil_mode.
    """
    top, left = pad[:2]
    bottom, right = (
        max(0, (count - 1) * step + window - length - before)
        for count, step, window, length, before in zip(result, stride, kernel, size, (top, left), strict=False)
    )
    return top, left, bottom, right


def divisors(
    size: tuple[int, ...],
    result: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pad: tuple[int, ...],
    count_padding: bool,
) -> np.ndarray:
    """The divisor of an average pool at each output position: int64 (H, W) of the output.

    With count_padding positions of the model's padding count, as ONNX count_include_pad has it; those that only
    ceil_mode adds never do.
    """
    along = []
    for axis in range(2):
        start = np.arange(result[axis]) * stride[axis] - pad[axis]
        stop = start + kernel[axis]
        low, high = (-pad[axis], size[axis] + pad[axis + 2]) if count_padding else (0, size[axis])
        along.append(np.maximum(np.minimum(stop, high) - np.maximum(start, low), 1))
    return np.outer(*along)
