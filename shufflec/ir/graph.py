"""The integer graph: what is left of a network when quantization is folded in.

It is read off the lowered Relax module (`graph_from_module` in relax_ops.py) and is the one input of the
NumPy reference, the kernels and the backends. Activations are int8 in NHWC with batch 1, so shapes are
(H, W, C); a vector is (1, 1, C).

Operator kinds, their inputs, attributes and constants (C: output channels, I: input channels):

| kind             | inputs          | attributes                                            | constants                        |
|------------------|-----------------|-------------------------------------------------------|----------------------------------|
| quantize         | x f32 (1,3,H,W) | scale, zero_point                                     |                                  |
| conv2d           | x [, residual]  | groups, stride, pad, REQUANT [, residual_multiplier]  | weight (C,KH,KW,I/g), pad_value (I,), PER-CHANNEL |
|                  |                 | shuffle_rows                                          |                                  |
| depthwise_conv2d | x               | stride, pad, REQUANT                                  | weight (C,KH,KW), pad_value (C,), PER-CHANNEL |
| max_pool2d       | x               | kernel, stride, pad                                   |                                  |
| avg_pool2d       | x               | kernel, stride, pad, zero_point, out_zero_point, fraction, clamp_min, clamp_max | multiplier int16 (Ho,Wo) |
| global_avg_pool  | x               | zero_point, REQUANT                                   | PER-CHANNEL (length 1 each)      |
| dense            | x               |                                                       | weight (C,I) int8, accumulator_bias (C,) |
| add              | a, b            | multipliers (2), bias, fraction, clamp_min, clamp_max |                                  |
| requantize       | a               | multipliers (1), bias, fraction, clamp_min, clamp_max |                                  |
| concat           | a, b, ...       |                                                       |                                  |
| channel_slice    | a               | begin, channels                                       |                                  |
| channel_shuffle  | a               | rows                                                  |                                  |
| dequantize       | int32 or int8   | zero_point                                            | scale f32 (C,)                   |

Under the rule m-q31 (numerics_m.py) REQUANT is left_shift, digits, lift, clamp_min, clamp_max, PER-CHANNEL is
multiplier int32 and accumulator_bias int32, and scale_shift takes the place of fraction in pools and sums. Else
REQUANT: shift, fraction, clamp_min, clamp_max. PER-CHANNEL: multiplier int16 (C,), bias int16 (C,),
accumulator_bias int32 (C,), and pre_shift int8 (C,) in layers that need one, else absent. numerics.py defines the
arithmetic. pad is (top, left, bottom, right); stride and
kernel are (vertical, horizontal). `dense` gives int32 accumulators of shape (1, 1, C).

shuffle_rows r (1: none) is the write map of a folded channel shuffle: with C channels as a matrix of r rows and
C/r columns, the value computed for channel i*(C/r)+j is written to channel j*r+i (reshape (r, C/r), transpose).
All constants of the conv itself (weight, multiplier, ...) stay in computed order. `channel_shuffle` is the same
map as a copy. channel_slice takes `channels` channels from `begin` on.
"""

# ruff: noqa: E501 (the table above is one row a kind)

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import numpy as np

KINDS = (
    "quantize", "conv2d", "depthwise_conv2d", "max_pool2d", "avg_pool2d", "global_avg_pool",
    "dense", "add", "requantize", "concat", "channel_slice", "channel_shuffle",
    "dequantize",
)  # fmt: skip


@dataclass(frozen=True)
class TensorSpec:
    """A value of the graph. shape: (H, W, C), or (1, 3, H, W) for the float input; dtype: NumPy's name."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Op:
    """One operator. attrs hold ints, floats and tuples of them; constants hold NumPy arrays."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    output: str
    attrs: dict = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """Operators in execution order with the tensors between them; one input, one output.

    rule: name of the rounding rule (rules.py) that its numbers are meant for.
    """

    tensors: dict[str, TensorSpec]
    ops: tuple[Op, ...]
    input: str
    output: str
    rule: str = "a64-q15"

    def consumers(self, tensor: str) -> list[Op]:
        """The operators that read a tensor, in execution order."""
        return [op for op in self.ops if tensor in op.inputs]

    def macs(self, op: Op) -> int:
        """Multiply-accumulates of one operator (0 for everything but convolutions and dense)."""
        if op.kind == "conv2d":
            height, width, _ = self.tensors[op.output].shape
            return height * width * op.constants["weight"].size
        if op.kind == "depthwise_conv2d":
            height, width, _ = self.tensors[op.output].shape
            return height * width * op.constants["weight"].size
        if op.kind == "dense":
            return op.constants["weight"].size
        return 0


def shuffle_destination(channels: int, rows: int) -> np.ndarray:
    """Where a shuffle of `rows` rows writes each computed channel: int64 (channels,)."""
    if rows < 1 or channels % rows:
        raise ValueError(f"{channels} channels cannot be shuffled in {rows} rows")
    index = np.arange(channels)
    columns = channels // rows
    return (index % columns) * rows + index // columns
