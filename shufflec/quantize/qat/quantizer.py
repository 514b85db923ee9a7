"""NNCF's symmetric quantizer, trained: a grid of 256 steps whose width is learned.

NNCF holds the grid (levels, sign, the range as a trained parameter); the rounding is done here, as QuantizeLinear and
DequantizeLinear do it to the bit, where NNCF's own kernel would compile C++ on the user's machine at its first call
and round from the lower end of the range. Gradients are those of Esser et al. 2020, "Learned Step Size Quantization",
equations 3 and 5; the logarithm of the range is what is trained, so that one learning rate suits every grid.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from shufflec.quantize.ptq import load_nncf


class _FakeQuantize(torch.autograd.Function):
    """round(x / step) * step within [low, high] steps."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, step: torch.Tensor, low: int, high: int) -> torch.Tensor:
        scaled = x / step
        codes = scaled.clamp(low, high).round_()
        inside = (scaled >= low) & (scaled <= high)
        # How far the result moves with the step: the rounding error inside, the last code outside.
        ctx.save_for_backward(inside, torch.where(inside, codes - scaled, codes))
        ctx.step_shape = step.shape
        return codes * step

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        inside, per_step = ctx.saved_tensors
        for_step = (gradient * per_step).sum_to_size(ctx.step_shape)
        return gradient * inside, for_step, None, None


class GridQuantizer(nn.Module):
    """Rounds a float tensor to a grid of int8 or uint8 with zero point 0.

    scale: float32, width of a step: one value, or one an index of `axis` of a tensor with `ndim` axes. narrow: int8
    without -128, as weights have it.
    """

    def __init__(self, scale: np.ndarray, signed: bool, narrow: bool, axis: int, ndim: int):
        super().__init__()
        load_nncf()
        from nncf.torch.quantization.layers import PTQuantizerSpec, QuantizationMode, SymmetricQuantizer

        shape = (1,) if scale.ndim == 0 else tuple(len(scale) if i == axis else 1 for i in range(ndim))
        spec = PTQuantizerSpec(
            num_bits=8,
            mode=QuantizationMode.SYMMETRIC,
            signedness_to_force=signed,
            narrow_range=narrow,
            half_range=False,
            scale_shape=shape,
            logarithm_scale=True,
        )
        self.grid = SymmetricQuantizer(spec)
        self.low, self.high = self.grid.level_low, self.grid.level_high
        reach = torch.from_numpy(np.atleast_1d(scale).astype(np.float32)).reshape(shape) * self.high
        self.grid.scale = nn.Parameter(reach)  # kept as its logarithm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _FakeQuantize.apply(x, self.step(), self.low, self.high)

    def step(self) -> torch.Tensor:
        """Width of a step, shaped to be broadcast."""
        return self.grid.scale / self.high

    def scale(self) -> np.ndarray:
        """Width of a step as the scale of QuantizeLinear: float32, no axes or one."""
        values = self.step().detach().numpy().reshape(-1)
        return values.reshape(()) if self.grid.scale_shape == (1,) else values

    def codes(self, x: torch.Tensor) -> np.ndarray:
        """The integers that `x` becomes, int8 or uint8."""
        codes = (x.detach() / self.step().detach()).clamp(self.low, self.high).round()
        return codes.detach().numpy().astype(np.int8 if self.low < 0 else np.uint8)
